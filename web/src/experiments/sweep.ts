/** A sweep as it is entered, and as it is sent. */

import type { FieldValue, Interval } from "../api/experiment_types";
import { asNumber, asValue, listOf } from "../text/entries";

export type SweepKind = "none" | "grid" | "random";

/** A field that varies: listed values, or a range to draw from. */
export interface SweepRow {
  field: string;
  values: string;
  /** Only of a random sweep: whether it is drawn from a range. */
  range: boolean;
  low: string;
  high: string;
  log: boolean;
}

export interface SweepEntry {
  kind: SweepKind;
  rows: readonly SweepRow[];
  count: string;
  seed: string;
}

export const NO_SWEEP: SweepEntry = { kind: "none", rows: [], count: "20", seed: "0" };

export function newRow(field: string): SweepRow {
  return { field, values: "", range: true, low: "", high: "", log: false };
}

/** What is sent; null without a sweep. */
export function sweepOf({ kind, rows, count, seed }: SweepEntry): unknown {
  if (kind === "none") {
    return null;
  }
  if (kind === "grid") {
    return { grid: byField(rows, valuesOf) };
  }
  return {
    random: byField<FieldValue[] | Record<keyof Interval, unknown>>(rows, (row) =>
      row.range
        ? { low: asNumber(row.low), high: asNumber(row.high), log: row.log }
        : valuesOf(row),
    ),
    count: asNumber(count),
    seed: asNumber(seed),
  };
}

export function valuesOf({ values }: SweepRow): FieldValue[] {
  return listOf(values).map(asValue);
}

function byField<Value>(
  rows: readonly SweepRow[],
  value: (row: SweepRow) => Value,
): Record<string, Value> {
  return Object.fromEntries(rows.map((row) => [row.field, value(row)]));
}

/** How many trials there would be: the factors whose product it is, and their names. */
export function trialFactors(sweep: SweepEntry, seeds: number): [number, string][] {
  const points: [number, string][] =
    sweep.kind === "grid"
      ? sweep.rows.map((row) => [valuesOf(row).length, row.field])
      : sweep.kind === "random"
        ? [[Number(sweep.count) || 0, "random points"]]
        : [];
  return [...points, [seeds, seeds === 1 ? "seed" : "seeds"]];
}
