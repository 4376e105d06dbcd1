import { listExperiments } from "../api/experiments";
import { ExperimentActions } from "../experiments/actions";
import { ExperimentProgress, TimeLeft } from "../experiments/progress";
import { useActions, useTitle, useWatch } from "../parts/hooks";
import { CreatedAt } from "../parts/created_at";
import { Notice, Waiting } from "../parts/notice";
import { Paging } from "../parts/paging";
import { StateBadge } from "../parts/state_badge";
import { linkTo, type Route } from "../route";
import { formatCount } from "../text/numbers";

const PAGE = 20;
const PERIOD_MS = 2000;

/** All experiments, newest first, with their current states. */
export function ExperimentsPage({ route }: { route: Route }) {
  useTitle("Experiments");
  const cursor = route.parameters.get("cursor");
  const listed = useWatch((signal) => listExperiments(cursor, PAGE, signal), [cursor], PERIOD_MS);
  const { failure, act } = useActions(listed.reload);
  const { value: page, now } = listed;
  return (
    <>
      <div class="page-head">
        <h1>Experiments</h1>
        <div class="actions">
          <a class="button button-main" href="#/experiments/new">
            New experiment
          </a>
        </div>
      </div>
      {(failure ?? listed.failure) !== null && (
        <Notice tone="problem">{failure ?? listed.failure}</Notice>
      )}
      {page === null && listed.loading && <Waiting what="Loading experiments" />}
      {page?.items.length === 0 && (
        <Notice tone="hint">
          There is no experiment yet. <a href="#/experiments/new">Create one</a>: it runs a dataset
          through a model with different options and seeds, and continues after a restart of the
          server.
        </Notice>
      )}
      {page !== null && page.items.length > 0 && (
        <div class="table-frame">
          <table class="runs-table">
            <caption class="hidden">Experiments, newest first</caption>
            <thead>
              <tr>
                <th scope="col">name</th>
                <th scope="col">state</th>
                <th scope="col">progress</th>
                <th scope="col" class="number">
                  time left
                </th>
                <th scope="col">kind</th>
                <th scope="col">model</th>
                <th scope="col">dataset</th>
                <th scope="col">created</th>
                <th scope="col">
                  <span class="hidden">actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {page.items.map((experiment) => (
                <tr key={experiment.experiment_id}>
                  <td>
                    <a href={linkTo(["experiments", experiment.experiment_id])}>
                      {experiment.name}
                    </a>
                  </td>
                  <td>
                    <StateBadge state={experiment.state} />
                  </td>
                  <td>
                    <ExperimentProgress experiment={experiment} />
                  </td>
                  <td class="number">
                    <TimeLeft experiment={experiment} />
                  </td>
                  <td>{experiment.kind}</td>
                  <td>{experiment.model.name}</td>
                  <td
                    title={`${formatCount(experiment.dataset.rows[1] - experiment.dataset.rows[0])} rows`}
                  >
                    {experiment.dataset.name}
                  </td>
                  <td>
                    <CreatedAt at={experiment.created_at} now={now} />
                  </td>
                  <td class="row-actions">
                    <ExperimentActions experiment={experiment} act={act} />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      <Paging path={["experiments"]} cursor={cursor} next={page?.next_cursor ?? null} />
    </>
  );
}
