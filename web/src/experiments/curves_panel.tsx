import { useState } from "preact/hooks";
import type { Curves, Experiment, Trial } from "../api/experiment_types";
import { getCurves } from "../api/experiments";
import { ENDED } from "../api/types";
import { useWatch } from "../parts/hooks";
import { Notice } from "../parts/notice";
import { StepChart } from "../parts/step_chart";
import { number } from "../text/numbers";
import { type Curve, curvesOf } from "./curves";
import { fieldWords } from "./measures";

const PERIOD_MS = 3000;

interface CurvesPanelProps {
  experiment: Experiment;
  trials: readonly Trial[];
}

/** What a trial tells on its way, such as its loss; nothing where trials tell nothing. */
export function CurvesPanel({ experiment, trials }: CurvesPanelProps) {
  const [chosen, setChosen] = useState<number | null>(null);
  const begun = trials.filter(({ started_at }) => started_at !== null);
  const shown =
    begun.find(({ trial }) => trial === chosen) ??
    begun.find(({ state }) => state === "running") ??
    begun[0];
  const index = shown?.trial ?? null;
  const { value: told, failure } = useWatch<Curves | null>(
    async (signal) => (index === null ? null : getCurves(experiment.experiment_id, index, signal)),
    [experiment.experiment_id, index, shown?.state],
    PERIOD_MS,
    shown !== undefined && !ENDED.includes(shown.state),
  );
  if (failure !== null) {
    return <Notice tone="problem">{failure}</Notice>;
  }
  const { main, more } = curvesOf(told);
  if (main.length + more.length === 0) {
    return null;
  }
  return (
    <section class="panel">
      <div class="panel-head">
        <h2>Curves</h2>
        <div class="toolbar">
          <label>
            of trial
            <select
              value={String(index)}
              onChange={(event) => setChosen(Number(event.currentTarget.value))}
            >
              {begun.map((trial) => (
                <option key={trial.trial} value={String(trial.trial)}>
                  {trialWords(trial)}
                </option>
              ))}
            </select>
          </label>
        </div>
      </div>
      <Charts curves={main} />
      {more.length > 0 && (
        <details class="more-curves">
          <summary>{more.length === 1 ? "One more curve" : `${more.length} more curves`}</summary>
          <Charts curves={more} />
        </details>
      )}
    </section>
  );
}

function Charts({ curves }: { curves: readonly Curve[] }) {
  return (
    <div class="charts">
      {curves.map(({ name, steps, values }) => (
        <StepChart
          key={name}
          title={name}
          steps={steps}
          series={[{ name, values }]}
          format={short}
          fromZero={false}
        />
      ))}
    </div>
  );
}

function short(value: number): string {
  return number(value, 3);
}

function trialWords({ trial, seed, parameters }: Trial): string {
  const told = Object.entries(parameters).map(([name, value]) => `${name} ${fieldWords(value)}`);
  return `${trial}: ${[...told, `seed ${seed}`].join(", ")}`;
}
