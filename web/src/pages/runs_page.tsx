import { useRef, useState } from "preact/hooks";
import { newKey } from "../api/http";
import { DEFAULT_MODEL, listModels } from "../api/models";
import { cancelRun, deleteRun, deleteRuns, listRuns } from "../api/runs";
import { type Run, simulationMetrics } from "../api/types";
import { ENDED_STATES, type RunKind } from "../generated/choices";
import { Tags } from "../labels/tags";
import { DeletionActions } from "../lists/deletion";
import { ListFilters } from "../lists/list_filters";
import { isFiltered, readListState, toDeletionFilter, toParameters } from "../lists/list_state";
import { Paging } from "../lists/paging";
import { SelectionCell, SelectionHeader, useSelection } from "../lists/selection";
import { SortHeader } from "../lists/sort_header";
import { useActions, useLoad, useTitle, useWatch } from "../parts/hooks";
import { ColumnPicker } from "../parts/column_picker";
import { CreatedAt } from "../parts/created_at";
import { Notice, Waiting } from "../parts/notice";
import { RunProgress, StateBadge } from "../parts/state_badge";
import { useStoredNames } from "../parts/stored";
import { MAX_COMPARED } from "../compare/differences";
import { linkTo, type Route, setParameters } from "../route";
import { flattenFields } from "../text/config_values";
import { formatCompact, formatMilliseconds, shortenId } from "../text/numbers";
import { DEFAULT_ROWS, runSample } from "../try/run_sample";

const PAGE = 20;
/** Runs outside an experiment; an experiment can have thousands of trials. */
const SINGLE_RUNS: readonly RunKind[] = ["simulate", "run"];
const TRIALS: readonly RunKind[] = ["trial", "training"];
const PERIOD_MS = 2000;

