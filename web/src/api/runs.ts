/** Requests about runs and the server. */

import { getBytes, getJson, type ListParameters, query, request, sendJson } from "./http";
import { type NumberArray, readNpy } from "./npy";
import type {
  Comparison,
  Deletion,
  DeletionBody,
  Labels,
  Memory,
  Profile,
  Run,
  SortedPage,
  System,
  TraceCountsByStep,
  TraceRecord,
} from "./types";
import type { Output, RunKind, TraceKind } from "../generated/choices";

export function runPath(runId: string): string {
  return `/v1/runs/${encodeURIComponent(runId)}`;
}

/** @param wanted filter, order and place, as parameters of the list. */
export function listRuns(
  wanted: ListParameters,
  limit: number,
  kinds: readonly RunKind[],
  signal?: AbortSignal,
) {
  return getJson<SortedPage<Run>>(`/v1/runs${query({ ...wanted, limit, kind: kinds })}`, signal);
}

/** Delete several runs: by their ids, or all that a filter selects. */
export function deleteRuns(body: DeletionBody): Promise<Deletion> {
  return sendJson<Deletion>("POST", "/v1/runs:delete", body);
}

export function relabelRun(runId: string, labels: Labels): Promise<Run> {
  return sendJson<Run>("PATCH", runPath(runId), labels);
}

export function getRun(runId: string, signal?: AbortSignal): Promise<Run> {
  return getJson<Run>(runPath(runId), signal);
}

export function cancelRun(runId: string): Promise<unknown> {
  return sendJson("POST", `${runPath(runId)}/cancel`);
}

export function deleteRun(runId: string): Promise<unknown> {
  return sendJson("DELETE", runPath(runId));
}

export function getProfile(runId: string, signal?: AbortSignal): Promise<Profile> {
  return getJson<Profile>(`${runPath(runId)}/profile`, signal);
}

export function getMemory(runId: string, signal?: AbortSignal): Promise<Memory> {
  return getJson<Memory>(`${runPath(runId)}/memory`, signal);
}

/** Return the embedding of one sample, [1, dim]. */
export async function getInputs(
  runId: string,
  sample: number,
  signal?: AbortSignal,
): Promise<NumberArray> {
  return readNpy(await getBytes(`${runPath(runId)}/inputs?format=npy&sample=${sample}`, signal));
}

/** Return an output of one sample, with a first axis of length 1 for the samples. */
export async function getOutput(
  runId: string,
  name: Output,
  sample: number,
  signal?: AbortSignal,
): Promise<NumberArray> {
  const path = `${runPath(runId)}/outputs/${name}?format=npy&sample=${sample}`;
  return readNpy(await getBytes(path, signal));
}

export function compareRuns(a: string, b: string, signal?: AbortSignal): Promise<Comparison> {
  return getJson<Comparison>(`${runPath(a)}/compare/${encodeURIComponent(b)}`, signal);
}

/** Return the answer to a replay as bytes: it can be large, so a worker parses it. */
export async function replaySample(
  runId: string,
  sample: number,
  signal?: AbortSignal,
): Promise<ArrayBuffer> {
  const response = await request(`${runPath(runId)}/replay`, {
    method: "POST",
    body: JSON.stringify({ sample }),
    headers: { "Content-Type": "application/json", Accept: "application/json" },
    ...(signal && { signal }),
  });
  return response.arrayBuffer();
}

/** Return the reflect records of a sample as NDJSON, at most `MAX_REFLECTIONS`. */
export function getReflections(
  runId: string,
  sample: number,
  signal?: AbortSignal,
): Promise<ArrayBuffer> {
  const wanted = { format: "ndjson", kind: "reflect", sample, limit: MAX_REFLECTIONS };
  return getBytes(`${runPath(runId)}/trace${query(wanted)}`, signal);
}

export const MAX_REFLECTIONS = 200_000;

export interface TraceFilter {
  kind?: TraceKind | null;
  sample?: number | null;
  /** One flow, or several separated by commas. */
  flow?: string | null;
  step_from?: number | null;
  step_to?: number | null;
}

/** Return how many records of each step and kind match a filter. */
export function countRecords(
  runId: string,
  filter: TraceFilter,
  signal?: AbortSignal,
): Promise<TraceCountsByStep> {
  return getJson(`${runPath(runId)}/trace/counts${query({ ...filter })}`, signal);
}

export interface TracePage {
  records: TraceRecord[];
  cursor: string | null;
}

export async function getRecords(
  runId: string,
  filter: TraceFilter,
  limit: number,
  cursor: string | null,
  signal?: AbortSignal,
): Promise<TracePage> {
  const path = `${runPath(runId)}/trace${query({ format: "ndjson", limit, cursor, ...filter })}`;
  const response = await request(path, signal ? { signal } : {});
  const text = await response.text();
  const records = text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as TraceRecord);
  const more = records.length === limit;
  return { records, cursor: more ? response.headers.get("next-cursor") : null };
}

export function getSystem(signal?: AbortSignal): Promise<System> {
  return getJson<System>("/v1/system", signal);
}
