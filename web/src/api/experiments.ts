/** Requests about experiments and their trials. */

import type {
  Curves,
  Deletion,
  DeletionBody,
  Experiment,
  ExperimentBody,
  Labels,
  Page,
  SortedPage,
  Trial,
} from "./types";
import { getJson, type ListParameters, Problem, query, sendJson } from "./http";

export function experimentPath(id: string): string {
  return `/v1/experiments/${encodeURIComponent(id)}`;
}

/** @param wanted filter, order and place, as parameters of the list. */
export function listExperiments(wanted: ListParameters, limit: number, signal?: AbortSignal) {
  return getJson<SortedPage<Experiment>>(`/v1/experiments${query({ ...wanted, limit })}`, signal);
}

/** Delete several experiments: by their ids, or all that a filter selects. */
export function deleteExperiments(body: DeletionBody): Promise<Deletion> {
  return sendJson<Deletion>("POST", "/v1/experiments:delete", body);
}

export function relabelExperiment(id: string, labels: Omit<Labels, "name">): Promise<Experiment> {
  return sendJson<Experiment>("PATCH", experimentPath(id), labels);
}

export function getExperiment(id: string, signal?: AbortSignal): Promise<Experiment> {
  return getJson<Experiment>(experimentPath(id), signal);
}

const TRIALS_PER_PAGE = 1000;

/** Return all trials of an experiment, by number. */
export async function getTrials(id: string, signal?: AbortSignal): Promise<Trial[]> {
  const trials: Trial[] = [];
  let cursor: string | null = null;
  do {
    const path = `${experimentPath(id)}/trials${query({ limit: TRIALS_PER_PAGE, cursor })}`;
    const page: Page<Trial> = await getJson<Page<Trial>>(path, signal);
    trials.push(...page.items);
    cursor = page.next_cursor;
  } while (cursor !== null);
  return trials;
}

const MAX_CURVE_POINTS = 300;

/** Return the measured curves of a trial; null where it has none. */
export async function getCurves(
  id: string,
  trial: number,
  signal?: AbortSignal,
): Promise<Curves | null> {
  try {
    const path = `${experimentPath(id)}/trials/${trial}/curves${query({ points: MAX_CURVE_POINTS })}`;
    return (await getJson<{ curves: Curves }>(path, signal)).curves;
  } catch (error) {
    if (error instanceof Problem && error.status === 404) {
      return null;
    }
    throw error;
  }
}

/** @param key Idempotency-Key; the same request sent again with it makes no second experiment. */
export function createExperiment(body: ExperimentBody, key: string): Promise<Experiment> {
  return sendJson<Experiment>("POST", "/v1/experiments", body, { "Idempotency-Key": key });
}

export type Transition = "retry" | "pause" | "resume" | "cancel";

export function changeExperiment(id: string, transition: Transition): Promise<Experiment> {
  return sendJson<Experiment>("POST", `${experimentPath(id)}/${transition}`);
}

export function deleteExperiment(id: string): Promise<unknown> {
  return sendJson("DELETE", experimentPath(id));
}
