import { useRef, useState } from "preact/hooks";
import type { Curves, Experiment, Trial } from "../api/types";
import { ENDED_STATES } from "../generated/choices";
import { getCurves } from "../api/experiments";
import { useMedia, useWatch } from "../parts/hooks";
import { Notice } from "../parts/notice";
import { formatCount } from "../text/numbers";
import { CurveChart } from "./curve_chart";
import { type Figure, selectFigures } from "./curves";
import { formatValue } from "./measures";
import { fieldColours } from "./scales";

const PERIOD_MS = 3000;
/** Each trial is a request, and more lines cannot be told apart. */
const MAX_TRIALS = 50;
const ALL = "all";

interface CurvesPanelProps {
  experiment: Experiment;
  trials: readonly Trial[];
}

/** The curves of all trials, or of one, such as their loss; nothing where trials have none. */
export function CurvesPanel({ experiment, trials }: CurvesPanelProps) {
  const [chosen, setChosen] = useState(ALL);
  const [smoothing, setSmoothing] = useState(0);
  const [log, setLog] = useState(false);
  const dark = useMedia("(prefers-color-scheme: dark)");
  const started = trials.filter(({ started_at }) => started_at !== null);
  const wanted = started.filter(({ trial }) => chosen === ALL || String(trial) === chosen);
  const shown = wanted.slice(0, MAX_TRIALS);
  const { value: measured, failure } = useCurves(experiment.experiment_id, shown);
  if (failure !== null) {
    return <Notice tone="problem">{failure}</Notice>;
  }
  const { main, more } = selectFigures(measured ?? new Map<number, Curves | null>());
  if (main.length + more.length === 0) {
    return null;
  }
  // Colours stand for the first swept field; without one, for the trials.
  const [field] = experiment.fields;
  const meaning = ({ trial, parameters }: Trial): unknown =>
    field === undefined ? trial : (parameters[field] ?? null);
  const colours = fieldColours(shown.map(meaning), dark);
  const byTrial = new Map(shown.map((trial) => [trial.trial, colours.of(meaning(trial))]));
  const paint = (trial: number): string => byTrial.get(trial) ?? "var(--series-0)";
  const charts = (figures: readonly Figure[]) => (
    <div class="charts">
      {figures.map(({ name, curves }) => (
        <CurveChart
          key={name}
          name={name}
          curves={curves}
          smoothing={smoothing}
          log={log}
          paint={paint}
        />
      ))}
    </div>
  );
  return (
    <section class="panel">
      <div class="panel-head">
        <h2>Curves</h2>
        <div class="toolbar">
          <label>
            of trial
            <select value={chosen} onChange={(event) => setChosen(event.currentTarget.value)}>
              <option value={ALL}>all {formatCount(started.length)}</option>
              {started.map((trial) => (
                <option key={trial.trial} value={String(trial.trial)}>
                  {describeTrial(trial)}
                </option>
              ))}
            </select>
          </label>
          <label>
            smoothing
            <input
              type="range"
              min={0}
              max={0.98}
              step={0.02}
              value={smoothing}
              aria-valuetext={String(smoothing)}
              onInput={(event) => setSmoothing(event.currentTarget.valueAsNumber)}
            />
          </label>
          <label>
            <input
              type="checkbox"
              checked={log}
              onChange={(event) => setLog(event.currentTarget.checked)}
            />
            logarithmic values
          </label>
        </div>
      </div>
      {wanted.length > shown.length && (
        <p class="quiet">The first {formatCount(MAX_TRIALS)} trials are shown.</p>
      )}
      {charts(main)}
      {shown.length > 1 && colours.named !== null && (
        <div class="legend plot-legend">
          {colours.named.map((value) => (
            <span key={formatValue(value)} class="legend-item">
              <span
                class="legend-mark"
                aria-hidden="true"
                style={{ background: colours.of(value) }}
              />
              {field ?? "trial"} {formatValue(value)}
            </span>
          ))}
        </div>
      )}
      {more.length > 0 && (
        <details class="more-curves">
          <summary>{more.length === 1 ? "1 more curve" : `${more.length} more curves`}</summary>
          {charts(more)}
        </details>
      )}
    </section>
  );
}

/** Load the curves of trials, and those of unfinished ones again and again. */
function useCurves(id: string, trials: readonly Trial[]) {
  // Curves of ended trials by run: a trial that starts again has another run.
  const final = useRef(new Map<string | null, Curves | null>());
  const load = async (signal: AbortSignal) => {
    const loaded = await Promise.all(
      trials.map(async ({ trial, run_id: runId, state }) => {
        const known = final.current.get(runId);
        const curves = known === undefined ? await getCurves(id, trial, signal) : known;
        if (ENDED_STATES.includes(state)) {
          final.current.set(runId, curves);
        }
        return [trial, curves] as const;
      }),
    );
    return new Map(loaded);
  };
  const key = trials.map(({ trial, run_id, state }) => `${trial} ${run_id} ${state}`).join();
  const isChanging = trials.some(({ state }) => !ENDED_STATES.includes(state));
  return useWatch(load, [id, key], PERIOD_MS, isChanging);
}

function describeTrial({ trial, seed, parameters }: Trial): string {
  const swept = Object.entries(parameters).map(([name, value]) => `${name} ${formatValue(value)}`);
  return `${trial}: ${[...swept, `seed ${seed}`].join(", ")}`;
}
