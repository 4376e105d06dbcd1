/** Where the rows of a run come from, and how they are sent. */

import { readHeader } from "../api/npy";
import { generator } from "../lattice/demo";

/** Rows as numbers, or a `.npy` file that is sent as it is. */
export type Embeddings =
  | { kind: "rows"; rows: unknown[]; words: string }
  | { kind: "npy"; bytes: ArrayBuffer; count: number; words: string };

export function describe(rows: unknown[], from: string): Embeddings {
  const first = rows[0];
  const dimension = Array.isArray(first) ? `${first.length} numbers` : "no numbers";
  return { kind: "rows", rows, words: `${rows.length} × ${dimension} ${from}` };
}

/**
 * Rows in text: a JSON list of rows, one row, an object with `embeddings`, or JSON Lines of rows or
 * of objects with `embedding`. Whether the numbers are right is for the server to say.
 *
 * @throws Error it is none of these.
 */
export function readText(text: string): unknown[] {
  const trimmed = text.trim();
  if (trimmed === "") {
    throw new Error("There is nothing here yet.");
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
        return rowOf(JSON.parse(line));
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
    return typeof document[0] === "number" ? [document] : document.map(rowOf);
  }
  if (isObject(document)) {
    return [rowOf(document)];
  }
  throw new Error("Give a list of rows of numbers.");
}

function rowOf(value: unknown): unknown {
  return isObject(value) ? (value.embedding ?? value.embeddings ?? value) : value;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Reads a file by its name. @throws Error it is not one that can be read here. */
export async function readFile(file: File): Promise<Embeddings> {
  if (file.name.endsWith(".npy")) {
    const bytes = await file.arrayBuffer();
    const { shape, dtype } = readHeader(bytes);
    const words = `${shape.join(" × ")} numbers (${dtype}) from ${file.name}`;
    return { kind: "npy", bytes, count: shape[0] ?? 0, words };
  }
  return describe(readText(await file.text()), `from ${file.name}`);
}

/** Rows of length 1 that point anywhere; normal numbers by Box and Muller. */
export function randomRows(count: number, dimension: number, seed: number): number[][] {
  const random = generator(seed);
  return Array.from({ length: count }, () => {
    const row = Array.from({ length: dimension }, () => {
      const radius = Math.sqrt(-2 * Math.log(1 - random()));
      return radius * Math.cos(2 * Math.PI * random());
    });
    const length = Math.hypot(...row) || 1;
    return row.map((value) => Number((value / length).toPrecision(7)));
  });
}
