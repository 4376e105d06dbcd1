import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { listDatasets } from "../api/datasets";
import type { ExperimentOrder } from "../api/experiment_types";
import { createExperiment } from "../api/experiments";
import { newKey } from "../api/http";
import { listModels } from "../api/models";
import type { OutputName } from "../api/types";
import { DatasetPicker, type RowsEntry } from "../experiments/dataset_picker";
import { NO_SWEEP, type SweepEntry, sweepOf, trialFactors } from "../experiments/sweep";
import { SweepFields } from "../experiments/sweep_fields";
import { useLoad, useTitle } from "../parts/hooks";
import { Notice } from "../parts/notice";
import { address, go } from "../route";
import { asNumber, wholeNumbers } from "../text/entries";
import { count } from "../text/numbers";
import { Complaints, NO_REFUSAL, type Refusal, refusalOf } from "../try/complaints";
import { sortFaults } from "../try/faults";
import { OptionsFold } from "../try/option_fields";
import { type Entered, optionsOf } from "../try/options";
import { ModelField, OutputsField, TextField } from "../try/order_fields";

const OWN_FIELDS = new Set([
  "name",
  "model",
  "dataset",
  "rows",
  "outputs",
  "seeds",
  "max_parallel",
]);

/** A form for an experiment: what runs, over what, and what varies. */
export function NewExperimentPage() {
  useTitle("New experiment");
  const models = useLoad(listModels, []);
  const datasets = useLoad((signal) => listDatasets(null, 1000, signal), []);
  const [name, setName] = useState("");
  const [model, setModel] = useState("default");
  const [dataset, setDataset] = useState<string | null>(null);
  const [rows, setRows] = useState<RowsEntry>({ from: "", to: "" });
  const [entered, setEntered] = useState<Entered>({});
  const [outputs, setOutputs] = useState<OutputName[]>(["surface"]);
  const [sweep, setSweep] = useState<SweepEntry>(NO_SWEEP);
  const [seeds, setSeeds] = useState("0");
  const [parallel, setParallel] = useState("1");
  const [failFast, setFailFast] = useState(false);
  const [refusal, setRefusal] = useState<Refusal>(NO_REFUSAL);
  const [sending, setSending] = useState(false);

  const config = models.value?.items.find((each) => each.name === model)?.config ?? null;
  const known = datasets.value?.items ?? [];
  const chosen = known.find((each) => each.name === dataset) ?? known[0] ?? null;
  const order = useMemo<ExperimentOrder | null>(
    () =>
      chosen && {
        name: name.trim(),
        model,
        dataset: chosen.name,
        rows: rowsOf(rows, chosen.rows),
        options: optionsOf(entered),
        outputs,
        sweep: sweepOf(sweep),
        // A deterministic trial takes the model's own seed, if none is named.
        ...(seeds.trim() !== "" && { seeds: wholeNumbers(seeds) }),
        max_parallel: asNumber(parallel),
        fail_fast: failFast,
      },
    [name, model, chosen, rows, entered, outputs, sweep, seeds, parallel, failFast],
  );

  // The same order sent twice, by a second click or a lost answer, makes one experiment.
  const key = useRef("");
  useEffect(() => {
    key.current = newKey();
  }, [order]);

  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    if (order === null || sending) {
      return;
    }
    setSending(true);
    try {
      const made = await createExperiment(order, key.current);
      go(address(["experiments", made.experiment_id]));
    } catch (error) {
      setRefusal(refusalOf(error));
    } finally {
      setSending(false);
    }
  };

  const { fields, rest } = sortFaults(refusal.faults, OWN_FIELDS);
  const length = chosen ? rowCount(rows, chosen.rows) : null;
  return (
    <form onSubmit={(event) => void submit(event)} noValidate>
      <h1>New experiment</h1>
      {(models.failure ?? datasets.failure) !== null && (
        <Notice tone="problem">{models.failure ?? datasets.failure}</Notice>
      )}
      <div class="try">
        <div class="stack">
          {datasets.value !== null && (
            <DatasetPicker
              datasets={known}
              chosen={chosen}
              onChosen={setDataset}
              onUploaded={(uploaded) => {
                setDataset(uploaded);
                datasets.reload();
              }}
              rows={rows}
              onRows={setRows}
              dimension={config?.embedding_dim ?? null}
              complaints={fields}
            />
          )}
          <SweepFields sweep={sweep} onSweep={setSweep} config={config} complaints={fields} />
          <OptionsFold
            entered={entered}
            onEntered={setEntered}
            config={config}
            complaints={fields}
          />
        </div>
        <div class="stack order">
          <fieldset class="panel">
            <legend>Experiment</legend>
            <TextField
              id="name"
              label="name"
              text={name}
              onText={setName}
              help="letters, digits, dots and dashes"
              complaints={fields.get("name")}
            />
            <ModelField
              models={models.value?.items ?? []}
              model={model}
              onModel={setModel}
              complaints={fields.get("model")}
            />
            <TextField
              id="seeds"
              label="seeds"
              text={seeds}
              onText={setSeeds}
              help="such as 0, 1, 2 or 0-9"
              complaints={fields.get("seeds")}
            />
            <TextField
              id="max_parallel"
              label="trials at once"
              text={parallel}
              onText={setParallel}
              complaints={fields.get("max_parallel")}
            />
            <OutputsField
              outputs={outputs}
              onOutputs={setOutputs}
              complaints={fields.get("outputs")}
            />
            <label class="check">
              <input
                type="checkbox"
                checked={failFast}
                onChange={(event) => setFailFast(event.currentTarget.checked)}
              />
              stop at the first failure
            </label>
          </fieldset>
          <section class="panel" aria-label="Trials">
            <h2>Trials</h2>
            <div aria-live="polite">
              <TrialsPreview sweep={sweep} seeds={seeds} rows={length} />
              <Complaints refusal={refusal} rest={rest} />
              {order === null && <p class="quiet">Upload a dataset first.</p>}
            </div>
            <div class="actions">
              <button class="button-main" type="submit" disabled={order === null || sending}>
                {sending ? "Sending…" : "Start"}
              </button>
            </div>
          </section>
        </div>
      </div>
    </form>
  );
}

interface TrialsPreviewProps {
  sweep: SweepEntry;
  seeds: string;
  /** Of the dataset, for each trial; null while that is not known. */
  rows: number | null;
}

function TrialsPreview({ sweep, seeds, rows }: TrialsPreviewProps) {
  const factors = trialFactors(sweep, Math.max(1, wholeNumbers(seeds).length));
  const total = factors.reduce((product, [factor]) => product * factor, 1);
  return (
    <>
      <p class="trial-count">
        <b>{count(total)}</b> {total === 1 ? "trial" : "trials"}
      </p>
      <p class="quiet">
        {factors.map(([factor, name]) => `${count(factor)} ${name}`).join(" × ")}
        {rows !== null && `, each of ${count(rows)} ${rows === 1 ? "row" : "rows"}`}
      </p>
    </>
  );
}

/** What is sent for the rows; null for all. */
function rowsOf({ from, to }: RowsEntry, all: number): unknown {
  return from.trim() === "" && to.trim() === ""
    ? null
    : [asNumber(from.trim() || "0"), asNumber(to.trim() || String(all))];
}

/** How many rows that is; null where they are no part of the dataset. */
function rowCount({ from, to }: RowsEntry, all: number): number | null {
  const [first, stop] = [Number(from.trim() || 0), Number(to.trim() || all)];
  const whole = Number.isInteger(first) && Number.isInteger(stop);
  return whole && first >= 0 && first < stop && stop <= all ? stop - first : null;
}
