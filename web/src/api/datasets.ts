/** Requests about datasets. */

import type { Dataset, Page } from "./types";
import { DATASET_FORMATS } from "../generated/choices";
import { getJson, query, sendJson, uploadFile } from "./http";

const FORMATS = Object.entries(DATASET_FORMATS);

/** Suffixes of dataset files. */
export const DATASET_SUFFIXES: readonly string[] = FORMATS.flatMap(([, { suffixes }]) => suffixes);

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
): Promise<Dataset> {
  const fileName = file.name.toLowerCase();
  const format = FORMATS.find(([, { suffixes }]) =>
    suffixes.some((suffix) => fileName.endsWith(suffix)),
  )?.[0];
  if (format === undefined) {
    throw new Error(
      `The format of ${file.name} is unknown; its name must end in ${DATASET_SUFFIXES.join(", ")}.`,
    );
  }
  return uploadFile<Dataset>(`${datasetPath(name)}${query({ format })}`, file, signal);
}

export function deleteDataset(name: string): Promise<unknown> {
  return sendJson("DELETE", datasetPath(name));
}
