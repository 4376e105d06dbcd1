/** Places and colours for the values of a swept field. */

import type { FieldValue } from "../api/experiment_types";
import { css, part, place, viridis } from "../colour";
import { type Axis, namedAxis, roomyAxis } from "../parts/axis";
import { fieldWords } from "./measures";

/** An axis for a field's values, and where on it a value lies. */
export interface FieldAxis {
  axis: Axis;
  numeric: boolean;
  /** Whether the values allow a logarithmic axis. */
  positive: boolean;
  value: (value: FieldValue | undefined) => number;
}

export function fieldAxis(values: readonly (FieldValue | undefined)[], log: boolean): FieldAxis {
  const numbers = values.filter((value) => typeof value === "number");
  if (numbers.length > 0 && numbers.length === values.length) {
    const positive = numbers.every((value) => value > 0);
    return {
      axis: roomyAxis(numbers, log && positive),
      numeric: true,
      positive,
      value: (value) => value as number,
    };
  }
  const names = [...new Set(values.map(fieldWords))];
  return {
    axis: namedAxis(names),
    numeric: false,
    positive: false,
    value: (value) => names.indexOf(fieldWords(value)),
  };
}

/** So many values are told one by one; of more, a scale is shown. */
const MOST_NAMED = 8;

export interface FieldColours {
  of: (value: FieldValue | undefined) => string;
  /** Values with a colour of their own; null where there are too many. */
  named: FieldValue[] | null;
  scale: Uint8Array;
  low: number;
  high: number;
}

/** Colours for a field's values, all of which can be told from the page behind them. */
export function fieldColours(values: readonly FieldValue[], dark: boolean): FieldColours {
  const scale = dark ? part(viridis, 0.3, 1) : part(viridis, 0, 0.8);
  const distinct = [...new Set(values)];
  const numbers = distinct.filter((value) => typeof value === "number").sort((a, b) => a - b);
  const sorted = numbers.length === distinct.length ? numbers : distinct;
  if (sorted.length <= MOST_NAMED || numbers.length < distinct.length) {
    const last = sorted.length - 1;
    return {
      of: (value) => css(scale, place(sorted.indexOf(value ?? null), 0, last)),
      named: sorted,
      scale,
      low: 0,
      high: last,
    };
  }
  const [low, high] = [numbers[0], numbers[numbers.length - 1]];
  return {
    of: (value) => css(scale, place(value as number, low, high)),
    named: null,
    scale,
    low,
    high,
  };
}
