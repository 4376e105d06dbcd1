/** Datasets, as functions. */

import type { Dataset } from "./experiment_types";
import { getJson, query, request, sendJson } from "./http";
import type { Page } from "./types";

/** Formats of a dataset's file, by the ending of its name. */
const FORMATS: Readonly<Record<string, string>> = {
  npy: "npy",
  safetensors: "safetensors",
  parquet: "parquet",
  jsonl: "jsonl",
  ndjson: "jsonl",
};

export const DATASET_ENDINGS: readonly string[] = Object.keys(FORMATS).map(
  (ending) => `.${ending}`,
);

export function datasetPath(name: string): string {
  return `/v1/datasets/${encodeURIComponent(name)}`;
}

export function listDatasets(cursor: string | null, limit: number, signal?: AbortSignal) {
  return getJson<Page<Dataset>>(`/v1/datasets${query({ limit, cursor })}`, signal);
}

/** @throws Error the ending of the file's name says no format. */
export async function uploadDataset(
  name: string,
  file: File,
  signal?: AbortSignal,
): Promise<Dataset> {
  const format = FORMATS[file.name.split(".").at(-1)?.toLowerCase() ?? ""];
  if (format === undefined) {
    throw new Error(`${file.name} is none of ${DATASET_ENDINGS.join(", ")}.`);
  }
  const response = await request(`${datasetPath(name)}${query({ format })}`, {
    method: "PUT",
    body: file,
    headers: { "Content-Type": "application/octet-stream" },
    ...(signal && { signal }),
  });
  return (await response.json()) as Dataset;
}

export function deleteDataset(name: string): Promise<unknown> {
  return sendJson("DELETE", datasetPath(name));
}
