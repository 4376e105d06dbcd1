import type { Experiment } from "../api/experiment_types";
import { type RunState, STATES } from "../api/types";
import { count, percent, timeLeft } from "../text/numbers";

/** How far an experiment is, in a line. */
export function ExperimentProgress({ experiment }: { experiment: Experiment }) {
  const { state, trials, progress } = experiment;
  const ended = trials.succeeded + trials.failed + trials.cancelled;
  const words = `${count(ended)} of ${count(trials.total)} ${trials.total === 1 ? "trial" : "trials"}`;
  const going = state === "running" || state === "paused";
  return (
    <span class="progress">
      {going && (
        <progress max={1} value={progress.fraction} aria-label={`Progress of ${experiment.name}`} />
      )}
      <span>
        {words}
        {going && `, ${percent(Math.floor(1000 * progress.fraction) / 1000)}`}
      </span>
    </span>
  );
}

/** Time left, where it goes on and is known. */
export function TimeLeft({ experiment }: { experiment: Experiment }) {
  const { state, progress } = experiment;
  return <>{state === "running" ? timeLeft(progress.seconds_left) : "–"}</>;
}

/** Trials by state, as a bar and in words. */
export function TrialTally({ experiment }: { experiment: Experiment }) {
  const { trials } = experiment;
  const there = STATES.filter((state) => trials[state] > 0);
  // From what is done to what is not.
  const order = [...there].sort((a, b) => rank(a) - rank(b));
  return (
    <div class="tally">
      <div class="tally-bar" aria-hidden="true">
        {order.map((state) => (
          <span key={state} class={`tally-${state}`} style={{ flexGrow: trials[state] }} />
        ))}
      </div>
      <ul class="legend">
        {order.map((state) => (
          <li key={state} class="legend-item">
            <span class={`legend-mark tally-${state}`} aria-hidden="true" />
            {state} <b>{count(trials[state])}</b>
          </li>
        ))}
      </ul>
    </div>
  );
}

function rank(state: RunState): number {
  return ["succeeded", "failed", "cancelled", "running", "paused", "queued"].indexOf(state);
}
