import { useState } from "preact/hooks";
import { cancelRun, deleteRun, listRuns } from "../api/runs";
import { ENDED, type RunKind } from "../api/types";
import { useActions, useTitle, useWatch } from "../parts/hooks";
import { Made } from "../parts/made";
import { Notice, Waiting } from "../parts/notice";
import { Paging } from "../parts/paging";
import { RunProgress, StateBadge } from "../parts/state_badge";
import { address, type Route, setValues } from "../route";
import { compact, milliseconds, shortId } from "../text/numbers";

const PAGE = 20;
/** Experiments can have thousands of trials, which would hide the other runs. */
const OF_THEIR_OWN: readonly RunKind[] = ["simulate", "run"];
const TRIALS: readonly RunKind[] = ["trial", "training"];
const PERIOD_MS = 2000;

/** All runs, newest first, with their state as it changes. */
export function RunsPage({ route }: { route: Route }) {
  useTitle("Runs");
  const cursor = route.values.get("cursor");
  const [chosen, setChosen] = useState<string[]>([]);
  const trials = route.values.get("kind") === "trial";
  const listed = useWatch(
    (signal) => listRuns(cursor, PAGE, trials ? TRIALS : OF_THEIR_OWN, signal),
    [cursor, trials],
    PERIOD_MS,
  );
  const { value: page, now } = listed;
  const { failure, act } = useActions(listed.reload);
  const choose = (runId: string, on: boolean): void => {
    // The two chosen last are the pair.
    setChosen((before) =>
      [...before.filter((id) => id !== runId), ...(on ? [runId] : [])].slice(-2),
    );
  };

  return (
    <>
      <div class="page-head">
        <h1>Runs</h1>
        <div class="actions">
          {chosen.length === 2 ? (
            <a class="button" href={address(["compare"], { a: chosen[0], b: chosen[1] })}>
              Compare the two
            </a>
          ) : (
            <button type="button" disabled title="Tick two runs">
              Compare
            </button>
          )}
          <a class="button button-main" href="#/try">
            New run
          </a>
        </div>
      </div>
      {(failure ?? listed.failure) !== null && (
        <Notice tone="problem">{failure ?? listed.failure}</Notice>
      )}
      <div class="toolbar">
        <label>
          shows
          <select
            value={trials ? "trial" : ""}
            onChange={(event) => setValues({ kind: event.currentTarget.value, cursor: null })}
          >
            <option value="">runs of their own</option>
            <option value="trial">trials of experiments</option>
          </select>
        </label>
      </div>
      {page === null && listed.loading && <Waiting what="Loading runs" />}
      {page?.items.length === 0 && trials && <Notice tone="hint">There is no trial yet.</Notice>}
      {page?.items.length === 0 && !trials && (
        <Notice tone="hint">
          Nothing has run yet. <a href="#/try">Try it</a> with the sample that comes with these
          pages.
        </Notice>
      )}
      {page !== null && page.items.length > 0 && (
        <div class="table-frame">
          <table class="runs-table">
            <caption class="hidden">Runs, newest first</caption>
            <thead>
              <tr>
                <th scope="col">
                  <span class="hidden">compare</span>
                </th>
                <th scope="col">run</th>
                <th scope="col">state</th>
                <th scope="col">progress</th>
                <th scope="col">model</th>
                <th scope="col" class="number">
                  seed
                </th>
                <th scope="col" class="number">
                  flows
                </th>
                <th scope="col" class="number">
                  time
                </th>
                <th scope="col">made</th>
                <th scope="col">
                  <span class="hidden">actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {page.items.map((run) => (
                <tr key={run.run_id}>
                  <td>
                    <input
                      type="checkbox"
                      aria-label={`Compare run ${shortId(run.run_id)}`}
                      checked={chosen.includes(run.run_id)}
                      onChange={(event) => choose(run.run_id, event.currentTarget.checked)}
                    />
                  </td>
                  <td>
                    <a class="run-id" href={address(["runs", run.run_id])} title={run.run_id}>
                      {shortId(run.run_id)}
                    </a>
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
                  <td class="number">
                    {run.metrics && run.kind !== "training" ? compact(run.metrics.created) : "–"}
                  </td>
                  <td class="number">{milliseconds(run.timing?.compute_ms)}</td>
                  <td>
                    <Made at={run.created_at} now={now} />
                  </td>
                  <td class="row-actions">
                    {run.experiment !== null ? (
                      <a href={address(["experiments", run.experiment.experiment_id])}>
                        trial {run.experiment.trial}
                      </a>
                    ) : ENDED.includes(run.state) ? (
                      <button
                        type="button"
                        aria-label={`Delete run ${shortId(run.run_id)}`}
                        onClick={() => {
                          if (confirm(`Delete run ${shortId(run.run_id)} with all its files?`)) {
                            choose(run.run_id, false);
                            void act(deleteRun(run.run_id));
                          }
                        }}
                      >
                        Delete
                      </button>
                    ) : (
                      <button
                        type="button"
                        aria-label={`Cancel run ${shortId(run.run_id)}`}
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
      <Paging
        path={[]}
        values={{ kind: trials ? "trial" : null }}
        cursor={cursor}
        next={page?.next_cursor ?? null}
      />
    </>
  );
}