/** Runs with their current states: newest first, or as they are filtered and sorted. */
export function RunsPage({ route }: { route: Route }) {
  useTitle("Runs");
  const state = readListState(route);
  const { filter, sort } = state;
  const selection = useSelection();
  const [columns, setColumns] = useStoredNames("run-columns");
  const trials = route.parameters.get("kind") === "trial";
  const kinds = trials ? TRIALS : SINGLE_RUNS;
  const listed = useWatch(
    (signal) => listRuns(toParameters(state), PAGE, kinds, signal),
    [JSON.stringify(state), trials],
    PERIOD_MS,
  );
  const models = useLoad((signal) => listModels(signal), []);
  const { value: page, now } = listed;
  const { failure, act } = useActions(listed.reload);
  const { ids: chosen } = selection;
  const isEmpty = page?.items.length === 0;
  const canCompare = chosen.length >= 2 && chosen.length <= MAX_COMPARED;

  return (
    <>
      <div class="page-head">
        <h1>Runs</h1>
        <div class="actions">
          {canCompare ? (
            <a class="button" href={linkTo(["compare"], { runs: chosen.join() })}>
              Compare {chosen.length} runs
            </a>
          ) : (
            <button type="button" disabled title={`Select 2 to ${MAX_COMPARED} runs`}>
              Compare
            </button>
          )}
          {!trials && (
            <DeletionActions
              names={["run", "runs"]}
              selected={chosen}
              filter={
                isFiltered(filter) && !isEmpty ? { ...toDeletionFilter(filter), kind: kinds } : null
              }
              send={deleteRuns}
              onDeleted={(ids) => {
                selection.choose(ids, false);
                listed.reload();
              }}
            />
          )}
          <a class="button button-main" href="#/try">
            New run
          </a>
        </div>
      </div>
      {(failure ?? listed.failure) !== null && (
        <Notice tone="problem">{failure ?? listed.failure}</Notice>
      )}
      <ListFilters filter={filter} models={(models.value ?? []).map(({ name }) => name)} />
      <div class="toolbar">
        <label>
          shows
          <select
            value={trials ? "trial" : ""}
            onChange={(event) => setParameters({ kind: event.currentTarget.value, cursor: null })}
          >
            <option value="">runs outside experiments</option>
            <option value="trial">trials of experiments</option>
          </select>
        </label>
        <ColumnPicker chosen={columns} onChosen={setColumns} />
      </div>
      {page === null && listed.loading && <Waiting what="Loading runs" />}
      {isEmpty && (isFiltered(filter) || state.cursor !== null) && (
        <Notice tone="hint">No run matches.</Notice>
      )}
      {isEmpty && !isFiltered(filter) && state.cursor === null && (
        <>{trials ? <Notice tone="hint">There is no trial yet.</Notice> : <FirstRun />}</>
      )}
      {page !== null && page.items.length > 0 && (
        <div class="table-frame">
          <table class="runs-table">
            <caption class="hidden">Runs</caption>
            <thead>
              <tr>
                <SelectionHeader ids={page.items.map((run) => run.run_id)} selection={selection} />
                <SortHeader order="name" sort={sort}>
                  run
                </SortHeader>
                <SortHeader order="state" sort={sort}>
                  state
                </SortHeader>
                <th scope="col">progress</th>
                <th scope="col">model</th>
                <th scope="col" class="number">
                  seed
                </th>
                <th scope="col" class="number">
                  flows
                </th>
                <SortHeader order="duration" sort={sort} isNumber>
                  time
                </SortHeader>
                {columns.map((name) => (
                  <th key={name} scope="col" class="number">
                    {name}
                  </th>
                ))}
                <SortHeader order="created" sort={sort}>
                  created
                </SortHeader>
                <th scope="col">
                  <span class="hidden">actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {page.items.map((run) => (
                <tr key={run.run_id}>
                  <SelectionCell
                    id={run.run_id}
                    what={`run ${shortenId(run.run_id)}`}
                    selection={selection}
                  />
                  <td>
                    {run.name !== null && (
                      <a class="run-name" href={linkTo(["runs", run.run_id])}>
                        {run.name}
                      </a>
                    )}
                    <RunId run={run} />
                    <Tags tags={run.tags} link={(tag) => linkTo(route.parts, { tag })} />
                  </td>
                  <td>
                    <StateBadge state={run.state} />
                  </td>
                  <td>
                    <RunProgress run={run} />
                  </td>
                  <td>
                    {run.model.name}
                    {!run.model.trained && <span class="quiet"> untrained</span>}
                  </td>
                  <td class="number">{run.seed}</td>
                  <td class="number">{flowsOf(run)}</td>
                  <td class="number">{formatMilliseconds(run.timing?.compute_ms)}</td>
                  <OptionCells run={run} columns={columns} />
                  <td>
                    <CreatedAt at={run.created_at} now={now} />
                  </td>
                  <td class="row-actions">
                    {run.experiment !== null ? (
                      <a href={linkTo(["experiments", run.experiment.experiment_id])}>
                        trial {run.experiment.trial}
                      </a>
                    ) : ENDED_STATES.includes(run.state) ? (
                      <button
                        type="button"
                        aria-label={`Delete run ${shortenId(run.run_id)}`}
                        onClick={() => {
                          if (confirm(`Delete run ${shortenId(run.run_id)} with all its files?`)) {
                            selection.choose([run.run_id], false);
                            void act(deleteRun(run.run_id));
                          }
                        }}
                      >
                        Delete
                      </button>
                    ) : (
                      <button
                        type="button"
                        aria-label={`Cancel run ${shortenId(run.run_id)}`}
                        onClick={() => void act(cancelRun(run.run_id))}
                      >
                        Cancel
                      </button>
                    )}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {page !== null && <Paging route={route} page={page} />}
    </>
  );
}

/** The id of a run: a link, unless its name is one. */
function RunId({ run }: { run: Run }) {
  return run.name === null ? (
    <a class="run-id" href={linkTo(["runs", run.run_id])}>
      {run.run_id}
    </a>
  ) : (
    <span class="run-id quiet" title={run.run_id}>
      {shortenId(run.run_id)}
    </span>
  );
}

/** The values of options; those that the request set are bold. */
function OptionCells({ run, columns }: { run: Run; columns: readonly string[] }) {
  if (columns.length === 0) {
    return null;
  }
  const config = flattenFields(run.config);
  const options = flattenFields(run.options);
  return columns.map((name) => (
    <td key={name} class="number">
      {options.has(name) ? <b>{config.get(name)}</b> : (config.get(name) ?? "–")}
    </td>
  ));
}

function flowsOf(run: Run): string {
  const metrics = simulationMetrics(run);
  return metrics === null ? "–" : formatCompact(metrics.created);
}

/** What to do where there is no run. */
function FirstRun() {
  const models = useLoad((signal) => listModels(signal), []);
  const [sending, setSending] = useState(false);
  const { failure, act } = useActions();
  const key = useRef(newKey());
  const ready = (models.value ?? []).filter(({ sample_url }) => sample_url !== null);
  // The default model may be one of the others under another name.
  const first = ready.find(({ name }) => name === DEFAULT_MODEL) ?? ready[0];
  const others = ready.filter(({ digest }) => digest !== first?.digest);
  const start = async (model: string): Promise<void> => {
    setSending(true);
    await act(runSample(model, DEFAULT_ROWS, key.current));
    setSending(false);
  };
  return (
    <Notice tone="hint">
      <p>
        There is no run yet. A run starts a flow in every cell of a plane; a trained model moves the
        flows, and so carries values to two exit planes.
      </p>
      {first && (
        <>
          <p>
            <button
              type="button"
              class="button-main"
              disabled={sending}
              onClick={() => void start(first.name)}
            >
              {sending ? "Sending…" : "Run a sample"}
            </button>
          </p>
          <p>
            It runs {DEFAULT_ROWS} rows that are ready, with the model {first.name}
            {first.description !== null && `: ${first.description}`}.
          </p>
        </>
      )}
      {failure !== null && <Notice tone="problem">{failure}</Notice>}
      <ul>
        {others.map(({ name, description }) => (
          <li key={name}>
            <a href={linkTo(["models", name])}>Try {name}</a>
            {description !== null && `: ${description}`}
          </li>
        ))}
        <li>
          <a href="#/try">Run another model</a>, or rows of your own
        </li>
      </ul>
    </Notice>
  );
}
