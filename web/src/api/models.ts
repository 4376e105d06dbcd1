/** Requests about models. */

import { getJson, query, sendJson, uploadFile } from "./http";
import type { Model, Page } from "./types";

/** The model of the server; it cannot be deleted. */
export const DEFAULT_MODEL = "default";

export function modelPath(name: string): string {
  return `/v1/models/${encodeURIComponent(name)}`;
}

export function listModels(signal?: AbortSignal): Promise<Page<Model>> {
  return getJson<Page<Model>>(`/v1/models${query({ limit: 100 })}`, signal);
}

export function getModel(name: string, signal?: AbortSignal): Promise<Model> {
  return getJson<Model>(modelPath(name), signal);
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
