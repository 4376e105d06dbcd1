import { useState } from "preact/hooks";
import { explain } from "../api/http";
import { cancelRun, deleteRun, listRuns } from "../api/runs";
import { ENDED, type Page, type Run } from "../api/types";
import { useLoad, useRepeat, useTitle } from "../parts/hooks";
import { Notice, Waiting } from "../parts/notice";
import { RunProgress, StateBadge } from "../parts/state_badge";
import { address, type Route, setValues } from "../route";
import { ago, compact, milliseconds, moment, shortId } from "../text/numbers";

const PAGE = 20;
const PERIOD_MS = 2000;

/** All runs, newest first, with their state as it changes. */
export function RunsPage({ route }: { route: Route }) {
  useTitle("Runs");
  const cursor = route.values.get("cursor");
  const [fresh, setFresh] = useState<Page<Run> | null>(null);
  const [lost, setLost] = useState<string | null>(null);
  const [chosen, setChosen] = useState<string[]>([]);
  const [failure, setFailure] = useState<string | null>(null);
  const [now, setNow] = useState(Date.now);
  const loaded = useLoad(
    async (signal) => {
      const page = await listRuns(cursor, PAGE, signal);
      setFresh(null);
      return page;
    },
    [cursor],
  );
  useRepeat(async (signal) => {
    try {
      setFresh(await listRuns(cursor, PAGE, signal));
      setLost(null);
    } catch (error) {
      if (!signal.aborted) {
        setLost(explain(error));
      }
    }
    setNow(Date.now());
  }, PERIOD_MS);

  const act = async (change: Promise<unknown>): Promise<void> => {
    try {
      await change;
      setFailure(null);
    } catch (error) {
      setFailure(explain(error));
    }
    loaded.reload();
  };
  const choose = (runId: string, on: boolean): void => {
    // The two chosen last are the pair.
    setChosen((before) =>
      [...before.filter((id) => id !== runId), ...(on ? [runId] : [])].slice(-2),
    );
  };

  const page = fresh ?? loaded.value;
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
      {(failure ?? lost ?? loaded.failure) !== null && (
        <Notice tone="problem">{failure ?? lost ?? loaded.failure}</Notice>
      )}
      {page === null && loaded.loading && <Waiting what="Loading runs" />}
      {page?.items.length === 0 && (
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
                  <td class="number">{run.metrics ? compact(run.metrics.created) : "–"}</td>
                  <td class="number">{milliseconds(run.timing?.compute_ms)}</td>
                  <td>
                    <time dateTime={run.created_at} title={moment(run.created_at)}>
                      {ago(run.created_at, now)}
                    </time>
                  </td>
                  <td class="row-actions">
                    {ENDED.includes(run.state) ? (
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
      {page !== null && (cursor !== null || page.next_cursor !== null) && (
        <nav class="paging" aria-label="Pages of the list">
          {cursor !== null && (
            <button type="button" onClick={() => setValues({ cursor: null })}>
              Newest
            </button>
          )}
          {page.next_cursor !== null && (
            <a class="button" href={address([], { cursor: page.next_cursor })}>
              Older
            </a>
          )}
        </nav>
      )}
    </>
  );
}
