/** Requests about ablations: models measured with parts of their flows switched off. */

import { getJson, query, sendJson } from "./http";
import { modelPath } from "./models";
import type { Ablation, AblationBody, Page } from "./types";

function ablationsPath(model: string): string {
  return `${modelPath(model)}/ablations`;
}

export function listAblations(model: string, limit: number, signal?: AbortSignal) {
  return getJson<Page<Ablation>>(`${ablationsPath(model)}${query({ limit })}`, signal);
}

export function startAblation(model: string, body: AblationBody): Promise<Ablation> {
  return sendJson<Ablation>("POST", ablationsPath(model), body);
}

/** Cancel an ablation, or remove one that has ended. */
export function deleteAblation(ablation: Ablation): Promise<unknown> {
  return sendJson("DELETE", ablation.url);
}
