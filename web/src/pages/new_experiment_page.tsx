import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { listDatasets } from "../api/datasets";
import type { ExperimentBody } from "../api/types";
import type { Output } from "../generated/choices";
import { createExperiment } from "../api/experiments";
import { newKey } from "../api/http";
import { DEFAULT_MODEL, listModels } from "../api/models";
import { DatasetPicker } from "../experiments/dataset_picker";
import { NO_SWEEP, type SweepEntry, buildSweep, listTrialFactors } from "../experiments/sweep";
import { SweepFields } from "../experiments/sweep_fields";
import { collectLabels, type LabelEntry, NO_LABELS } from "../labels/entry";
import { LabelsFold } from "../labels/label_fields";
import { useLoad, useTitle } from "../parts/hooks";
import { Notice } from "../parts/notice";
import { ALL_ROWS, type RowsEntry, rowsOf } from "../parts/rows_fields";
import { linkTo, navigate } from "../route";
import { parseNumber, parseWholeNumbers } from "../text/entries";
import { formatCount } from "../text/numbers";
import { RequestErrors, NO_REFUSAL, type Refusal, toRefusal } from "../try/request_errors";
import { assignFaults } from "../try/faults";
import { OptionsFold } from "../try/option_fields";
import { type EnteredOptions, collectOptions } from "../try/options";
import { ModelField, OutputsField, TextField } from "../try/request_fields";

const OWN_FIELDS = new Set([
  "name",
  "model",
  "dataset",
  "rows",
  "outputs",
  "seeds",
  "max_parallel",
  "tags",
  "note",
]);

/** A form for a new experiment. */
export function NewExperimentPage() {
  useTitle("New experiment");
  const models = useLoad(listModels, []);
  const datasets = useLoad((signal) => listDatasets(null, 1000, signal), []);
  const [name, setName] = useState("");
  const [model, setModel] = useState(DEFAULT_MODEL);
  const [dataset, setDataset] = useState<string | null>(null);
  const [rows, setRows] = useState<RowsEntry>(ALL_ROWS);
  const [entered, setEntered] = useState<EnteredOptions>({});
  const [outputs, setOutputs] = useState<Output[]>(["surface"]);
  const [sweep, setSweep] = useState<SweepEntry>(NO_SWEEP);
  const [seeds, setSeeds] = useState("0");
  const [parallel, setParallel] = useState("1");
  const [labels, setLabels] = useState<LabelEntry>(NO_LABELS);
  const [failFast, setFailFast] = useState(false);
  const [refusal, setRefusal] = useState<Refusal>(NO_REFUSAL);
  const [sending, setSending] = useState(false);

  const config = models.value?.find((each) => each.name === model)?.config ?? null;
  const loadedDatasets = datasets.value?.items ?? [];
  const chosen = loadedDatasets.find((each) => each.name === dataset) ?? loadedDatasets[0] ?? null;
  const body = useMemo<ExperimentBody | null>(
    () =>
      chosen && {
        name: name.trim(),
        model,
        dataset: chosen.name,
        rows: rowsOf(rows, chosen.rows),
        options: collectOptions(entered),
        outputs,
        sweep: buildSweep(sweep),
        // Without seeds, a deterministic trial has the seed of the model.
        ...(seeds.trim() !== "" && { seeds: parseWholeNumbers(seeds) }),
        max_parallel: parseNumber(parallel),
        fail_fast: failFast,
        ...collectLabels(labels),
      },
    [name, model, chosen, rows, entered, outputs, sweep, seeds, parallel, failFast, labels],
  );

  // The same request sent twice, by a second click or after a lost answer, makes one experiment.
  const key = useRef("");
  useEffect(() => {
    key.current = newKey();
  }, [body]);

  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    if (body === null || sending) {
      return;
    }
    setSending(true);
    try {
      const created = await createExperiment(body, key.current);
      navigate(linkTo(["experiments", created.experiment_id]));
    } catch (error) {
      setRefusal(toRefusal(error));
    } finally {
      setSending(false);
    }
  };

  const { fields, rest } = assignFaults(refusal.faults, OWN_FIELDS);
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
              datasets={loadedDatasets}
              chosen={chosen}
              onChosen={setDataset}
              onUploaded={(uploaded) => {
                setDataset(uploaded);
                datasets.reload();
              }}
              rows={rows}
              onRows={setRows}
              dimension={config?.embedding_dim ?? null}
              errors={fields}
            />
          )}
          <SweepFields sweep={sweep} onSweep={setSweep} config={config} errors={fields} />
          <OptionsFold entered={entered} onEntered={setEntered} config={config} errors={fields} />
        </div>
        <div class="stack request">
          <fieldset class="panel">
            <legend>Experiment</legend>
            <TextField
              id="name"
              label="name"
              text={name}
              onText={setName}
              help="letters, digits, dots, dashes and underscores"
              errors={fields.get("name")}
            />
            <ModelField
              models={models.value ?? []}
              model={model}
              onModel={setModel}
              errors={fields.get("model")}
            />
            <TextField
              id="seeds"
              label="seeds"
              text={seeds}
              onText={setSeeds}
              help="for example 0, 1, 2 or 0-9"
              errors={fields.get("seeds")}
            />
            <TextField
              id="max_parallel"
              label="trials at once"
              text={parallel}
              onText={setParallel}
              errors={fields.get("max_parallel")}
            />
            <OutputsField outputs={outputs} onOutputs={setOutputs} errors={fields.get("outputs")} />
            <label class="check">
              <input
                type="checkbox"
                checked={failFast}
                onChange={(event) => setFailFast(event.currentTarget.checked)}
              />
              cancel the other trials after a failure
            </label>
            <LabelsFold entry={labels} onEntry={setLabels} hasName={false} errors={fields} />
          </fieldset>
          <section class="panel" aria-label="Trials">
            <h2>Trials</h2>
            <div aria-live="polite">
              <TrialsPreview sweep={sweep} seeds={seeds} rows={length} />
              <RequestErrors refusal={refusal} rest={rest} />
              {body === null && <p class="quiet">Upload a dataset first.</p>}
            </div>
            <div class="actions">
              <button class="button-main" type="submit" disabled={body === null || sending}>
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
  /** Rows of the dataset for each trial; null while unknown. */
  rows: number | null;
}

function TrialsPreview({ sweep, seeds, rows }: TrialsPreviewProps) {
  const factors = listTrialFactors(sweep, Math.max(1, parseWholeNumbers(seeds).length));
  const total = factors.reduce((product, [factor]) => product * factor, 1);
  return (
    <>
      <p class="trial-count">
        <b>{formatCount(total)}</b> {total === 1 ? "trial" : "trials"}
      </p>
      <p class="quiet">
        {factors.map(([factor, name]) => `${formatCount(factor)} ${name}`).join(" × ")}
        {rows !== null && `, each of ${formatCount(rows)} ${rows === 1 ? "row" : "rows"}`}
      </p>
    </>
  );
}

/** Return the number of rows; null where they are not in the dataset. */
function rowCount({ from, to }: RowsEntry, all: number): number | null {
  const [first, stop] = [Number(from.trim() || 0), Number(to.trim() || all)];
  const isWhole = Number.isInteger(first) && Number.isInteger(stop);
  return isWhole && first >= 0 && first < stop && stop <= all ? stop - first : null;
}
