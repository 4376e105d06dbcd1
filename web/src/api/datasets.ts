/** Requests about datasets. */

import type { Dataset, Page } from "./types";
import { DATASET_FORMATS, type DatasetFormat } from "../generated/choices";
import { getJson, query, sendJson, uploadFile } from "./http";

const FORMATS = Object.entries(DATASET_FORMATS) as [
  DatasetFormat,
  (typeof DATASET_FORMATS)[DatasetFormat],
][];

/** Suffixes of dataset files. */
export const DATASET_SUFFIXES: readonly string[] = FORMATS.flatMap(([, { suffixes }]) => suffixes);

/** Files that a field for them offers. Each of them can be compressed. */
export const DATASET_FILES = [...DATASET_SUFFIXES, ".gz"].join(",");

/**
 * Return the format of a file of embeddings by its suffix.
 *
 * @throws Error the suffix is not that of a format.
 */
export function findFormat(name: string): DatasetFormat {
  const lower = name.toLowerCase().replace(/\.gz$/, "");
  const found = FORMATS.find(([, { suffixes }]) =>
    suffixes.some((suffix) => lower.endsWith(suffix)),
  );
  if (found === undefined) {
    throw new Error(
      `The format of ${name} is unknown; its name must end in ${DATASET_SUFFIXES.join(", ")}, or in one of them and .gz.`,
    );
  }
  return found[0];
}

export function datasetPath(name: string): string {
  return `/v1/datasets/${encodeURIComponent(name)}`;
}

export function listDatasets(cursor: string | null, limit: number, signal?: AbortSignal) {
  return getJson<Page<Dataset>>(`/v1/datasets${query({ limit, cursor })}`, signal);
}

/** @throws Error the suffix of the file is not that of a format. */
export async function uploadDataset(
  name: string,
  file: File,
  signal?: AbortSignal,
  column = "",
): Promise<Dataset> {
  const parameters = { format: findFormat(file.name), ...(column !== "" && { column }) };
  return uploadFile<Dataset>(`${datasetPath(name)}${query(parameters)}`, file, signal);
}

export function deleteDataset(name: string): Promise<unknown> {
  return sendJson("DELETE", datasetPath(name));
}
