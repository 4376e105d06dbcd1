/** What was measured in trials: numbers by dotted name, and their mean and deviation over seeds. */

import type { FieldValue, Sweep, Trial } from "../api/experiment_types";
import { extent } from "../colour";

/** Numbers of a trial, named as in the table of results. */
export function measuresOf({ metrics, timing }: Pick<Trial, "metrics" | "timing">): Measures {
  return numbersIn({
    ...metrics,
    compute_ms: timing?.compute_ms,
    flow_steps_per_second: timing?.flow_steps_per_second,
  });
}

export type Measures = Readonly<Record<string, number>>;

/** Numbers of a document by dotted name. */
export function numbersIn(document: Record<string, unknown>): Measures {
  const found: Record<string, number> = {};
  const look = (prefix: string, value: unknown): void => {
    if (typeof value === "number") {
      found[prefix] = value;
    } else if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      for (const [name, inner] of Object.entries(value)) {
        look(prefix ? `${prefix}.${name}` : name, inner);
      }
    }
  };
  look("", document);
  return found;
}

/** Names of all numbers that any trial has, in the order in which they come. */
export function measureNames(trials: readonly Trial[]): string[] {
  return [...new Set(trials.flatMap((trial) => Object.keys(measuresOf(trial))))];
}

/** Trials of one sweep point: the same parameters, several seeds. */
export interface SweepPoint {
  /** Its number in the sweep. */
  point: number;
  parameters: Trial["parameters"];
  trials: { trial: number; seed: number; value: number }[];
  mean: number;
  /** Sample standard deviation; null for one seed. */
  deviation: number | null;
}

/**
 * The succeeded trials that have the measure, by sweep point.
 *
 * @param seeds how many trials there are of each point; they follow one another.
 */
export function sweepPoints(
  trials: readonly Trial[],
  measure: string,
  seeds: number,
): SweepPoint[] {
  const points = new Map<number, SweepPoint>();
  for (const trial of trials) {
    const value = trial.state === "succeeded" ? measuresOf(trial)[measure] : undefined;
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
    point.deviation = deviationOf(values, point.mean);
  }
  return [...points.values()];
}

function deviationOf(values: readonly number[], mean: number): number | null {
  if (values.length < 2) {
    return null;
  }
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return Math.sqrt(squares / (values.length - 1));
}

/** Whether a field was swept by factors: drawn so, or a grid such as 1, 2, 5, 10. */
export function sweptByFactors(sweep: Sweep | null, field: string): boolean {
  if (sweep === null) {
    return false;
  }
  if ("random" in sweep) {
    const range = sweep.random[field];
    return range !== undefined && !Array.isArray(range) && range.log === true;
  }
  const values = (sweep.grid[field] ?? []).filter((value) => typeof value === "number");
  const factors = values.slice(1).map((value, index) => value / values[index]);
  const [least, most] = extent(factors);
  return factors.length > 1 && values[0] > 0 && least >= 1.5 && most <= 1.3 * least;
}

export function fieldWords(value: FieldValue | undefined): string {
  return value === undefined || value === null ? "–" : String(value);
}
