import { parseNumber } from "../text/entries";

/** Rows as they are entered; empty texts for all. */
export interface RowsEntry {
  from: string;
  to: string;
}

export const ALL_ROWS: RowsEntry = { from: "", to: "" };

interface RowsFieldsProps {
  rows: RowsEntry;
  onRows: (rows: RowsEntry) => void;
  /** Rows of the dataset; undefined while none is chosen. */
  all: number | undefined;
  invalid: boolean;
}

/** Two fields for consecutive rows of a dataset. */
export function RowsFields({ rows, onRows, all, invalid }: RowsFieldsProps) {
  const end = (name: keyof RowsEntry, hint: number | undefined) => (
    <label>
      {name}
      <input
        class="short"
        inputMode="numeric"
        autocomplete="off"
        aria-invalid={invalid}
        placeholder={hint === undefined ? "" : String(hint)}
        value={rows[name]}
        onInput={(event) => onRows({ ...rows, [name]: event.currentTarget.value })}
      />
    </label>
  );
  return (
    <span class="toolbar rows-entry" role="group" aria-label="Rows">
      <span class="quiet">rows</span>
      {end("from", 0)}
      {end("to", all)}
    </span>
  );
}

/** Return the rows to send; null for all. */
export function rowsOf({ from, to }: RowsEntry, all: number): unknown {
  return from.trim() === "" && to.trim() === ""
    ? null
    : [parseNumber(from.trim() || "0"), parseNumber(to.trim() || String(all))];
}
