/** Runs, for tests. */

import type { Config, Run } from "../src/api/types";
import type { Output } from "../src/generated/choices";
import { configWith } from "./config_samples";

/** Return a run of one sample that has ended. */
export function runWith(outputs: Output[], config: Partial<Config>): Run {
  return {
    run_id: "r1",
    name: null,
    tags: [],
    note: null,
    kind: "run",
    experiment: null,
    dataset: null,
    state: "succeeded",
    model: { name: "default", trained: false, coord_version: 2, digest: "" },
    seed: 0,
    outputs,
    options: {},
    config: configWith(config),
    created_at: "2026-01-01T00:00:00Z",
    started_at: null,
    ended_at: null,
    progress: { samples: 1, samples_done: 1, step: null, fraction: 1 },
    metrics: null,
    trace: null,
    timing: null,
    warnings: [],
    error: null,
    bytes: 0,
    version: null,
    arithmetic: 1,
    worker: "local",
    worker_kinds: ["0123456789ab"],
    attempts: 1,
    url: "/v1/runs/r1",
  };
}
