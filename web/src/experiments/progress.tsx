import type { Experiment } from "../api/types";
import { ENDED_STATES, RUN_STATES, type RunState } from "../generated/choices";
import { formatCount, formatPercent, formatTimeLeft } from "../text/numbers";

/** The progress of an experiment. */
export function ExperimentProgress({ experiment }: { experiment: Experiment }) {
  const { state, trials, progress } = experiment;
  const ended = trials.succeeded + trials.failed + trials.cancelled;
  const text = `${formatCount(ended)} of ${formatCount(trials.total)} ${trials.total === 1 ? "trial" : "trials"}`;
  const isUnfinished = state === "running" || state === "paused";
  return (
    <span class="progress">
      {isUnfinished && (
        <progress max={1} value={progress.fraction} aria-label={`Progress of ${experiment.name}`} />
      )}
      <span>
        {text}
        {isUnfinished && `, ${formatPercent(Math.floor(1000 * progress.fraction) / 1000)}`}
      </span>
    </span>
  );
}

/** The time left of a running experiment, if it is known. */
export function TimeLeft({ experiment }: { experiment: Experiment }) {
  const { state, progress } = experiment;
  return <>{state === "running" ? formatTimeLeft(progress.seconds_left) : "–"}</>;
}

/** Trials by state, as a bar with a legend. */
export function TrialTally({ experiment }: { experiment: Experiment }) {
  const { trials } = experiment;
  const present = RUN_STATES.filter((state) => trials[state] > 0);
  // Ended trials come first.
  const order = [...present].sort((a, b) => rank(a) - rank(b));
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
            {state} <b>{formatCount(trials[state])}</b>
          </li>
        ))}
      </ul>
    </div>
  );
}

const UNFINISHED = RUN_STATES.filter((state) => !ENDED_STATES.includes(state));
const ORDER = [...ENDED_STATES, ...UNFINISHED.toReversed()];

function rank(state: RunState): number {
  return ORDER.indexOf(state);
}

/** Return how long an experiment took, in milliseconds; null before its end. */
export function durationOf({ started_at, ended_at }: Experiment): number | null {
  return started_at !== null && ended_at !== null
    ? Date.parse(ended_at) - Date.parse(started_at)
    : null;
}
