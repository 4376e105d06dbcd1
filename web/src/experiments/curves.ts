/** Curves of a training, from columns of numbers over steps. */

import type { Curves } from "../api/types";

export interface Curve {
  name: string;
  /** Steps at which it was measured, ascending. */
  steps: number[];
  values: number[];
}

/** A curve of one trial. */
export interface TrialCurve extends Curve {
  trial: number;
}

/** The curves of one figure. */
export interface Figure {
  name: string;
  curves: TrialCurve[];
}

/** Curves shown first; the others describe single steps. */
const FIRST = /^(train\/(loss|terms\/|learning_rate)|held_out\/(?!rows$|stale$))/;

/** The order of the first ones: the loss of both kinds of rows, then the rest as they are measured. */
const LOSSES = ["train/loss", "held_out/loss"];

/**
 * Return the figures that have curves of two or more points: losses and held-out figures in `main`,
 * others in `more`.
 *
 * @param measured the columns of each trial.
 */
export function selectFigures(measured: ReadonlyMap<number, Curves | null>): {
  main: Figure[];
  more: Figure[];
} {
  const figures = new Map<string, TrialCurve[]>();
  for (const [trial, columns] of measured) {
    for (const [name, values] of Object.entries(columns ?? {})) {
      const curve = buildCurve(name, columns?.step as number[], values);
      if (name !== "step" && curve.values.length > 1) {
        figures.set(name, [...(figures.get(name) ?? []), { trial, ...curve }]);
      }
    }
  }
  const all = Array.from(figures, ([name, curves]) => ({ name, curves })).sort(
    (a, b) => rank(a.name) - rank(b.name),
  );
  const main = all.filter(({ name }) => FIRST.test(name));
  // Where no name is known, all are shown first.
  return main.length > 0
    ? { main, more: all.filter(({ name }) => !FIRST.test(name)) }
    : { main: all, more: [] };
}

function rank(name: string): number {
  const place = LOSSES.indexOf(name);
  return place < 0 ? LOSSES.length : place;
}

/**
 * Return the exponential moving average of values, without the pull of a first value towards 0.
 *
 * @param weight weight of the values before, from 0 to below 1.
 */
export function smooth(values: readonly number[], weight: number): number[] {
  if (weight === 0) {
    return [...values];
  }
  let [sum, total] = [0, 0];
  return values.map((value) => {
    sum = weight * sum + value;
    total = weight * total + 1;
    return sum / total;
  });
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
