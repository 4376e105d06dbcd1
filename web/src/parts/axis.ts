/** Axes of charts: where values lie along them, and which are written beside them. */

import { compact, logTicks, number, ticks } from "../text/numbers";

export interface Axis {
  /** Place of a value: 0 at the low end, 1 at the high end. */
  share: (value: number) => number;
  /** Values to write, about so many. */
  ticks: (parts: number) => number[];
  label: (value: number) => string;
}

export function linearAxis(
  low: number,
  high: number,
  label: (value: number) => string = compact,
): Axis {
  return {
    share: (value) => (high > low ? (value - low) / (high - low) : 0.5),
    ticks: (parts) => ticks(low, high, parts),
    label,
  };
}

/** Only whole numbers are written beside it. */
export function wholeAxis(low: number, high: number): Axis {
  const axis = linearAxis(low, high);
  return { ...axis, ticks: (parts) => axis.ticks(parts).filter(Number.isInteger) };
}

/** Equal ways are equal factors; both ends are above nought. */
export function logAxis(low: number, high: number): Axis {
  const { share } = linearAxis(Math.log(low), Math.log(high));
  return {
    share: (value) => share(Math.log(value)),
    ticks: (parts) => logTicks(low, high, parts),
    label: (value) => number(value, 3),
  };
}

/** Words side by side; their values are 0, 1, 2, … */
export function namedAxis(names: readonly string[]): Axis {
  const { share } = linearAxis(-0.5, names.length - 0.5);
  return { share, ticks: () => [...names.keys()], label: (value) => names[value] };
}

/** An axis over values with some room at both ends; flat values lie in the middle. */
export function roomyAxis(values: readonly number[], log: boolean): Axis {
  const least = Math.min(...values);
  const most = Math.max(...values);
  if (log) {
    const factor = most > least ? (most / least) ** 0.05 : 2;
    return logAxis(least / factor, most * factor);
  }
  const room = most > least ? 0.05 * (most - least) : Math.abs(most) || 1;
  // Enough digits to tell one written value from the next.
  const parts = Math.max(Math.abs(least), Math.abs(most)) / (most - least + 2 * room);
  const digits = Math.max(3, Math.ceil(Math.log10(parts)) + 2);
  return linearAxis(least - room, most + room, (value) => number(value, digits));
}
