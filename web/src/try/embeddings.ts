/** The rows of a run: where they come from, and how they are sent. */

import { findFormat } from "../api/datasets";
import { type NumberArray, readHeader } from "../api/npy";
import { DATASET_FORMATS } from "../generated/choices";
import { createRandom } from "../lattice/demo";
import { formatBytes } from "../text/numbers";

/** Rows as numbers, or a file that is sent as it is. */
export type Embeddings =
  | { kind: "rows"; rows: unknown[]; summary: string }
  | { kind: "file"; file: File; mediaType: string; column: string; summary: string };

/** A `.safetensors` file has no media type of its own. */
const BYTES = "application/octet-stream";

/** First byte of a file that is compressed with gzip, whatever its name is. */
const GZIP = 0x1f;

/** Longest header of a `.npy` file. */
const MAX_HEADER_BYTES = 10_000;

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
 * Return the rows of a file. The format follows from its suffix; the server reads all but `.json`.
 *
 * @param column The column of the embeddings; empty where the server finds it.
 * @throws Error the file cannot be read.
 */
export async function readFile(file: File, column = ""): Promise<Embeddings> {
  const name = file.name.toLowerCase();
  if (name.endsWith(".json")) {
    return describeRows(readText(await file.text()), `from ${file.name}`);
  }
  const mediaType = DATASET_FORMATS[findFormat(name)].media_type || BYTES;
  let summary = `${file.name}, ${formatBytes(file.size)}`;
  const start = await file.slice(0, MAX_HEADER_BYTES).arrayBuffer();
  const [first] = new Uint8Array(start);
  if (name.endsWith(".npy") && first !== GZIP) {
    const { shape, dtype } = readHeader(start);
    summary = `${shape.join(" × ")} numbers (${dtype}) from ${file.name}`;
  }
  return { kind: "file", file, mediaType, column, summary };
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
