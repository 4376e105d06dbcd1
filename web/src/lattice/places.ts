/** Where the flows of a journey are at some place in time. */

import { Vector3 } from "three";
import { fold } from "./fold";
import type { Journey } from "./journey";

/** Flows that ended before a step. */
export function endedBefore(journey: Journey, step: number): number {
  let low = 0;
  let high = journey.endOrder.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (journey.endStep[journey.endOrder[middle]] < step) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

/** Where a flow is after its end: on the plane that it was tallied at. */
export function endOf(journey: Journey, flow: number): Vector3 {
  const at = new Vector3().fromArray(journey.position, 3 * journey.lastRow[flow]);
  if (journey.plane[flow] >= 0) {
    at.z = 2 * journey.plane[flow] - 1;
  }
  return at;
}

/** Where the flow of a row is, some fraction of the way to it. */
export function place(journey: Journey, row: number, fraction: number, at: Vector3): void {
  const from = 3 * journey.previous[row];
  const share = journey.atOnce[row] ? 0 : fraction;
  const { position, aim } = journey;
  at.set(
    fold(position[from] + share * (aim[2 * row] - position[from])),
    fold(position[from + 1] + share * (aim[2 * row + 1] - position[from + 1])),
    position[from + 2] + share * (position[3 * row + 2] - position[from + 2]),
  );
}
