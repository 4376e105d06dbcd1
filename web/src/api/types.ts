/** Names for what the server answers; src/generated has the fields and the closed lists. */

import type {
  AblationEntryView,
  AblationFields,
  AblationResultView,
  AblationView,
  ComparisonAnswer,
  Curves as CurvesAnswer,
  DatasetView,
  DeletionAnswer,
  EstimateAnswer,
  ExperimentDeletionFields,
  ExperimentFields,
  ExperimentView,
  FaultView,
  FlowConfig,
  LabelFields,
  MemoryAnswer,
  ModelFields,
  ModelView,
  ProblemView,
  ProfileAnswer,
  ReplayAnswer,
  RunDeletionFields,
  RunMetrics,
  RunRequest,
  RunTrace,
  RunView,
  SampleRowsAnswer,
  SystemView,
  TraceCountsAnswer,
  TrialView,
} from "../generated/schema";

export type {
  ComparedSample as SampleComparison,
  ExperimentProgress,
  IntervalView as Interval,
  MemoryStep,
  Progress,
  StepMetrics,
  Sweep,
  TraceRecord,
} from "../generated/schema";

export type Ablation = AblationView;
export type AblationEntry = AblationEntryView;
export type AblationResult = AblationResultView;
export type Comparison = ComparisonAnswer;
export type Config = FlowConfig;
export type Curves = CurvesAnswer["curves"];
export type Dataset = DatasetView;
export type Deletion = DeletionAnswer;
export type Estimate = EstimateAnswer;
export type Experiment = ExperimentView;
export type Fault = FaultView;
export type Memory = MemoryAnswer;
export type Metrics = RunMetrics;
export type Model = ModelView;
/** Rows to try a model with. */
export type SampleRows = SampleRowsAnswer;
export type Profile = ProfileAnswer;
export type Replay = ReplayAnswer;
export type System = SystemView;
/** Records of a trace by step and kind. */
export type TraceCountsByStep = TraceCountsAnswer;
export type TraceCounts = Pick<RunTrace, "totals" | "recorded" | "dropped">;
export type Trial = TrialView;

/** A run. Its config may be of an older version, which lacks newer fields. */
export type Run = Omit<RunView, "config"> & { config: Partial<Config> };

/** A problem document; another server in front of this one may leave members out. */
export type ProblemDocument = Pick<ProblemView, "title" | "status" | "detail"> &
  Partial<ProblemView> & { count?: number | null };

export interface Page<Item> {
  items: Item[];
  next_cursor: string | null;
}

/** A page of a list that continues in both directions. */
export interface SortedPage<Item> extends Page<Item> {
  previous_cursor: string | null;
}

/** The body of a request as it is entered: the server checks the values. */
type Entered<Body> = { [Name in keyof Body]?: unknown };

export type AblationBody = Entered<AblationFields>;
export type RunBody = Entered<RunRequest>;
export type ExperimentBody = Entered<ExperimentFields>;
export type ModelBody = Entered<ModelFields>;
export type Labels = Entered<LabelFields>;
export type DeletionBody = Entered<RunDeletionFields | ExperimentDeletionFields>;

/** The data of a `state` event of an experiment. */
export type ExperimentState = Pick<Experiment, "state" | "trials" | "progress" | "error">;

/** The data of a `progress` event of an experiment. */
export interface ExperimentStep extends Pick<Experiment, "trials" | "progress"> {
  running: Pick<Trial, "trial" | "samples_done" | "samples">[];
}

/** Return the metrics of a simulation; null for a training, and while there are none. */
export function simulationMetrics({
  kind,
  metrics,
}: Pick<Run, "kind" | "metrics">): Metrics | null {
  return kind === "training" ? null : (metrics as Metrics | null);
}
