/** Measures of trials: numbers by dotted name, and their mean and deviation over seeds. */

import type { Sweep, Trial } from "../api/types";
import { findExtent } from "../colour";

/** Return the numbers of a trial, named as in the table of results. */
export function getMeasures({ metrics, timing }: Pick<Trial, "metrics" | "timing">): Measures {
  return flattenNumbers({
    ...metrics,
    compute_ms: timing?.compute_ms,
    flow_steps_per_second: timing?.flow_steps_per_second,
  });
}

export type Measures = Readonly<Record<string, number>>;

/** Return the numbers of a document by dotted name. */
export function flattenNumbers(document: Record<string, unknown>): Measures {
  const found: Record<string, number> = {};
  const visit = (prefix: string, value: unknown): void => {
    if (typeof value === "number") {
      found[prefix] = value;
    } else if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      for (const [name, inner] of Object.entries(value)) {
        visit(prefix ? `${prefix}.${name}` : name, inner);
      }
    }
  };
  visit("", document);
  return found;
}

/** Return the names of all numbers that a trial has, in their order. */
export function listMeasures(trials: readonly Trial[]): string[] {
  return [...new Set(trials.flatMap((trial) => Object.keys(getMeasures(trial))))];
}

/** Trials of one sweep point: the same parameters, several seeds. */
export interface SweepPoint {
  /** Number of the point in the sweep. */
  point: number;
  parameters: Trial["parameters"];
  trials: { trial: number; seed: number; value: number }[];
  mean: number;
  /** Sample standard deviation; null for one seed. */
  deviation: number | null;
}

/**
 * Group the succeeded trials that have the measure by sweep point.
 *
 * @param seeds number of trials of each point; they have consecutive numbers.
 */
export function groupBySweepPoint(
  trials: readonly Trial[],
  measure: string,
  seeds: number,
): SweepPoint[] {
  const points = new Map<number, SweepPoint>();
  for (const trial of trials) {
    const value = trial.state === "succeeded" ? getMeasures(trial)[measure] : undefined;
    if (value === undefined) {
      continue;
    }
    const number = Math.floor(trial.trial / seeds);
    const point = points.get(number) ?? {
      point: number,
      parameters: trial.parameters,
      trials: [],
      mean: 0,
      deviation: null,
    };
    point.trials.push({ trial: trial.trial, seed: trial.seed, value });
    points.set(number, point);
  }
  for (const point of points.values()) {
    const values = point.trials.map(({ value }) => value);
    point.mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    point.deviation = computeDeviation(values, point.mean);
  }
  return [...points.values()];
}

function computeDeviation(values: readonly number[], mean: number): number | null {
  if (values.length < 2) {
    return null;
  }
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return Math.sqrt(squares / (values.length - 1));
}

/** Return whether a field was swept by factors: drawn with `log`, or a grid such as 1, 2, 5, 10. */
export function isSweptByFactors(sweep: Sweep | null, field: string): boolean {
  if (sweep === null) {
    return false;
  }
  if (sweep.random) {
    const range = sweep.random[field];
    return range !== undefined && !Array.isArray(range) && range.log === true;
  }
  const values = (sweep.grid?.[field] ?? []).filter((value) => typeof value === "number");
  const factors = values.slice(1).map((value, index) => value / values[index]);
  const [least, most] = findExtent(factors);
  return factors.length > 1 && values[0] > 0 && least >= 1.5 && most <= 1.3 * least;
}

export function formatValue(value: unknown): string {
  return value === undefined || value === null
    ? "–"
    : typeof value === "string"
      ? value
      : JSON.stringify(value);
}
