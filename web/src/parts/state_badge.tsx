import type { Run, RunState } from "../api/types";
import { count } from "../text/numbers";

const MARKS: Record<RunState, string> = {
  queued: "◌",
  running: "▶",
  paused: "‖",
  succeeded: "✓",
  failed: "✕",
  cancelled: "■",
};

/** A state by word, mark and colour, so that none of them carries it alone. */
export function StateBadge({ state }: { state: RunState }) {
  return (
    <span class={`badge badge-${state}`}>
      <span aria-hidden="true">{MARKS[state]}</span> {state}
    </span>
  );
}

/** How far a run is. */
export function RunProgress({ run }: { run: Run }) {
  const { samples, samples_done, step, fraction } = run.progress;
  const words = `${count(samples_done)} of ${count(samples)} ${samples === 1 ? "sample" : "samples"}`;
  if (run.state !== "running") {
    return <span>{words}</span>;
  }
  return (
    <span class="progress">
      <progress max={1} value={fraction} aria-label={`Progress of run ${run.run_id}`} />
      <span>
        {words}
        {step !== null && `, step ${step}`}
      </span>
    </span>
  );
}
