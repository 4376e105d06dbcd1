import { useMemo } from "preact/hooks";
import type { Experiment, ExperimentKind, Trial } from "../api/experiment_types";
import { STATES } from "../api/types";
import { StateBadge } from "../parts/state_badge";
import { address, type Route, setValues } from "../route";
import { compact, count, milliseconds, number, percent } from "../text/numbers";
import { fieldWords, measureNames, measuresOf } from "./measures";

interface TrialsTableProps {
  experiment: Experiment;
  trials: readonly Trial[];
  route: Route;
}

const ROWS = 50;

/** Measures with columns of their own, in words. */
interface Column {
  measure: string;
  title: string;
  words: (value: number) => string;
}

const OF_SIMULATIONS: readonly Column[] = [
  { measure: "created", title: "flows", words: compact },
  { measure: "completion_ratio", title: "completed", words: percent },
  { measure: "mean_path_steps", title: "mean path", words: short },
  { measure: "compute_ms", title: "time", words: milliseconds },
];
const OF_TRAININGS: readonly Column[] = [
  { measure: "epoch", title: "epochs", words: short },
  { measure: "loss", title: "loss", words: short },
  { measure: "compute_ms", title: "time", words: milliseconds },
];
/** So many figures of the rows that a training held out have columns. */
const MOST_FIGURES = 4;
const HELD_OUT = /^held_out\.(?!step$|rows$|stale$)/;

/** What is told of each trial; of a training also how it did on the rows held out. */
function columnsOf({ kind }: Experiment, trials: readonly Trial[]): readonly Column[] {
  if (kind === "simulate") {
    return OF_SIMULATIONS;
  }
  const figures = measureNames(trials)
    .filter((name) => HELD_OUT.test(name))
    .slice(0, MOST_FIGURES)
    .map((measure) => ({ measure, title: measure.replace(HELD_OUT, ""), words: short }));
  return [...OF_TRAININGS.slice(0, -1), ...figures, ...OF_TRAININGS.slice(-1)];
}

function short(value: number): string {
  return number(value, 3);
}

/** Trials by number, of one state or all, a part of them at a time. */
export function TrialsTable({ experiment, trials, route }: TrialsTableProps) {
  const wanted = STATES.find((state) => state === route.values.get("state")) ?? null;
  const chosen = useMemo(
    () => trials.filter(({ state }) => wanted === null || state === wanted),
    [trials, wanted],
  );
  const columns = useMemo(() => columnsOf(experiment, trials), [experiment, trials]);
  const last = Math.max(0, Math.ceil(chosen.length / ROWS) - 1);
  const page = Math.min(last, Math.max(0, Number(route.values.get("page") ?? 0) || 0));
  const rows = chosen.slice(page * ROWS, (page + 1) * ROWS);
  return (
    <>
      <div class="toolbar">
        <label>
          state
          <select
            value={wanted ?? ""}
            onChange={(event) => setValues({ state: event.currentTarget.value, page: null })}
          >
            <option value="">all {count(trials.length)}</option>
            {STATES.map((state) => (
              <option key={state} value={state}>
                {state} {count(trials.filter((trial) => trial.state === state).length)}
              </option>
            ))}
          </select>
        </label>
        {last > 0 && (
          <nav class="sample-picker" aria-label="Pages of the trials">
            <button
              type="button"
              aria-label="Trials before"
              disabled={page === 0}
              onClick={() => setValues({ page: page - 1 })}
            >
              ‹
            </button>
            <span>
              {count(page * ROWS + 1)} to {count(page * ROWS + rows.length)} of{" "}
              {count(chosen.length)}
            </span>
            <button
              type="button"
              aria-label="Next trials"
              disabled={page === last}
              onClick={() => setValues({ page: page + 1 })}
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

/** A trial, and below it what went wrong. */
function TrialRows({ trial, experiment, columns }: TrialRowsProps) {
  const { metrics, run_id: runId, makes_model: makesModel, error, warnings } = trial;
  const { fields, kind } = experiment;
  const measures = measuresOf(trial);
  const said = [...(error ? [`${error.title}: ${error.detail}`] : []), ...warnings];
  return (
    <>
      <tr class={said.length > 0 ? "has-more" : ""}>
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
        {columns.map(({ measure, words }) => (
          <td key={measure} class="number">
            {measure in measures ? words(measures[measure]) : "–"}
          </td>
        ))}
        <td class="row-links">
          {makesModel && trial.state === "succeeded" && (
            <a href="#/data" aria-label={`Model ${makesModel} of trial ${trial.trial}`}>
              {makesModel}
            </a>
          )}
          {runId !== null && (
            <a href={address(["runs", runId])} aria-label={`Run of trial ${trial.trial}`}>
              run
            </a>
          )}
          {runId !== null && metrics !== null && kind === "simulate" && (
            <>
              <a
                href={address(["runs", runId, "trace"])}
                aria-label={`Trace of trial ${trial.trial}`}
              >
                trace
              </a>
              <a
                href={address(["runs", runId, "lattice"])}
                aria-label={`3D view of trial ${trial.trial}`}
              >
                3D
              </a>
            </>
          )}
        </td>
      </tr>
      {said.length > 0 && (
        <tr>
          <td />
          <td class="trial-said" colSpan={fields.length + columns.length + 4}>
            {said.map((words, index) => (
              <p key={words} class={error && index === 0 ? "complaint" : "quiet"}>
                {words}
              </p>
            ))}
          </td>
        </tr>
      )}
    </>
  );
}

function parameter(value: Trial["parameters"][string]): string {
  return typeof value === "number" ? number(value, 4) : fieldWords(value);
}

/** How far a trial is; of a training the rows only say which share of its steps is done. */
function TrialProgress({ trial, kind }: { trial: Trial; kind: ExperimentKind }) {
  const words =
    kind === "train"
      ? percent(Math.floor((1000 * trial.samples_done) / trial.samples) / 1000)
      : `${count(trial.samples_done)} of ${count(trial.samples)}`;
  return trial.state === "running" || trial.state === "paused" ? (
    <span class="progress">
      <progress
        max={trial.samples}
        value={trial.samples_done}
        aria-label={`Progress of trial ${trial.trial}`}
      />
      <span>{words}</span>
    </span>
  ) : (
    <span>{words}</span>
  );
}
