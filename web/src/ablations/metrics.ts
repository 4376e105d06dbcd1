/** Figures of ablations, and what their changes mean. */

import type { AblationEntry, AblationResult, Interval } from "../api/types";
import type { ValidationMetric } from "../generated/choices";
import { formatFixed } from "../text/numbers";

export const METRIC_LABELS: Readonly<Record<ValidationMetric, string>> = {
  cosine: "cosine",
  r2: "R²",
  top_1: "top 1",
  top_10: "top 10",
};

/** A part that was switched off, with the change of one figure. */
export interface Change {
  label: string;
  change: Interval;
  /** Whether 0 is not in the interval, and the change is large enough to matter. */
  isClear: boolean;
}

/** The least change that matters, as a share of what the model lacks to the best figure, 1. */
export const LEAST_SHARE = 0.01;
const DECIMALS = 4;

/** Return the least change of a figure that matters, even where 0 is not in the interval. */
export function leastChange({ entries }: AblationResult, metric: ValidationMetric): number {
  return LEAST_SHARE * (1 - (entries[0].figures[metric]?.value ?? 0));
}

/** Return the changes of a figure, for all parts that the model has. */
export function listChanges(result: AblationResult, metric: ValidationMetric): Change[] {
  const least = leastChange(result, metric);
  return result.entries.flatMap((entry) => {
    const change = entry.changes[metric];
    return entry.ablation === null || change === undefined
      ? []
      : [{ label: entry.label, change, isClear: isClear(change, least) }];
  });
}

/** Return what the changes of a figure mean, in a sentence or two. */
export function explainChanges(changes: readonly Change[], name: string): string {
  const labels = (sign: -1 | 1): string =>
    changes
      .filter(({ change, isClear: clear }) => clear && Math.sign(change.value) === sign)
      .map(({ label }) => label)
      .join(", ");
  const [lower, higher] = [labels(-1), labels(1)];
  if (lower === "" && higher === "") {
    return `There is no clear change of ${name}: for these rows, nothing is lost without these parts.`;
  }
  return [
    lower !== "" && `Lower with ${lower}: the model uses what is switched off there.`,
    higher !== "" && `Higher with ${higher}: the model is better without it.`,
  ]
    .filter(Boolean)
    .join(" ");
}

/** Return a figure with its interval as text; of an entry without it, a dash. */
export function formatFigure(entry: AblationEntry, metric: ValidationMetric): string {
  const figure = entry.figures[metric];
  return figure === undefined ? "–" : formatInterval(figure);
}

export function formatInterval(interval: Interval, sign = false): string {
  const text = (value: number): string => {
    // Adding 0 leaves no minus sign before 0.
    const rounded = Number(value.toFixed(DECIMALS)) + 0;
    return `${sign && rounded >= 0 ? "+" : ""}${formatFixed(rounded, DECIMALS)}`;
  };
  return `${text(interval.value)} [${text(interval.low)}, ${text(interval.high)}]`;
}

function isClear({ value, low, high }: Interval, least: number): boolean {
  return (low > 0 || high < 0) && Math.abs(value) >= least;
}
