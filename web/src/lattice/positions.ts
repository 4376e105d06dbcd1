/** Positions of flows at a time. */

import { Vector3 } from "three";
import { fold } from "./fold";
import type { FlowPaths } from "./flow_paths";

/** Return how many flows ended before a step. */
export function countEndedBefore(paths: FlowPaths, step: number): number {
  let low = 0;
  let high = paths.endOrder.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (paths.endStep[paths.endOrder[middle]] < step) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

/** Return where a flow ended; a tallied flow is on its exit plane. */
export function findEnd(paths: FlowPaths, flow: number): Vector3 {
  const at = new Vector3().fromArray(paths.position, 3 * paths.lastRow[flow]);
  if (paths.plane[flow] >= 0) {
    at.z = 2 * paths.plane[flow] - 1;
  }
  return at;
}

/** Set `at` to where the flow of a row is after a fraction of its step. */
export function placeFlow(paths: FlowPaths, row: number, fraction: number, at: Vector3): void {
  const from = 3 * paths.previous[row];
  const share = paths.jumps[row] ? 0 : fraction;
  const { position, target } = paths;
  at.set(
    fold(position[from] + share * (target[2 * row] - position[from])),
    fold(position[from + 1] + share * (target[2 * row + 1] - position[from + 1])),
    position[from + 2] + share * (position[3 * row + 2] - position[from + 2]),
  );
}
