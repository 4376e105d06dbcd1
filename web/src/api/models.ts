/** Requests about models. */

import { getBytes, getJson, query, sendJson, uploadFile } from "./http";
import { type NumberArray, readNpy } from "./npy";
import type { Model, ModelBody, Page, SampleRows } from "./types";

/** The model that the settings of the server define. */
export const DEFAULT_MODEL = "default";

export function modelPath(name: string): string {
  return `/v1/models/${encodeURIComponent(name)}`;
}

/** Return all models; those of Energy Flow are the last. */
export async function listModels(signal?: AbortSignal): Promise<Model[]> {
  const models: Model[] = [];
  let cursor: string | null = null;
  do {
    const page: Page<Model> = await getJson(`/v1/models${query({ limit: 100, cursor })}`, signal);
    models.push(...page.items);
    cursor = page.next_cursor;
  } while (cursor);
  return models;
}

export function getModel(name: string, signal?: AbortSignal): Promise<Model> {
  return getJson<Model>(modelPath(name), signal);
}

/** Return the inputs of the rows to try a model with, [rows, dim]. */
export async function getSample(name: string, signal?: AbortSignal): Promise<NumberArray> {
  return readNpy(await getBytes(`${modelPath(name)}/sample?format=npy`, signal));
}

/** Return the rows to try a model with and their targets, if it has any. */
export async function findSampleRows(
  name: string,
  signal?: AbortSignal,
): Promise<SampleRows | null> {
  const models = await listModels(signal);
  const model = models.find((each) => each.name === name);
  return model?.sample_url ? getJson<SampleRows>(model.sample_url, signal) : null;
}

/** Return the rows to try a model with, and their targets, as a file. */
export async function getSampleFile(name: string): Promise<File> {
  const bytes = await getBytes(`${modelPath(name)}/sample?format=safetensors`);
  return new File([bytes], `${name}_sample.safetensors`);
}

/** @param key Idempotency-Key; the same request sent again with it makes no second model. */
export function createModel(body: ModelBody, key: string): Promise<Model> {
  return sendJson<Model>("POST", "/v1/models", body, { "Idempotency-Key": key });
}

export function uploadModel(name: string, file: File, signal?: AbortSignal): Promise<Model> {
  return uploadFile<Model>(modelPath(name), file, signal);
}

export function loadModel(name: string, loaded: boolean): Promise<Model> {
  return sendJson<Model>("POST", `${modelPath(name)}/${loaded ? "load" : "unload"}`);
}

export function deleteModel(name: string): Promise<unknown> {
  return sendJson("DELETE", modelPath(name));
}
