import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { isAbort, newKey } from "../api/http";
import { DEFAULT_MODEL, listModels } from "../api/models";
import { estimateRun, type RunEntry, submitRun } from "../api/submit";
import type { Estimate } from "../api/types";
import type { Output } from "../generated/choices";
import { collectLabels, type LabelEntry, NO_LABELS } from "../labels/entry";
import { LabelsFold } from "../labels/label_fields";
import { useLoad, useTitle } from "../parts/hooks";
import { Notice } from "../parts/notice";
import { linkTo, navigate, type Route } from "../route";
import { formatBytes, formatCount, formatMilliseconds } from "../text/numbers";
import { RequestErrors, NO_REFUSAL, type Refusal, toRefusal } from "../try/request_errors";
import type { Embeddings } from "../try/embeddings";
import { assignFaults } from "../try/faults";
import { OptionsFold } from "../try/option_fields";
import { type EnteredOptions, getModelValue, collectOptions } from "../try/options";
import { ModelField, OutputsField, TextField } from "../try/request_fields";
import { SourcePicker } from "../try/source_picker";

/** A larger request is estimated after a click, not while it is entered. */
const MAX_CHECKED_NUMBERS = 50_000;

interface Checked extends Refusal {
  estimate: Estimate | null;
}

const UNCHECKED: Checked = { estimate: null, ...NO_REFUSAL };

/** A form for a new run; it shows errors and the cost while the run is entered. */
export function TryPage({ route }: { route: Route }) {
  useTitle("New run");
  const models = useLoad(listModels, []);
  const [model, setModel] = useState(route.parameters.get("model") ?? DEFAULT_MODEL);
  const [seed, setSeed] = useState("");
  const [outputs, setOutputs] = useState<Output[]>(["surface", "planes", "hits", "reached"]);
  const [entered, setEntered] = useState<EnteredOptions>({});
  const [labels, setLabels] = useState<LabelEntry>(NO_LABELS);
  const [embeddings, setEmbeddings] = useState<Embeddings | null>(null);
  const [checked, setChecked] = useState<Checked>(UNCHECKED);
  const [sending, setSending] = useState(false);

  const chosen = models.value?.find(({ name }) => name === model) ?? null;
  const config = chosen?.config ?? null;
  const entry = useMemo<RunEntry | null>(
    () =>
      embeddings && {
        embeddings,
        model,
        seed,
        outputs,
        options: collectOptions(entered),
        labels: collectLabels(labels),
      },
    [embeddings, model, seed, outputs, entered, labels],
  );

  // The same request sent twice, by a second click or after a lost answer, makes one run.
  const key = useRef("");
  useEffect(() => {
    key.current = newKey();
  }, [entry]);

  const check = useCallback(async (wanted: RunEntry, signal: AbortSignal): Promise<void> => {
    try {
      setChecked({ estimate: await estimateRun(wanted, signal), ...NO_REFUSAL });
    } catch (error) {
      if (!isAbort(error)) {
        setChecked({ estimate: null, ...toRefusal(error) });
      }
    }
  }, []);
  useEffect(() => {
    const controller = new AbortController();
    if (entry === null) {
      setChecked(UNCHECKED);
    } else if (isSmall(entry.embeddings)) {
      const timer = setTimeout(() => void check(entry, controller.signal), 300);
      return () => {
        clearTimeout(timer);
        controller.abort();
      };
    } else {
      setChecked(UNCHECKED);
    }
    return () => controller.abort();
  }, [entry, check]);

  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    if (entry === null || sending) {
      return;
    }
    setSending(true);
    try {
      const run = await submitRun(entry, key.current);
      navigate(linkTo(["runs", run.run_id]));
    } catch (error) {
      setChecked({ estimate: null, ...toRefusal(error) });
    } finally {
      setSending(false);
    }
  };

  const { fields, rest } = assignFaults(checked.faults, OWN_FIELDS);
  return (
    <form onSubmit={(event) => void submit(event)} noValidate>
      <h1>New run</h1>
      {models.failure !== null && <Notice tone="problem">{models.failure}</Notice>}
      <div class="try">
        <div class="stack">
          <SourcePicker
            dimension={config?.embedding_dim ?? null}
            sampled={chosen !== null && chosen.sample_url !== null ? chosen.name : null}
            onEmbeddings={setEmbeddings}
            errors={fields.get("embeddings") ?? []}
          />
          <OptionsFold entered={entered} onEntered={setEntered} config={config} errors={fields} />
        </div>
        <div class="stack request">
          <fieldset class="panel">
            <legend>Run</legend>
            <ModelField
              models={models.value ?? []}
              model={model}
              onModel={setModel}
              errors={fields.get("model")}
            />
            <TextField
              id="seed"
              label="seed"
              hint={getModelValue(config, "seed")}
              text={seed}
              onText={setSeed}
              errors={fields.get("seed")}
            />
            <OutputsField outputs={outputs} onOutputs={setOutputs} errors={fields.get("outputs")} />
            <LabelsFold entry={labels} onEntry={setLabels} hasName errors={fields} />
          </fieldset>
          <section class="panel" aria-label="Cost">
            <h2>Cost</h2>
            <div aria-live="polite">
              {checked.estimate && <Cost estimate={checked.estimate} />}
              <RequestErrors refusal={checked} rest={rest} />
              {entry === null && <p class="quiet">Choose embeddings first.</p>}
            </div>
            <div class="actions">
              {entry !== null && !isSmall(entry.embeddings) && (
                <button
                  type="button"
                  onClick={() => void check(entry, new AbortController().signal)}
                >
                  Estimate the cost
                </button>
              )}
              <button
                class="button-main"
                type="submit"
                disabled={entry === null || sending || checked.faults.length > 0}
              >
                {sending ? "Sending…" : "Run"}
              </button>
            </div>
          </section>
        </div>
      </div>
    </form>
  );
}

const OWN_FIELDS = new Set(["embeddings", "model", "seed", "outputs", "name", "tags", "note"]);

function Cost({ estimate }: { estimate: Estimate }) {
  return (
    <>
      <dl class="cost">
        <dt>samples</dt>
        <dd>{formatCount(estimate.samples)}</dd>
        <dt>flows at the start</dt>
        <dd>{formatCount(estimate.flows)}</dd>
        <dt>flow-steps, at most</dt>
        <dd>{formatCount(estimate.flow_steps_bound)}</dd>
        <dt>memory</dt>
        <dd>{formatBytes(estimate.predicted_bytes)}</dd>
        <dt>wait</dt>
        <dd>
          {estimate.queue_wait_ms === 0 ? "none" : formatMilliseconds(estimate.queue_wait_ms)}
        </dd>
      </dl>
      {estimate.warnings.map((text) => (
        <Notice key={text} tone="warning">
          {text}
        </Notice>
      ))}
    </>
  );
}

function isSmall(embeddings: Embeddings): boolean {
  if (embeddings.kind === "file") {
    return embeddings.file.size <= 4 * MAX_CHECKED_NUMBERS;
  }
  const [first] = embeddings.rows;
  return embeddings.rows.length * (Array.isArray(first) ? first.length : 1) <= MAX_CHECKED_NUMBERS;
}
