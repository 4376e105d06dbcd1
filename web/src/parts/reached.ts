/** Which surface cells the flows of a run reached. */

import type { NumberArray } from "../api/npy";
import { getOutput } from "../api/runs";
import type { Run } from "../api/types";

/** The output in which cells that are not reached hold 0; null where the run has none. */
export function findReachedOutput({ outputs, config }: Run): "reached" | "hits" | null {
  if (outputs.includes("reached")) {
    return "reached";
  }
  // Under splat, a score also touches cells in which it is no hit.
  return outputs.includes("hits") && config.aggregation_mode !== "splat" ? "hits" : null;
}

/** Load that output of one sample, [1, 2, H, W]; null where the run has none. */
export async function loadReached(
  run: Run,
  sample: number,
  signal: AbortSignal,
): Promise<NumberArray | null> {
  const output = findReachedOutput(run);
  return output && getOutput(run.run_id, output, sample, signal);
}
