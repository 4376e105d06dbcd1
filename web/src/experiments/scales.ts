/** Positions and colours for the values of a swept field. */

import { contrastingScale, scaleIndex, toCss } from "../colour";
import { type Axis, categoryAxis, paddedAxis } from "../parts/axis";
import { formatValue } from "./measures";

/** An axis for the values of a field. */
interface FieldAxis {
  axis: Axis;
  numeric: boolean;
  /** Whether the values allow a logarithmic axis. */
  positive: boolean;
  value: (value: unknown) => number;
}

export function fieldAxis(values: readonly unknown[], log: boolean): FieldAxis {
  const numbers = values.filter((value) => typeof value === "number");
  if (numbers.length > 0 && numbers.length === values.length) {
    const positive = numbers.every((value) => value > 0);
    return {
      axis: paddedAxis(numbers, log && positive),
      numeric: true,
      positive,
      value: (value) => value as number,
    };
  }
  const names = [...new Set(values.map(formatValue))];
  return {
    axis: categoryAxis(names),
    numeric: false,
    positive: false,
    value: (value) => names.indexOf(formatValue(value)),
  };
}

/** More numbers than this are shown on a continuous scale. */
const MAX_NAMED = 8;

interface FieldColours {
  of: (value: unknown) => string;
  /** Values in the legend; null for a continuous scale. */
  named: unknown[] | null;
  scale: Uint8Array;
  low: number;
  high: number;
}

/** Return colours for the values of a field that contrast with the background. */
export function fieldColours(values: readonly unknown[], dark: boolean): FieldColours {
  const scale = contrastingScale(dark);
  const distinct = [...new Set(values)];
  const numbers = distinct.filter((value) => typeof value === "number").sort((a, b) => a - b);
  const sorted = numbers.length === distinct.length ? numbers : distinct;
  if (sorted.length <= MAX_NAMED || numbers.length < distinct.length) {
    const last = sorted.length - 1;
    return {
      of: (value) => toCss(scale, scaleIndex(sorted.indexOf(value ?? null), 0, last)),
      named: sorted,
      scale,
      low: 0,
      high: last,
    };
  }
  const [low, high] = [numbers[0], numbers[numbers.length - 1]];
  return {
    of: (value) => toCss(scale, scaleIndex(value as number, low, high)),
    named: null,
    scale,
    low,
    high,
  };
}
