/** Reflections of paths at the walls in x and y. */

import { type Wall, WALLS } from "../generated/choices";

/** Return a coordinate beyond a wall, reflected into [−1, 1]. */
export function fold(q: number): number {
  if (Math.abs(q) <= 1) {
    return q;
  }
  const turn = (((q + 1) % 4) + 4) % 4;
  return 1 - Math.abs(turn - 2);
}

/** Return where a reflected position would be without the walls of a record, given as their bits. */
export function mirror(x: number, y: number, walls: number): [number, number] {
  const has = (wall: Wall) => (walls & WALLS[wall].bit) !== 0;
  const unfoldAxis = (at: number, low: Wall, high: Wall) =>
    has(low) ? -2 - at : has(high) ? 2 - at : at;
  return [unfoldAxis(x, "x_low", "x_high"), unfoldAxis(y, "y_low", "y_high")];
}

// Positions are float32, so lengths computed from them agree to about this.
const TOLERANCE = 2e-4;

/**
 * Return the target of a displacement before its reflection.
 *
 * Only its length is known. The walls follow from it: the target before a reflection is farther
 * away than the position after it.
 *
 * @param isLonger the flow moved in z by more than `dz`, by an unknown length.
 * @returns x and y, or null where several targets are possible, or none.
 */
export function unfold(
  fromX: number,
  fromY: number,
  toX: number,
  toY: number,
  dz: number,
  length: number,
  isLonger: boolean,
): [number, number] | null {
  const squared = length * length;
  const slack = TOLERANCE * Math.max(length, 0.05);
  let found: [number, number] | null = null;
  let best = Infinity;
  let possible = 0;
  for (const x of [toX, 2 - toX, -2 - toX]) {
    for (const y of [toY, 2 - toY, -2 - toY]) {
      const difference = (x - fromX) ** 2 + (y - fromY) ** 2 + dz * dz - squared;
      if (isLonger ? difference > slack : Math.abs(difference) > slack) {
        continue;
      }
      possible += 1;
      // The target without a reflection comes first; only a clearly better one replaces it.
      if (found === null || Math.abs(difference) < best - slack) {
        found = [x, y];
        best = Math.abs(difference);
      }
    }
  }
  return isLonger && possible > 1 ? null : found;
}
