import { useState } from "preact/hooks";
import type { Experiment, Trial } from "../api/experiment_types";
import { getCurves } from "../api/experiments";
import { useWatch } from "../parts/hooks";
import { Notice } from "../parts/notice";
import { StepChart } from "../parts/step_chart";
import { number } from "../text/numbers";
import { fieldWords } from "./measures";

const PERIOD_MS = 2000;

/** What a trial tells on its way, such as its loss; nothing where trials tell nothing. */
export function CurvesPanel({
  experiment,
  trials,
}: {
  experiment: Experiment;
  trials: readonly Trial[];
}) {
  const [chosen, setChosen] = useState<number | null>(null);
  const begun = trials.filter(({ started_at }) => started_at !== null);
  const shown =
    begun.find(({ trial }) => trial === chosen) ??
    begun.find(({ state }) => state === "running") ??
    begun[0];
  const index = shown?.trial ?? null;
  const { value: curves, failure } = useWatch(
    async (signal) => (index === null ? null : getCurves(experiment.experiment_id, index, signal)),
    [experiment.experiment_id, index, shown?.state],
    PERIOD_MS,
  );
  const steps = curves?.step?.filter((step) => step !== null) ?? [];
  if (failure !== null) {
    return <Notice tone="problem">{failure}</Notice>;
  }
  if (curves === null || steps.length === 0) {
    return null;
  }
  return (
    <section class="panel">
      <div class="panel-head">
        <h2>Curves</h2>
        <label>
          of trial{" "}
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
      <div class="charts">
        {Object.entries(curves)
          .filter(([name]) => name !== "step")
          .map(([name, values]) => (
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
    </section>
  );
}

function short(value: number): string {
  return number(value, 3);
}

function trialWords({ trial, seed, parameters }: Trial): string {
  const told = Object.entries(parameters).map(([name, value]) => `${name} ${fieldWords(value)}`);
  return `${trial}: ${[...told, `seed ${seed}`].join(", ")}`;
}
