import { useMemo } from "preact/hooks";
import type { Experiment, Trial } from "../api/experiment_types";
import { STATES } from "../api/types";
import { StateBadge } from "../parts/state_badge";
import { address, type Route, setValues } from "../route";
import { compact, count, milliseconds, number, percent } from "../text/numbers";
import { fieldWords } from "./measures";

interface TrialsTableProps {
  experiment: Experiment;
  trials: readonly Trial[];
  route: Route;
}

const ROWS = 50;

/** Trials by number, of one state or all, a part of them at a time. */
export function TrialsTable({ experiment, trials, route }: TrialsTableProps) {
  const wanted = STATES.find((state) => state === route.values.get("state")) ?? null;
  const chosen = useMemo(
    () => trials.filter(({ state }) => wanted === null || state === wanted),
    [trials, wanted],
  );
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
              <th scope="col">samples</th>
              <th scope="col" class="number">
                flows
              </th>
              <th scope="col" class="number">
                completed
              </th>
              <th scope="col" class="number">
                mean path
              </th>
              <th scope="col" class="number">
                time
              </th>
              <th scope="col">
                <span class="hidden">links</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {rows.map((trial) => (
              <TrialRows key={trial.trial} trial={trial} fields={experiment.fields} />
            ))}
          </tbody>
        </table>
      </div>
      {rows.length === 0 && <p class="quiet">No trial is in this state.</p>}
    </>
  );
}

/** A trial, and below it what went wrong. */
function TrialRows({ trial, fields }: { trial: Trial; fields: string[] }) {
  const { metrics, run_id: runId, error, warnings } = trial;
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
          <TrialProgress trial={trial} />
        </td>
        <td class="number">{metrics ? compact(metrics.created) : "–"}</td>
        <td class="number">{metrics ? percent(metrics.completion_ratio) : "–"}</td>
        <td class="number">{number(metrics?.mean_path_steps, 3)}</td>
        <td class="number">{milliseconds(trial.timing?.compute_ms)}</td>
        <td class="row-links">
          {runId !== null && (
            <a href={address(["runs", runId])} aria-label={`Run of trial ${trial.trial}`}>
              run
            </a>
          )}
          {runId !== null && metrics !== null && (
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
          <td class="trial-said" colSpan={fields.length + 8}>
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

function TrialProgress({ trial }: { trial: Trial }) {
  const words = `${count(trial.samples_done)} of ${count(trial.samples)}`;
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
