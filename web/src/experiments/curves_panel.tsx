import { useState } from "preact/hooks";
import type { Curves, Experiment, Trial } from "../api/types";
import { ENDED_STATES } from "../generated/choices";
import { getCurves } from "../api/experiments";
import { useWatch } from "../parts/hooks";
import { Notice } from "../parts/notice";
import { StepChart } from "../parts/step_chart";
import { formatNumber } from "../text/numbers";
import { type Curve, selectCurves } from "./curves";
import { formatValue } from "./measures";

const PERIOD_MS = 3000;

interface CurvesPanelProps {
  experiment: Experiment;
  trials: readonly Trial[];
}

/** The curves of a trial, such as its loss; nothing where trials have none. */
export function CurvesPanel({ experiment, trials }: CurvesPanelProps) {
  const [chosen, setChosen] = useState<number | null>(null);
  const started = trials.filter(({ started_at }) => started_at !== null);
  const shown =
    started.find(({ trial }) => trial === chosen) ??
    started.find(({ state }) => state === "running") ??
    started[0];
  const index = shown?.trial ?? null;
  const { value: measured, failure } = useWatch<Curves | null>(
    async (signal) => (index === null ? null : getCurves(experiment.experiment_id, index, signal)),
    [experiment.experiment_id, index, shown?.state],
    PERIOD_MS,
    shown !== undefined && !ENDED_STATES.includes(shown.state),
  );
  if (failure !== null) {
    return <Notice tone="problem">{failure}</Notice>;
  }
  const { main, more } = selectCurves(measured);
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
              {started.map((trial) => (
                <option key={trial.trial} value={String(trial.trial)}>
                  {describeTrial(trial)}
                </option>
              ))}
            </select>
          </label>
        </div>
      </div>
      <Charts curves={main} />
      {more.length > 0 && (
        <details class="more-curves">
          <summary>{more.length === 1 ? "1 more curve" : `${more.length} more curves`}</summary>
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
  return formatNumber(value, 3);
}

function describeTrial({ trial, seed, parameters }: Trial): string {
  const swept = Object.entries(parameters).map(([name, value]) => `${name} ${formatValue(value)}`);
  return `${trial}: ${[...swept, `seed ${seed}`].join(", ")}`;
}
