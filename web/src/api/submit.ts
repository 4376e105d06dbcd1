/** Orders for runs: what they would cost, and the runs themselves. */

import type { Embeddings } from "../try/embeddings";
import { asNumber } from "../text/entries";
import { query, request } from "./http";
import type { Estimate, OutputName, Run } from "./types";

export interface Order {
  embeddings: Embeddings;
  model: string;
  seed: string;
  outputs: OutputName[];
  options: Record<string, unknown>;
}

export async function dryRun(order: Order, signal: AbortSignal): Promise<Estimate> {
  const response = await send("/v1/simulate", { dry_run: "true" }, order, {}, signal);
  return (await response.json()) as Estimate;
}

/** @param key sent again with the same order, it makes no second run. */
export async function submitRun(order: Order, key: string): Promise<Run> {
  const response = await send("/v1/runs", {}, order, { "Idempotency-Key": key });
  return (await response.json()) as Run;
}

function send(
  path: string,
  extra: Record<string, string>,
  { embeddings, model, seed, outputs, options }: Order,
  headers: Record<string, string>,
  signal?: AbortSignal,
): Promise<Response> {
  const rest = { method: "POST", ...(signal && { signal }) };
  if (embeddings.kind === "npy") {
    const fields = { model, seed, outputs: outputs.join(","), options: JSON.stringify(options) };
    return request(path + query({ ...extra, ...fields }), {
      ...rest,
      body: embeddings.bytes,
      headers: { ...headers, "Content-Type": "application/x-npy" },
    });
  }
  const body = {
    embeddings: embeddings.rows,
    model,
    outputs,
    options,
    ...(seed.trim() !== "" && { seed: asNumber(seed) }),
  };
  return request(path + query(extra), {
    ...rest,
    body: JSON.stringify(body),
    headers: { ...headers, "Content-Type": "application/json" },
  });
}
