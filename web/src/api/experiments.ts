/** Experiments and their trials, as functions. */

import type { Curves, Experiment, ExperimentOrder, Trial } from "./experiment_types";
import { getJson, Problem, query, request, sendJson } from "./http";
import type { Page } from "./types";

export function experimentPath(id: string): string {
  return `/v1/experiments/${encodeURIComponent(id)}`;
}

export function listExperiments(cursor: string | null, limit: number, signal?: AbortSignal) {
  return getJson<Page<Experiment>>(`/v1/experiments${query({ limit, cursor })}`, signal);
}

export function getExperiment(id: string, signal?: AbortSignal): Promise<Experiment> {
  return getJson<Experiment>(experimentPath(id), signal);
}

const TRIALS_A_PAGE = 1000;

/** All trials of an experiment, by number. */
export async function getTrials(id: string, signal?: AbortSignal): Promise<Trial[]> {
  const trials: Trial[] = [];
  let cursor: string | null = null;
  do {
    const path = `${experimentPath(id)}/trials${query({ limit: TRIALS_A_PAGE, cursor })}`;
    const page: Page<Trial> = await getJson<Page<Trial>>(path, signal);
    trials.push(...page.items);
    cursor = page.next_cursor;
  } while (cursor !== null);
  return trials;
}

/** Of how many steps the curves tell. */
const CURVE_POINTS = 300;

/** What a trial told on its way; null where there is no such thing. */
export async function getCurves(
  id: string,
  trial: number,
  signal?: AbortSignal,
): Promise<Curves | null> {
  try {
    const path = `${experimentPath(id)}/trials/${trial}/curves${query({ points: CURVE_POINTS })}`;
    return (await getJson<{ curves: Curves }>(path, signal)).curves;
  } catch (error) {
    if (error instanceof Problem && error.status === 404) {
      return null;
    }
    throw error;
  }
}

/** @param key sent again with the same order, it makes no second experiment. */
export async function createExperiment(order: ExperimentOrder, key: string): Promise<Experiment> {
  const response = await request("/v1/experiments", {
    method: "POST",
    body: JSON.stringify(order),
    headers: { "Content-Type": "application/json", "Idempotency-Key": key },
  });
  return (await response.json()) as Experiment;
}

export type Transition = "pause" | "resume" | "cancel";

export function changeExperiment(id: string, transition: Transition): Promise<Experiment> {
  return sendJson<Experiment>("POST", `${experimentPath(id)}/${transition}`);
}

export function deleteExperiment(id: string): Promise<unknown> {
  return sendJson("DELETE", experimentPath(id));
}
