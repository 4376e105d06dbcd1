/** The rows of a run: where they come from, and how they are sent. */

import { type NumberArray, readHeader } from "../api/npy";
import { createRandom } from "../lattice/demo";

/** Rows as numbers, or a `.npy` file that is sent as it is. */
export type Embeddings =
  | { kind: "rows"; rows: unknown[]; summary: string }
  | { kind: "npy"; bytes: ArrayBuffer; count: number; summary: string };

export function describeRows(rows: unknown[], from: string): Embeddings {
  const first = rows[0];
  const dimension = Array.isArray(first) ? `${first.length} numbers` : "no numbers";
  return { kind: "rows", rows, summary: `${rows.length} × ${dimension} ${from}` };
}

/**
 * Return the rows in a text: a JSON list of rows, one row, an object with `embeddings`, or JSON
 * Lines of rows or of objects with `embedding`. The server checks the numbers.
 *
 * @throws Error the text is none of these.
 */
export function readText(text: string): unknown[] {
  const trimmed = text.trim();
  if (trimmed === "") {
    throw new Error("The text is empty; enter a JSON list of rows.");
  }
  let document: unknown;
  try {
    document = JSON.parse(trimmed);
  } catch (error) {
    const lines = trimmed.split(/\r?\n/).filter((line) => line.trim() !== "");
    if (lines.length < 2) {
      throw new Error(`This is not JSON: ${(error as Error).message}`, { cause: error });
    }
    return lines.map((line, index) => {
      try {
        return extractRow(JSON.parse(line));
      } catch (lineError) {
        throw new Error(`Line ${index + 1} is not JSON: ${(lineError as Error).message}`, {
          cause: lineError,
        });
      }
    });
  }
  if (isObject(document) && Array.isArray(document.embeddings)) {
    return document.embeddings;
  }
  if (Array.isArray(document)) {
    return typeof document[0] === "number" ? [document] : document.map(extractRow);
  }
  if (isObject(document)) {
    return [extractRow(document)];
  }
  throw new Error("The text must be a list of rows of numbers.");
}

function extractRow(value: unknown): unknown {
  return isObject(value) ? (value.embedding ?? value.embeddings ?? value) : value;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Return the first rows of an array [rows, dim] as lists; all of them where it has fewer. */
export function takeRows({ shape: [rows, dim], data }: NumberArray, count: number): number[][] {
  return Array.from({ length: Math.min(rows, count) }, (_, row) =>
    Array.from(data.subarray(row * dim, (row + 1) * dim)),
  );
}

/**
 * Return the rows of a file. The format follows from its suffix.
 *
 * @throws Error the file cannot be read.
 */
export async function readFile(file: File): Promise<Embeddings> {
  if (file.name.endsWith(".npy")) {
    const bytes = await file.arrayBuffer();
    const { shape, dtype } = readHeader(bytes);
    const summary = `${shape.join(" × ")} numbers (${dtype}) from ${file.name}`;
    return { kind: "npy", bytes, count: shape[0] ?? 0, summary };
  }
  return describeRows(readText(await file.text()), `from ${file.name}`);
}

/** Return rows of length 1 in random directions; normal numbers by the Box-Muller method. */
export function drawRows(count: number, dimension: number, seed: number): number[][] {
  const random = createRandom(seed);
  return Array.from({ length: count }, () => {
    const row = Array.from({ length: dimension }, () => {
      const radius = Math.sqrt(-2 * Math.log(1 - random()));
      return radius * Math.cos(2 * Math.PI * random());
    });
    const length = Math.hypot(...row) || 1;
    return row.map((value) => Number((value / length).toPrecision(7)));
  });
}
