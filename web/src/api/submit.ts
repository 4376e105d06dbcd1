/** Requests for new runs, and estimates of their cost. */

import type { Embeddings } from "../try/embeddings";
import { toParameters } from "../labels/entry";
import { parseNumber } from "../text/entries";
import { query, request } from "./http";
import type { Estimate, Labels, Run, RunBody } from "./types";
import type { Output } from "../generated/choices";

/** A run as it is entered in the form. */
export interface RunEntry {
  embeddings: Embeddings;
  model: string;
  seed: string;
  outputs: Output[];
  options: Record<string, unknown>;
  labels: Labels;
}

export async function estimateRun(entry: RunEntry, signal: AbortSignal): Promise<Estimate> {
  const response = await send("/v1/simulate", { dry_run: "true" }, entry, {}, signal);
  return (await response.json()) as Estimate;
}

/** @param key Idempotency-Key; the same request sent again with it makes no second run. */
export async function submitRun(entry: RunEntry, key: string): Promise<Run> {
  const response = await send("/v1/runs", {}, entry, { "Idempotency-Key": key });
  return (await response.json()) as Run;
}

function send(
  path: string,
  extra: Record<string, string>,
  { embeddings, model, seed, outputs, options, labels }: RunEntry,
  headers: Record<string, string>,
  signal?: AbortSignal,
): Promise<Response> {
  const rest = { method: "POST", ...(signal && { signal }) };
  if (embeddings.kind === "file") {
    const parameters = {
      model,
      seed,
      outputs: outputs.join(","),
      options: JSON.stringify(options),
      ...toParameters(labels),
    } satisfies RunBody;
    const { file, mediaType, column } = embeddings;
    const all = { ...extra, ...parameters, ...(column !== "" && { column }) };
    return request(path + query(all), {
      ...rest,
      body: file,
      headers: { ...headers, "Content-Type": mediaType },
    });
  }
  const body: RunBody = {
    embeddings: embeddings.rows,
    model,
    outputs,
    options,
    ...labels,
    ...(seed.trim() !== "" && { seed: parseNumber(seed) }),
  };
  return request(path + query(extra), {
    ...rest,
    body: JSON.stringify(body),
    headers: { ...headers, "Content-Type": "application/json" },
  });
}
