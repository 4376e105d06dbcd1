/** Models, as functions. */

import { getJson, query, request, sendJson } from "./http";
import type { Model, Page } from "./types";

export function modelPath(name: string): string {
  return `/v1/models/${encodeURIComponent(name)}`;
}

export function listModels(signal?: AbortSignal): Promise<Page<Model>> {
  return getJson<Page<Model>>(`/v1/models${query({ limit: 100 })}`, signal);
}

export async function uploadModel(name: string, file: File, signal?: AbortSignal): Promise<Model> {
  const response = await request(modelPath(name), {
    method: "PUT",
    body: file,
    headers: { "Content-Type": "application/octet-stream" },
    ...(signal && { signal }),
  });
  return (await response.json()) as Model;
}

export function loadModel(name: string, loaded: boolean): Promise<Model> {
  return sendJson<Model>("POST", `${modelPath(name)}/${loaded ? "load" : "unload"}`);
}

export function deleteModel(name: string): Promise<unknown> {
  return sendJson("DELETE", modelPath(name));
}
