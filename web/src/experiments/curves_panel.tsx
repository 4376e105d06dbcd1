import { useState } from "preact/hooks";
import type { Curves, Experiment, Trial } from "../api/experiment_types";
import { getCurves } from "../api/experiments";
import { useWatch } from "../parts/hooks";
import { Notice } from "../parts/notice";
import { StepChart } from "../parts/step_chart";
import { number } from "../text/numbers";
import { fieldWords } from "./measures";

const PERIOD_MS = 2000;

/** What people look at first. */
const FIRST = /^(train\/(loss|terms\/|learning_rate)|held_out\/(cosine|top_|median_rank))/;

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
  if (failure !== null) {
    return <Notice tone="problem">{failure}</Notice>;
  }
  if (curves === null || curves.step.length === 0) {
    return null;
  }
  const names = Object.keys(curves).filter((name) => name !== "step");
  const first = names.filter((name) => FIRST.test(name)).sort();
  const others = names.filter((name) => !FIRST.test(name));
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
      <Charts curves={curves} names={first} />
      {others.length > 0 && (
        <details>
          <summary>{`${others.length} more curves`}</summary>
          <Charts curves={curves} names={others} />
        </details>
      )}
    </section>
  );
}

function Charts({ curves, names }: { curves: Curves; names: readonly string[] }) {
  return (
    <div class="charts">
      {names.map((name) => {
        // Not every step has every number, and a line has no gaps where nothing was measured.
        const told = curves.step.flatMap((step, row) => {
          const value = curves[name][row];
          return step === null || value === null ? [] : [{ step, value }];
        });
        return (
          <StepChart
            key={name}
            title={name}
            steps={told.map(({ step }) => step)}
            series={[{ name, values: told.map(({ value }) => value) }]}
            format={short}
            fromZero={false}
          />
        );
      })}
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
