/** What the server answers, as its OpenAPI page describes it. */

/** State of a run, of an experiment and of its trials; runs that are no trials never pause. */
export type RunState = "queued" | "running" | "paused" | "succeeded" | "failed" | "cancelled";
export type RunKind = "simulate" | "run" | "trial" | "training";
export type OutputName = "surface" | "planes" | "hits" | "embedding";
export type Kind = "spawn" | "reflect" | "terminate";
export type Reason = "plane" | "projected" | "converged" | "max_steps" | "stalled";
export type Plane = "z0" | "zdepth";

export const KINDS: readonly Kind[] = ["spawn", "reflect", "terminate"];
export const REASONS: readonly Reason[] = [
  "plane",
  "projected",
  "converged",
  "max_steps",
  "stalled",
];
export const PLANES: readonly Plane[] = ["z0", "zdepth"];
export const STATES: readonly RunState[] = [
  "queued",
  "running",
  "paused",
  "succeeded",
  "failed",
  "cancelled",
];
export const ENDED: readonly RunState[] = ["succeeded", "failed", "cancelled"];

export interface Fault {
  loc: (string | number)[];
  msg: string;
  got?: unknown;
}

export interface ProblemDocument {
  type?: string;
  title: string;
  status: number;
  detail: string;
  errors?: Fault[];
}

export interface Metrics {
  created: number;
  initial: number;
  spawned: number;
  completed: number;
  stalled: number;
  terminated: Record<Reason, number>;
  planes: Record<Plane, number>;
  exits?: Record<Plane, Partial<Record<Reason, number>>>;
  reflected: number;
  spawns_suppressed: number;
  steps: number;
  flow_steps: number;
  mean_path_steps: number | null;
  mean_path_length: number | null;
  z_displacement_variance: number | null;
  completion_ratio: number;
  mean_step_ms: number | null;
  max_step_ms: number | null;
  overflow: string[];
}

export interface Progress {
  samples: number;
  samples_done: number;
  step: number | null;
  fraction: number;
}

export interface Timing {
  queue_ms: number;
  compute_ms: number;
  total_ms: number;
  flow_steps_per_second: number | null;
}

export interface TraceCounts {
  totals: Record<Kind, number>;
  recorded: Record<Kind, number>;
  dropped: Record<Kind, number>;
}

export interface ModelName {
  name: string;
  trained: boolean;
  coord_version: number;
}

/** The members of a config that the pages know by name; there are more. */
export interface Config {
  lattice_width: number;
  lattice_height: number;
  lattice_depth: number;
  embedding_dim: number;
  [field: string]: unknown;
}

export interface Run {
  run_id: string;
  kind: RunKind;
  state: RunState;
  /** The experiment that the run is a trial of. */
  experiment: { experiment_id: string; trial: number } | null;
  /** Rows of a dataset that it took, from one up to another. */
  dataset: { name: string; digest: string; rows: [number, number] } | null;
  model: ModelName;
  seed: number;
  outputs: OutputName[];
  options: Record<string, unknown>;
  config: Config;
  created_at: string;
  started_at: string | null;
  ended_at: string | null;
  progress: Progress;
  metrics: Metrics | null;
  trace: TraceCounts | null;
  timing: Timing | null;
  warnings: string[];
  error: ProblemDocument | null;
  bytes: number;
  url: string;
}

export interface Page<Item> {
  items: Item[];
  next_cursor: string | null;
}

export interface StepMetrics {
  step: number;
  active: number;
  spawned: number;
  reflected: number;
  terminated: Record<Reason, number>;
  mean_length: number | null;
  z_displacement_variance: number | null;
  step_ms: number;
}

export interface Profile {
  step_metrics: StepMetrics[];
}

export interface MemoryStep {
  step: number;
  device_allocated_bytes: number | null;
  host_rss_bytes: number;
  active_flows: number;
}

export interface Memory {
  device: Record<string, number | null>;
  host: Record<string, number>;
  state_bytes: number;
  trace_bytes: number;
  predicted_bytes: number;
  steps: MemoryStep[];
}

export interface Model {
  name: string;
  trained: boolean;
  loaded: boolean;
  config: Config;
  coord_version: number;
  digest: string;
  created_at: string;
}

export interface System {
  versions: Record<string, string>;
  device: string;
  state: string;
  limits: { max_upload_bytes: number };
}

export interface Estimate {
  samples: number;
  flows: number;
  predicted_bytes: number;
  flow_steps_bound: number;
  queue_wait_ms: number | null;
  warnings: string[];
}

/** One row of a trace, codes already given their names. */
export interface TraceRecord {
  seq: number;
  step: number;
  kind: Kind;
  sample: number;
  flow: number;
  parent: number;
  code: number;
  plane: number;
  x: number;
  y: number;
  z: number;
  energy: number;
  length: number;
}

/** The first record at which a replay and the run's trace part. */
export interface ReplayDifference {
  seq: number;
  stored: TraceRecord | null;
  replayed: TraceRecord | null;
}

export interface Replay {
  run_id: string;
  sample: number;
  agrees: boolean;
  difference: ReplayDifference | null;
  flows: {
    flow: number[];
    parent: number[];
    born_step: number[];
    end_step: number[];
    reason: (Reason | null)[];
    plane: (number | string | null)[];
    generation: number[];
  };
  path: {
    step: number[];
    flow: number[];
    x: number[];
    y: number[];
    z: number[];
    energy: number[];
    length: number[];
    age: number[];
  };
}

export interface Comparison {
  a: string;
  b: string;
  metrics: Record<string, { a: unknown; b: unknown }>;
  samples: SampleComparison[];
}

export interface SampleComparison {
  sample: number;
  surface_max_abs_difference: number | null;
  surface_mean_abs_difference: number | null;
  first_difference: { seq: number; a: TraceRecord | null; b: TraceRecord | null } | null;
}
