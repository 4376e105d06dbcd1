/** Experiments and trials as a server answers them, for tests. */

import type { Dataset, Experiment, Metrics, Model, Trial } from "../src/api/types";
import type { RunState } from "../src/generated/choices";
import { configWith } from "./config_samples";

const METRICS: Metrics = {
  created: 20,
  initial: 16,
  spawned: 4,
  completed: 20,
  stalled: 0,
  terminated: { plane: 20, projected: 0, converged: 0, max_steps: 0, stalled: 0 },
  planes: { z0: 8, zdepth: 12 },
  exits: {
    z0: { plane: 8, projected: 0, converged: 0, max_steps: 0 },
    zdepth: { plane: 12, projected: 0, converged: 0, max_steps: 0 },
  },
  reflected: 1,
  spawns_suppressed: 0,
  steps: 5,
  flow_steps: 80,
  mean_path_steps: 4,
  mean_path_length: 1.5,
  z_displacement_variance: 0.1,
  completion_ratio: 1,
  mean_step_ms: null,
  max_step_ms: null,
  overflow: [],
};

export const DATASET: Dataset = {
  name: "words",
  digest: "d".repeat(64),
  rows: 100,
  dim: 8,
  targets_dim: null,
  bytes: 3200,
  created_at: "2026-01-01T00:00:00Z",
  url: "/v1/datasets/words",
};

export const MODEL: Model = {
  name: "default",
  trained: false,
  loaded: true,
  coord_version: 2,
  digest: "m".repeat(64),
  created_at: "2026-01-01T00:00:00Z",
  config: configWith({
    lattice_width: 4,
    lattice_height: 4,
    lattice_depth: 4,
    embedding_dim: 8,
    noise_std: 0.25,
  }),
  output_width: 8,
  warnings: [],
  description: null,
  read_only: true,
  sample_url: null,
  url: "/v1/models/default",
};

export const EXPERIMENT: Experiment = {
  experiment_id: "e1",
  tags: [],
  note: null,
  name: "noise",
  kind: "simulate",
  state: "running",
  created_at: "2026-01-01T00:00:00Z",
  started_at: "2026-01-01T00:00:01Z",
  ended_at: null,
  model: { name: "default", trained: false, coord_version: 2, digest: "m".repeat(64) },
  dataset: { name: "words", digest: DATASET.digest, rows: [0, 100] },
  options: {},
  outputs: ["surface"],
  sweep: { grid: { noise_std: [0.01, 0.1, 1] } },
  seeds: [0, 1],
  trace_options: {},
  max_parallel: 1,
  fail_fast: false,
  chunk_samples: null,
  train: null,
  version: "0.1.0",
  arithmetic: 1,
  last_event_id: 6,
  fields: ["noise_std"],
  trials: { total: 6, queued: 3, running: 1, paused: 0, succeeded: 2, failed: 0, cancelled: 0 },
  progress: { samples: 600, samples_done: 230, fraction: 0.383, flow_steps: 1, seconds_left: 75 },
  error: null,
  warnings: [],
  url: "/v1/experiments/e1",
};

/** Return a trial of the experiment; a succeeded one has this mean path. */
export function trial(number: number, state: RunState, path = 4): Trial {
  const done = state === "succeeded";
  return {
    trial: number,
    state,
    seed: number % 2,
    parameters: { noise_std: [0.01, 0.1, 1][Math.floor(number / 2)] },
    run_id: `r${number}`,
    samples: 100,
    samples_done: done ? 100 : 0,
    metrics: done ? { ...METRICS, mean_path_steps: path } : null,
    timing: null,
    trace: null,
    error: null,
    warnings: [],
    started_at: state === "queued" ? null : "2026-01-01T00:00:01Z",
    ended_at: null,
    url: `/v1/experiments/e1/trials/${number}`,
    run_url: `/v1/runs/r${number}`,
    makes_model: null,
  };
}

export function page<Item>(items: Item[]): { items: Item[]; next_cursor: null } {
  return { items, next_cursor: null };
}

/** Return the text of an event in a stream. */
export function eventText(id: number, name: string, data: unknown): string {
  return `id: ${id}\nevent: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}
