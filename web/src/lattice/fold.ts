/** Walls in x and y fold a flow's way as mirrors do. */

/** A coordinate that overshot, folded back into [−1, 1]. */
export function fold(q: number): number {
  if (Math.abs(q) <= 1) {
    return q;
  }
  const turn = (((q + 1) % 4) + 4) % 4;
  return 1 - Math.abs(turn - 2);
}

/** Where a folded place would be without the walls of a record: x low, x high, y low, y high. */
export function mirror(x: number, y: number, walls: number): [number, number] {
  const beyond = (at: number, low: boolean, high: boolean) => (low ? -2 - at : high ? 2 - at : at);
  return [
    beyond(x, (walls & 1) !== 0, (walls & 2) !== 0),
    beyond(y, (walls & 4) !== 0, (walls & 8) !== 0),
  ];
}

// Positions are float32, so lengths computed from them agree to about this.
const TOLERANCE = 2e-4;

/**
 * Where a displacement led before it was folded.
 *
 * Only its length is known, which tells whether and where a way was folded: a mirrored target lies
 * farther than the folded one.
 *
 * @param beyond whether the flow moved in z by more than `dz`, unknown how far.
 * @returns x and y, or null where more than one way is possible, or none.
 */
export function unfold(
  fromX: number,
  fromY: number,
  toX: number,
  toY: number,
  dz: number,
  length: number,
  beyond: boolean,
): [number, number] | null {
  const squared = length * length;
  const slack = TOLERANCE * Math.max(length, 0.05);
  let found: [number, number] | null = null;
  let best = Infinity;
  let possible = 0;
  for (const x of [toX, 2 - toX, -2 - toX]) {
    for (const y of [toY, 2 - toY, -2 - toY]) {
      const apart = (x - fromX) ** 2 + (y - fromY) ** 2 + dz * dz - squared;
      if (beyond ? apart > slack : Math.abs(apart) > slack) {
        continue;
      }
      possible += 1;
      // The plainest way comes first, and only a clearly better one replaces it.
      if (found === null || Math.abs(apart) < best - slack) {
        found = [x, y];
        best = Math.abs(apart);
      }
    }
  }
  return beyond && possible > 1 ? null : found;
}
