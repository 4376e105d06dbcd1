/** Curves of a training, from columns of numbers over steps. */

import type { Curves } from "../api/types";

export interface Curve {
  name: string;
  /** Steps at which it was measured, ascending. */
  steps: number[];
  values: number[];
}

/** Curves shown first; the others describe single steps. */
const FIRST = /^(train\/(loss|terms\/|learning_rate)|held_out\/(?!rows$|stale$))/;

/** Return the curves of two or more points: losses and held-out figures in `main`, others in `more`. */
export function selectCurves(measured: Curves | null): { main: Curve[]; more: Curve[] } {
  const columns = measured ?? {};
  const curves = Object.entries(columns)
    .filter(([name]) => name !== "step")
    .map(([name, values]) => buildCurve(name, columns.step as number[], values))
    .filter(({ values }) => values.length > 1);
  const main = curves.filter(({ name }) => FIRST.test(name));
  // Where no name is known, all curves are shown first.
  return main.length > 0
    ? { main, more: curves.filter(({ name }) => !FIRST.test(name)) }
    : { main: curves, more: [] };
}

function buildCurve(
  name: string,
  steps: readonly number[],
  values: readonly (number | null)[],
): Curve {
  const known = [...values.keys()].filter((place) => values[place] !== null);
  return {
    name,
    steps: known.map((place) => steps[place]),
    values: known.map((place) => values[place] as number),
  };
}
