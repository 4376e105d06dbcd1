/** Ablations as a server answers them, for tests. */

import type { Ablation, AblationEntry, AblationResult, Interval } from "../src/api/types";
import { MODEL } from "./experiment_samples";

const FLOWS = {
  mean_path_steps: 4,
  mean_path_length: 1.5,
  spawned: 0.25,
  planes: { z0: 0.5, zdepth: 0.5 },
};

const NONE: Interval = { value: 0, low: 0, high: 0 };

/** An entry whose figures all change alike. */
function entry(ablation: AblationEntry["ablation"], label: string, change: Interval) {
  const figure = { value: 0.5 + change.value, low: 0.4, high: 0.6 };
  return {
    ablation,
    label,
    not_applicable: null,
    figures: { cosine: figure, top_1: figure, top_10: figure, r2: figure },
    changes: { cosine: change, top_1: NONE, top_10: NONE, r2: NONE },
    flows: FLOWS,
  };
}

export const RESULT: AblationResult = {
  rows: 100,
  resamples: 1000,
  entries: [
    entry(null, "as it is", NONE),
    entry("moves", "moves frozen", { value: -0.2, low: -0.3, high: -0.1 }),
    entry("xy", "x and y off", { value: 0.05, low: 0.02, high: 0.08 }),
    entry("z", "z off", { value: -0.05, low: -0.11, high: 0.01 }),
    // It differs from 0, and is too small to matter.
    entry("energies", "energies kept", { value: -0.0004, low: -0.0006, high: -0.0002 }),
    {
      ablation: "noise",
      label: "noise off",
      not_applicable: "the model has no noise",
      figures: {},
      changes: {},
      flows: null,
    },
  ],
};

const { name, trained, coord_version, digest } = MODEL;

export const ABLATION: Ablation = {
  ablation_id: "a1",
  model: { name, trained, coord_version, digest },
  dataset: { name: "pairs", digest: "d".repeat(64), rows: [0, 100] },
  resamples: 1000,
  options: {},
  state: "running",
  done: 328,
  total: 500,
  current: "z",
  created_at: "2026-01-01T00:00:00Z",
  started_at: "2026-01-01T00:00:00Z",
  ended_at: null,
  result: null,
  warnings: [],
  error: null,
  url: "/v1/models/default/ablations/a1",
};

export const MEASURED: Ablation = {
  ...ABLATION,
  ablation_id: "a2",
  state: "succeeded",
  done: 500,
  current: null,
  ended_at: "2026-01-01T00:00:09Z",
  result: RESULT,
  url: "/v1/models/default/ablations/a2",
};
