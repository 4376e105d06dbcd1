/** Axes of charts: positions of values, and labels. */

import { formatCompact, logTicks, formatNumber, ticks } from "../text/numbers";

export interface Axis {
  /** Return the position of a value: 0 at the low end, 1 at the high end. */
  fractionOf: (value: number) => number;
  /** Return about `parts` values to label. */
  ticks: (parts: number) => number[];
  label: (value: number) => string;
}

/** Return about `parts` values to label, and their labels, which are distinct. */
export function labelTicks(axis: Axis, parts: number): [number, string][] {
  const values = axis.ticks(parts);
  const isDistinct = (label: (value: number) => string) =>
    new Set(values.map(label)).size === values.length;
  const digits = [4, 6, 8, 10, 12].find((count) =>
    isDistinct((value) => formatNumber(value, count)),
  );
  const label = isDistinct(axis.label)
    ? axis.label
    : (value: number) => formatNumber(value, digits ?? 15);
  return values.map((value) => [value, label(value)]);
}

export function linearAxis(
  low: number,
  high: number,
  label: (value: number) => string = formatCompact,
): Axis {
  return {
    fractionOf: (value) => (high > low ? (value - low) / (high - low) : 0.5),
    ticks: (parts) => ticks(low, high, parts),
    label,
  };
}

/** A linear axis with labels at whole numbers only. */
export function integerAxis(low: number, high: number): Axis {
  const axis = linearAxis(low, high);
  return { ...axis, ticks: (parts) => axis.ticks(parts).filter(Number.isInteger) };
}

/** An axis on which equal distances are equal factors; both ends are above 0. */
export function logAxis(low: number, high: number): Axis {
  const { fractionOf: share } = linearAxis(Math.log(low), Math.log(high));
  return {
    fractionOf: (value) => share(Math.log(value)),
    ticks: (parts) => logTicks(low, high, parts),
    label: (value) => formatNumber(value, 3),
  };
}

/** An axis of names; their values are 0, 1, 2, … */
export function categoryAxis(names: readonly string[]): Axis {
  const { fractionOf: share } = linearAxis(-0.5, names.length - 0.5);
  return { fractionOf: share, ticks: () => [...names.keys()], label: (value) => names[value] };
}

/** An axis with some space beyond the smallest and the largest value. */
export function paddedAxis(values: readonly number[], log: boolean): Axis {
  const least = Math.min(...values);
  const most = Math.max(...values);
  if (log) {
    const factor = most > least ? (most / least) ** 0.05 : 2;
    return logAxis(least / factor, most * factor);
  }
  const room = most > least ? 0.05 * (most - least) : Math.abs(most) || 1;
  return preciseAxis(least - room, most + room);
}

/** A linear axis with enough digits to distinguish neighbouring labels. */
export function preciseAxis(low: number, high: number): Axis {
  const parts = Math.max(Math.abs(low), Math.abs(high)) / (high - low);
  const digits = Math.max(3, Math.ceil(Math.log10(parts)) + 2);
  return linearAxis(low, high, (value) => formatNumber(value, digits));
}
