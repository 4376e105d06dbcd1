import { useMemo } from "preact/hooks";
import type { Experiment, Trial } from "../api/types";
import { type ExperimentKind, RUN_STATES } from "../generated/choices";
import { StateBadge } from "../parts/state_badge";
import { getWholeNumber, linkTo, type Route, setParameters } from "../route";
import {
  formatCompact,
  formatCount,
  formatMilliseconds,
  formatNumber,
  formatPercent,
} from "../text/numbers";
import { formatValue, listMeasures, getMeasures } from "./measures";

interface TrialsTableProps {
  experiment: Experiment;
  trials: readonly Trial[];
  route: Route;
}

const ROWS_PER_PAGE = 50;

/** A column of the table for a measure. */
interface Column {
  measure: string;
  title: string;
  format: (value: number) => string;
}

const SIMULATION_COLUMNS: readonly Column[] = [
  { measure: "created", title: "flows", format: formatCompact },
  { measure: "completion_ratio", title: "completed", format: formatPercent },
  { measure: "mean_path_steps", title: "mean path", format: short },
  { measure: "compute_ms", title: "time", format: formatMilliseconds },
];
const TRAINING_COLUMNS: readonly Column[] = [
  { measure: "epoch", title: "epochs", format: short },
  { measure: "loss", title: "loss", format: short },
  { measure: "compute_ms", title: "time", format: formatMilliseconds },
];
/** At most this many held-out figures of a training have columns. */
const MAX_FIGURES = 4;
const HELD_OUT = /^held_out\.(?!step$|rows$|stale$)/;

/** Return the columns of the measures; a training also has its held-out figures. */
function listColumns({ kind }: Experiment, trials: readonly Trial[]): readonly Column[] {
  if (kind === "simulate") {
    return SIMULATION_COLUMNS;
  }
  const figures = listMeasures(trials)
    .filter((name) => HELD_OUT.test(name))
    .slice(0, MAX_FIGURES)
    .map((measure) => ({ measure, title: measure.replace(HELD_OUT, ""), format: short }));
  return [...TRAINING_COLUMNS.slice(0, -1), ...figures, ...TRAINING_COLUMNS.slice(-1)];
}

function short(value: number): string {
  return formatNumber(value, 3);
}

/** Trials by number, in one state or all, in pages. */
export function TrialsTable({ experiment, trials, route }: TrialsTableProps) {
  const wanted = RUN_STATES.find((state) => state === route.parameters.get("state")) ?? null;
  const chosen = useMemo(
    () => trials.filter(({ state }) => wanted === null || state === wanted),
    [trials, wanted],
  );
  const columns = useMemo(() => listColumns(experiment, trials), [experiment, trials]);
  const last = Math.max(0, Math.ceil(chosen.length / ROWS_PER_PAGE) - 1);
  const page = Math.min(last, getWholeNumber(route, "page"));
  const rows = chosen.slice(page * ROWS_PER_PAGE, (page + 1) * ROWS_PER_PAGE);
  return (
    <>
      <div class="toolbar">
        <label>
          state
          <select
            value={wanted ?? ""}
            onChange={(event) => setParameters({ state: event.currentTarget.value, page: null })}
          >
            <option value="">all {formatCount(trials.length)}</option>
            {RUN_STATES.map((state) => (
              <option key={state} value={state}>
                {state} {formatCount(trials.filter((trial) => trial.state === state).length)}
              </option>
            ))}
          </select>
        </label>
        {last > 0 && (
          <nav class="sample-picker" aria-label="Pages of the trials">
            <button
              type="button"
              aria-label="Previous trials"
              disabled={page === 0}
              onClick={() => setParameters({ page: page - 1 })}
            >
              ‹
            </button>
            <span>
              {formatCount(page * ROWS_PER_PAGE + 1)} to{" "}
              {formatCount(page * ROWS_PER_PAGE + rows.length)} of {formatCount(chosen.length)}
            </span>
            <button
              type="button"
              aria-label="Next trials"
              disabled={page === last}
              onClick={() => setParameters({ page: page + 1 })}
            >
              ›
            </button>
          </nav>
        )}
      </div>
      <div class="table-frame">
        <table class="trials-table">
          <caption class="hidden">Trials, by number</caption>
          <thead>
            <tr>
              <th scope="col" class="number">
                trial
              </th>
              <th scope="col">state</th>
              {experiment.fields.map((field) => (
                <th key={field} scope="col" class="number">
                  {field}
                </th>
              ))}
              <th scope="col" class="number">
                seed
              </th>
              <th scope="col">done</th>
              {columns.map(({ measure, title }) => (
                <th key={measure} scope="col" class="number">
                  {title}
                </th>
              ))}
              <th scope="col">
                <span class="hidden">links</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {rows.map((trial) => (
              <TrialRows
                key={trial.trial}
                trial={trial}
                experiment={experiment}
                columns={columns}
              />
            ))}
          </tbody>
        </table>
      </div>
      {rows.length === 0 && <p class="quiet">No trial is in this state.</p>}
    </>
  );
}

