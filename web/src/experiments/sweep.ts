/** A sweep as it is entered, and as it is sent. */

import { parseNumber, splitList } from "../text/entries";
import { OPTIONS, parseOption } from "../try/options";

export type SweepKind = "none" | "grid" | "random";

/** A swept field: listed values, or a range to draw from. */
export interface SweepRow {
  field: string;
  values: string;
  /** In a random sweep: whether values are drawn from a range. */
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

/** Return the sweep to send; null for none. */
export function buildSweep({ kind, rows, count, seed }: SweepEntry): unknown {
  if (kind === "none") {
    return null;
  }
  if (kind === "grid") {
    return { grid: byField(rows, parseValues) };
  }
  return {
    random: byField<unknown>(rows, (row) =>
      row.range
        ? { low: parseNumber(row.low), high: parseNumber(row.high), log: row.log }
        : parseValues(row),
    ),
    count: parseNumber(count),
    seed: parseNumber(seed),
  };
}

function parseValues({ field, values }: SweepRow): unknown[] {
  const option = OPTIONS.find(({ name }) => name === field);
  return splitList(values).map((text) => (option === undefined ? text : parseOption(option, text)));
}

function byField<Value>(
  rows: readonly SweepRow[],
  value: (row: SweepRow) => Value,
): Record<string, Value> {
  return Object.fromEntries(rows.map((row) => [row.field, value(row)]));
}

/** Return the factors of the number of trials, with their names. */
export function listTrialFactors(sweep: SweepEntry, seeds: number): [number, string][] {
  const points: [number, string][] =
    sweep.kind === "grid"
      ? sweep.rows.map((row) => [parseValues(row).length, row.field])
      : sweep.kind === "random"
        ? [[Number(sweep.count) || 0, "random points"]]
        : [];
  return [...points, [seeds, seeds === 1 ? "seed" : "seeds"]];
}
