import type { Run } from "../api/types";
import type { RunState } from "../generated/choices";
import { formatCount } from "../text/numbers";

const MARKS: Record<RunState, string> = {
  queued: "◌",
  running: "▶",
  paused: "‖",
  succeeded: "✓",
  failed: "✕",
  cancelled: "■",
};

/** A state as text with a mark and a colour. */
export function StateBadge({ state }: { state: RunState }) {
  return (
    <span class={`badge badge-${state}`}>
      <span aria-hidden="true">{MARKS[state]}</span> {state}
    </span>
  );
}

/** The progress of a run. */
export function RunProgress({ run }: { run: Run }) {
  const { samples, samples_done, step, fraction } = run.progress;
  const text = `${formatCount(samples_done)} of ${formatCount(samples)} ${samples === 1 ? "sample" : "samples"}`;
  if (run.state !== "running") {
    return <span>{text}</span>;
  }
  return (
    <span class="progress">
      <progress max={1} value={fraction} aria-label={`Progress of run ${run.run_id}`} />
      <span>
        {text}
        {step !== null && `, step ${step}`}
      </span>
    </span>
  );
}
