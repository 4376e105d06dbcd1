/** Columns of numbers over steps as curves to be drawn. */

import type { Curves } from "../api/experiment_types";

export interface Curve {
  name: string;
  /** Steps at which it was measured, ascending. */
  steps: number[];
  values: number[];
}

/** Looked at first; what else is told is a matter of how steps went. */
const FIRST = /^(train\/(loss|terms\/|learning_rate)|held_out\/(?!rows$|stale$))/;

/** The curves that have a line to draw, those that say how well it goes apart from the others. */
export function curvesOf(told: Curves | null): { main: Curve[]; more: Curve[] } {
  const { step: steps, ...columns } = told ?? { step: [] };
  const curves = Object.entries(columns)
    .map(([name, values]) => measured(name, steps, values))
    .filter(({ values }) => values.length > 1);
  const main = curves.filter(({ name }) => FIRST.test(name));
  // Others may have other names, and none of them comes first then.
  return main.length > 0
    ? { main, more: curves.filter(({ name }) => !FIRST.test(name)) }
    : { main: curves, more: [] };
}

function measured(
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
