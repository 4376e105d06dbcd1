import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { isAbort, newKey } from "../api/http";
import { listModels } from "../api/models";
import { dryRun, type Order, submitRun } from "../api/submit";
import type { Estimate, OutputName } from "../api/types";
import { useLoad, useTitle } from "../parts/hooks";
import { Notice } from "../parts/notice";
import { address, go } from "../route";
import { bytes, count, milliseconds } from "../text/numbers";
import { Complaints, NO_REFUSAL, type Refusal, refusalOf } from "../try/complaints";
import type { Embeddings } from "../try/embeddings";
import { sortFaults } from "../try/faults";
import { OptionsFold } from "../try/option_fields";
import { type Entered, inherited, optionsOf } from "../try/options";
import { ModelField, OutputsField, TextField } from "../try/order_fields";
import { SourcePicker } from "../try/source_picker";

/** Larger bodies are checked when asked for, not while somebody types. */
const MOST_NUMBERS_UNASKED = 50_000;

interface Checked extends Refusal {
  estimate: Estimate | null;
}

const UNCHECKED: Checked = { estimate: null, ...NO_REFUSAL };

/** A form that checks an order while it is written, says what it costs, and sends it. */
export function TryPage() {
  useTitle("New run");
  const models = useLoad(listModels, []);
  const [model, setModel] = useState("default");
  const [seed, setSeed] = useState("");
  const [outputs, setOutputs] = useState<OutputName[]>(["surface", "planes", "hits"]);
  const [entered, setEntered] = useState<Entered>({});
  const [embeddings, setEmbeddings] = useState<Embeddings | null>(null);
  const [checked, setChecked] = useState<Checked>(UNCHECKED);
  const [sending, setSending] = useState(false);

  const config = models.value?.items.find(({ name }) => name === model)?.config ?? null;
  const order = useMemo<Order | null>(
    () => embeddings && { embeddings, model, seed, outputs, options: optionsOf(entered) },
    [embeddings, model, seed, outputs, entered],
  );

  // The same order sent twice, by a second click or a lost answer, makes one run.
  const key = useRef("");
  useEffect(() => {
    key.current = newKey();
  }, [order]);

  const check = useCallback(async (wanted: Order, signal: AbortSignal): Promise<void> => {
    try {
      setChecked({ estimate: await dryRun(wanted, signal), ...NO_REFUSAL });
    } catch (error) {
      if (!isAbort(error)) {
        setChecked({ estimate: null, ...refusalOf(error) });
      }
    }
  }, []);
  useEffect(() => {
    const controller = new AbortController();
    if (order === null) {
      setChecked(UNCHECKED);
    } else if (isSmall(order.embeddings)) {
      const timer = setTimeout(() => void check(order, controller.signal), 300);
      return () => {
        clearTimeout(timer);
        controller.abort();
      };
    } else {
      setChecked(UNCHECKED);
    }
    return () => controller.abort();
  }, [order, check]);

  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    if (order === null || sending) {
      return;
    }
    setSending(true);
    try {
      const run = await submitRun(order, key.current);
      go(address(["runs", run.run_id]));
    } catch (error) {
      setChecked({ estimate: null, ...refusalOf(error) });
    } finally {
      setSending(false);
    }
  };

  const { fields, rest } = sortFaults(checked.faults, OWN_FIELDS);
  return (
    <form onSubmit={(event) => void submit(event)} noValidate>
      <h1>New run</h1>
      {models.failure !== null && <Notice tone="problem">{models.failure}</Notice>}
      <div class="try">
        <div class="stack">
          <SourcePicker
            dimension={config?.embedding_dim ?? null}
            onEmbeddings={setEmbeddings}
            complaints={fields.get("embeddings") ?? []}
          />
          <OptionsFold
            entered={entered}
            onEntered={setEntered}
            config={config}
            complaints={fields}
          />
        </div>
        <div class="stack order">
          <fieldset class="panel">
            <legend>Run</legend>
            <ModelField
              models={models.value?.items ?? []}
              model={model}
              onModel={setModel}
              complaints={fields.get("model")}
            />
            <TextField
              id="seed"
              label="seed"
              hint={inherited(config, "seed")}
              text={seed}
              onText={setSeed}
              complaints={fields.get("seed")}
            />
            <OutputsField
              outputs={outputs}
              onOutputs={setOutputs}
              complaints={fields.get("outputs")}
            />
          </fieldset>
          <section class="panel" aria-label="Cost">
            <h2>Cost</h2>
            <div aria-live="polite">
              {checked.estimate && <Cost estimate={checked.estimate} />}
              <Complaints refusal={checked} rest={rest} />
              {order === null && <p class="quiet">Choose some embeddings first.</p>}
            </div>
            <div class="actions">
              {order !== null && !isSmall(order.embeddings) && (
                <button
                  type="button"
                  onClick={() => void check(order, new AbortController().signal)}
                >
                  What would it cost?
                </button>
              )}
              <button
                class="button-main"
                type="submit"
                disabled={order === null || sending || checked.faults.length > 0}
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

const OWN_FIELDS = new Set(["embeddings", "model", "seed", "outputs"]);

function Cost({ estimate }: { estimate: Estimate }) {
  return (
    <>
      <dl class="cost">
        <dt>samples</dt>
        <dd>{count(estimate.samples)}</dd>
        <dt>flows at the start</dt>
        <dd>{count(estimate.flows)}</dd>
        <dt>flow-steps, at most</dt>
        <dd>{count(estimate.flow_steps_bound)}</dd>
        <dt>memory</dt>
        <dd>{bytes(estimate.predicted_bytes)}</dd>
        <dt>wait</dt>
        <dd>{estimate.queue_wait_ms === 0 ? "none" : milliseconds(estimate.queue_wait_ms)}</dd>
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
  if (embeddings.kind === "npy") {
    return embeddings.bytes.byteLength <= 4 * MOST_NUMBERS_UNASKED;
  }
  const [first] = embeddings.rows;
  return embeddings.rows.length * (Array.isArray(first) ? first.length : 1) <= MOST_NUMBERS_UNASKED;
}