interface TrialRowsProps {
  trial: Trial;
  experiment: Experiment;
  columns: readonly Column[];
}

/** A row for a trial, and below it a row for its error and warnings. */
function TrialRows({ trial, experiment, columns }: TrialRowsProps) {
  const { metrics, run_id: runId, makes_model: makesModel, error, warnings } = trial;
  const { fields, kind } = experiment;
  const measures = getMeasures(trial);
  const messages = [...(error ? [`${error.title}: ${error.detail}`] : []), ...warnings];
  return (
    <>
      <tr class={messages.length > 0 ? "has-more" : ""}>
        <td class="number">{trial.trial}</td>
        <td>
          <StateBadge state={trial.state} />
        </td>
        {fields.map((field) => (
          <td key={field} class="number">
            {parameter(trial.parameters[field])}
          </td>
        ))}
        <td class="number">{trial.seed}</td>
        <td>
          <TrialProgress trial={trial} kind={kind} />
        </td>
        {columns.map(({ measure, format }) => (
          <td key={measure} class="number">
            {measure in measures ? format(measures[measure]) : "–"}
          </td>
        ))}
        <td class="row-links">
          {makesModel && trial.state === "succeeded" && (
            <a href="#/data" aria-label={`Model ${makesModel} of trial ${trial.trial}`}>
              {makesModel}
            </a>
          )}
          {runId !== null && (
            <a href={linkTo(["runs", runId])} aria-label={`Run of trial ${trial.trial}`}>
              run
            </a>
          )}
          {runId !== null && metrics !== null && kind === "simulate" && (
            <>
              <a
                href={linkTo(["runs", runId, "trace"])}
                aria-label={`Trace of trial ${trial.trial}`}
              >
                trace
              </a>
              <a
                href={linkTo(["runs", runId, "lattice"])}
                aria-label={`3D view of trial ${trial.trial}`}
              >
                3D
              </a>
            </>
          )}
        </td>
      </tr>
      {messages.length > 0 && (
        <tr>
          <td />
          <td class="trial-message" colSpan={fields.length + columns.length + 4}>
            {messages.map((message, index) => (
              <p key={message} class={error && index === 0 ? "field-error" : "quiet"}>
                {message}
              </p>
            ))}
          </td>
        </tr>
      )}
    </>
  );
}

function parameter(value: Trial["parameters"][string]): string {
  return typeof value === "number" ? formatNumber(value, 4) : formatValue(value);
}

/** The progress of a trial; of a training, its samples stand for the share of finished steps. */
function TrialProgress({ trial, kind }: { trial: Trial; kind: ExperimentKind }) {
  const text =
    kind === "train"
      ? formatPercent(Math.floor((1000 * trial.samples_done) / trial.samples) / 1000)
      : `${formatCount(trial.samples_done)} of ${formatCount(trial.samples)}`;
  return trial.state === "running" || trial.state === "paused" ? (
    <span class="progress">
      <progress
        max={trial.samples}
        value={trial.samples_done}
        aria-label={`Progress of trial ${trial.trial}`}
      />
      <span>{text}</span>
    </span>
  ) : (
    <span>{text}</span>
  );
}
