/** What the server answers about experiments and datasets, as its OpenAPI page describes it. */

import type { OutputName, ProblemDocument, RunState, Timing, TraceCounts } from "./types";

export type ExperimentKind = "simulate" | "train";

export interface Dataset {
  name: string;
  digest: string;
  rows: number;
  dim: number;
  targets_dim: number | null;
  bytes: number;
  created_at: string;
  url: string;
}

/** A value of a swept field. */
export type FieldValue = string | number | boolean | null;

export interface Interval {
  low: number;
  high: number;
  log?: boolean;
}

export interface GridSweep {
  grid: Record<string, FieldValue[]>;
}

export interface RandomSweep {
  random: Record<string, Interval | FieldValue[]>;
  count: number;
  seed?: number;
}

export type Sweep = GridSweep | RandomSweep;

export interface TrialCounts extends Record<RunState, number> {
  total: number;
}

export interface ExperimentProgress {
  samples: number;
  samples_done: number;
  fraction: number;
  flow_steps: number;
  seconds_left: number | null;
}

export interface Experiment {
  experiment_id: string;
  name: string;
  kind: ExperimentKind;
  state: RunState;
  created_at: string;
  started_at: string | null;
  ended_at: string | null;
  model: { name: string; trained: boolean; coord_version: number };
  dataset: { name: string; digest: string; rows: [number, number] };
  options: Record<string, unknown>;
  outputs: OutputName[];
  sweep: Sweep | null;
  seeds: number[];
  max_parallel: number;
  fail_fast: boolean;
  /** The config of a training. */
  train?: Record<string, unknown> | null;
  /** Of the newest event that is in all this. */
  last_event_id: number;
  /** Names of the swept fields. */
  fields: string[];
  trials: TrialCounts;
  progress: ExperimentProgress;
  error: ProblemDocument | null;
  warnings: string[];
  url: string;
}

export interface Trial {
  trial: number;
  state: RunState;
  seed: number;
  parameters: Record<string, FieldValue>;
  run_id: string | null;
  samples: number;
  samples_done: number;
  /** Of a simulation as of any run; of a training its loss and figures. */
  metrics: Record<string, unknown> | null;
  timing: Timing | null;
  trace: TraceCounts | null;
  error: ProblemDocument | null;
  warnings: string[];
  started_at: string | null;
  ended_at: string | null;
  url: string;
  /** The name under which a training keeps what it made. */
  makes_model?: string | null;
}

/** Numbers that a trial told on its way: `step`, and others as long, null where not measured. */
export interface Curves {
  step: number[];
  [name: string]: (number | null)[];
}

/** The data of a `state` event of an experiment. */
export type ExperimentState = Pick<Experiment, "state" | "trials" | "progress" | "error">;

/** The data of a `progress` event of an experiment. */
export interface ExperimentStep extends Pick<Experiment, "trials" | "progress"> {
  running: Pick<Trial, "trial" | "samples_done" | "samples">[];
}

/** An experiment to be made. */
export interface ExperimentOrder {
  name: string;
  model: string;
  dataset: string;
  rows: unknown;
  options: Record<string, unknown>;
  outputs: OutputName[];
  sweep: unknown;
  seeds?: unknown;
  max_parallel: unknown;
  fail_fast: boolean;
}
