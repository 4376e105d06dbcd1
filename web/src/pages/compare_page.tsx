import { getRun, listRuns } from "../api/runs";
import type { Run } from "../api/types";
import { DifferencesTable, LETTERS, MAX_COMPARED } from "../compare/differences";
import { MetricsTable } from "../compare/metrics_table";
import { Pair } from "../compare/pair";
import { ENDED_STATES, type RunKind } from "../generated/choices";
import { useLoad, useTitle } from "../parts/hooks";
import { Notice, Waiting } from "../parts/notice";
import { getWholeNumber, linkTo, type Route, setParameters } from "../route";
import { formatAge, shortenId } from "../text/numbers";

const SIMULATIONS: readonly RunKind[] = ["simulate", "run", "trial"];

/** Runs side by side: what differs in what they were given, and in what came out. */
export function ComparePage({ route }: { route: Route }) {
  useTitle("Compare");
  const ids = readIds(route);
  return (
    <>
      <h1>Compare runs</h1>
      <RunsPicker ids={ids} />
      {ids.length >= 2 ? (
        <Compared key={ids.join()} ids={ids} route={route} />
      ) : (
        <p class="quiet">Choose 2 to {MAX_COMPARED} runs.</p>
      )}
    </>
  );
}

/** Return the ids of the address; addresses of version 0.1 have `a` and `b`. */
function readIds({ parameters }: Route): string[] {
  const list = parameters.get("runs") ?? ["a", "b"].map((name) => parameters.get(name)).join();
  return list.split(",").filter(Boolean).slice(0, MAX_COMPARED);
}

function chooseRuns(ids: readonly string[]): void {
  setParameters({ runs: ids.join(), a: null, b: null, other: null });
}

function RunsPicker({ ids }: { ids: readonly string[] }) {
  const runs = useLoad((signal) => listRuns({}, 100, SIMULATIONS, signal), []);
  const ended = runs.value?.items.filter((run) => run.metrics !== null) ?? [];
  const left = ended.filter((run) => !ids.includes(run.run_id));
  return (
    <>
      <ul class="compared">
        {ids.map((id, index) => (
          <li key={index}>
            <b>{LETTERS[index]}</b>{" "}
            <a class="run-id" href={linkTo(["runs", id])}>
              {id}
            </a>{" "}
            <button
              type="button"
              class="link"
              aria-label={`Leave out run ${LETTERS[index]}`}
              onClick={() => chooseRuns(ids.filter((_, other) => other !== index))}
            >
              leave out
            </button>
          </li>
        ))}
      </ul>
      {ids.length < MAX_COMPARED && (
        <div class="toolbar">
          <label>
            add a run
            <select value="" onChange={(event) => chooseRuns([...ids, event.currentTarget.value])}>
              <option value="">choose…</option>
              {left.map((run) => (
                <option key={run.run_id} value={run.run_id}>
                  {shortenId(run.run_id)}: {run.model.name}, seed {run.seed},{" "}
                  {formatAge(run.created_at, Date.now())}
                </option>
              ))}
            </select>
          </label>
        </div>
      )}
      {runs.failure !== null && <Notice tone="problem">{runs.failure}</Notice>}
    </>
  );
}

function Compared({ ids, route }: { ids: readonly string[]; route: Route }) {
  const loaded = useLoad((signal) => Promise.all(ids.map((id) => getRun(id, signal))), []);
  const runs = loaded.value;
  if (loaded.failure !== null) {
    return <Notice tone="problem">{loaded.failure}</Notice>;
  }
  if (runs === null) {
    return <Waiting what="Loading the runs" />;
  }
  return (
    <>
      <section class="panel">
        <h2>What differs</h2>
        <DifferencesTable runs={runs} />
      </section>
      <section class="panel">
        <h2>Metrics</h2>
        <MetricsTable runs={runs} />
      </section>
      <ChosenPair runs={runs} route={route} />
    </>
  );
}

/** The surfaces and traces of the first run and of one of the others. */
function ChosenPair({ runs, route }: { runs: readonly Run[]; route: Route }) {
  const chosen = runs.findIndex(({ run_id }) => run_id === route.parameters.get("other"));
  const other = Math.max(1, chosen);
  const [a, b] = [runs[0], runs[other]];
  const isEnded = [a, b].every(({ state }) => ENDED_STATES.includes(state));
  return (
    <>
      {runs.length > 2 && (
        <div class="tabs" role="radiogroup" aria-label="Surfaces and traces of">
          {runs.slice(1).map(({ run_id }, index) => (
            <label key={run_id} class="tab">
              <input
                type="radio"
                name="other"
                checked={index + 1 === other}
                onChange={() => setParameters({ other: run_id })}
              />
              <span>A and {LETTERS[index + 1]}</span>
            </label>
          ))}
        </div>
      )}
      {!isEnded ? (
        <p class="quiet">Surfaces and traces are compared once both runs have ended.</p>
      ) : shapeOf(a) !== shapeOf(b) ? (
        <Notice tone="hint">
          The surfaces of A and {LETTERS[other]} have different shapes, {shapeOf(a)} and{" "}
          {shapeOf(b)}: surfaces and traces are not compared.
        </Notice>
      ) : (
        <Pair
          key={b.run_id}
          runs={[a, b]}
          letters={["A", LETTERS[other]]}
          sample={getWholeNumber(route, "sample")}
        />
      )}
    </>
  );
}

function shapeOf({ config }: Run): string {
  return `${config.lattice_width} × ${config.lattice_height}`;
}
