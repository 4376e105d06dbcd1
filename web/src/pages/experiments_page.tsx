import { deleteExperiments, listExperiments } from "../api/experiments";
import { listModels } from "../api/models";
import { ExperimentActions } from "../experiments/actions";
import { durationOf, ExperimentProgress, TimeLeft } from "../experiments/progress";
import { Tags } from "../labels/tags";
import { DeletionActions } from "../lists/deletion";
import { ListFilters } from "../lists/list_filters";
import { isFiltered, readListState, toDeletionFilter, toParameters } from "../lists/list_state";
import { Paging } from "../lists/paging";
import { SelectionCell, SelectionHeader, useSelection } from "../lists/selection";
import { SortHeader } from "../lists/sort_header";
import { useActions, useLoad, useTitle, useWatch } from "../parts/hooks";
import { CreatedAt } from "../parts/created_at";
import { Notice, Waiting } from "../parts/notice";
import { StateBadge } from "../parts/state_badge";
import { linkTo, type Route } from "../route";
import { formatCount, formatMilliseconds } from "../text/numbers";

const PAGE = 20;
const PERIOD_MS = 2000;

/** Experiments with their current states: newest first, or as they are filtered and sorted. */
export function ExperimentsPage({ route }: { route: Route }) {
  useTitle("Experiments");
  const state = readListState(route);
  const { filter, sort } = state;
  const selection = useSelection();
  const listed = useWatch(
    (signal) => listExperiments(toParameters(state), PAGE, signal),
    [JSON.stringify(state)],
    PERIOD_MS,
  );
  const models = useLoad((signal) => listModels(signal), []);
  const { failure, act } = useActions(listed.reload);
  const { value: page, now } = listed;
  const isEmpty = page?.items.length === 0;
  const isPart = isFiltered(filter) || state.cursor !== null;
  return (
    <>
      <div class="page-head">
        <h1>Experiments</h1>
        <div class="actions">
          <DeletionActions
            names={["experiment", "experiments"]}
            selected={selection.ids}
            filter={isFiltered(filter) && !isEmpty ? toDeletionFilter(filter) : null}
            send={deleteExperiments}
            onDeleted={(ids) => {
              selection.choose(ids, false);
              listed.reload();
            }}
          />
          <a class="button button-main" href="#/experiments/new">
            New experiment
          </a>
        </div>
      </div>
      {(failure ?? listed.failure) !== null && (
        <Notice tone="problem">{failure ?? listed.failure}</Notice>
      )}
      <ListFilters filter={filter} models={(models.value ?? []).map(({ name }) => name)} />
      {page === null && listed.loading && <Waiting what="Loading experiments" />}
      {isEmpty && isPart && <Notice tone="hint">No experiment matches.</Notice>}
      {isEmpty && !isPart && (
        <Notice tone="hint">
          There is no experiment yet. <a href="#/experiments/new">Create one</a>: it runs a dataset
          through a model with different options and seeds, and continues after a restart of the
          server.
        </Notice>
      )}
      {page !== null && page.items.length > 0 && (
        <div class="table-frame">
          <table class="runs-table">
            <caption class="hidden">Experiments</caption>
            <thead>
              <tr>
                <SelectionHeader
                  ids={page.items.map(({ experiment_id }) => experiment_id)}
                  selection={selection}
                />
                <SortHeader order="name" sort={sort}>
                  name
                </SortHeader>
                <SortHeader order="state" sort={sort}>
                  state
                </SortHeader>
                <th scope="col">progress</th>
                <th scope="col" class="number">
                  time left
                </th>
                <th scope="col">kind</th>
                <th scope="col">model</th>
                <th scope="col">dataset</th>
                <SortHeader order="duration" sort={sort} isNumber>
                  took
                </SortHeader>
                <SortHeader order="created" sort={sort}>
                  created
                </SortHeader>
                <th scope="col">
                  <span class="hidden">actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {page.items.map((experiment) => (
                <tr key={experiment.experiment_id}>
                  <SelectionCell
                    id={experiment.experiment_id}
                    what={experiment.name}
                    selection={selection}
                  />
                  <td>
                    <a class="run-name" href={linkTo(["experiments", experiment.experiment_id])}>
                      {experiment.name}
                    </a>
                    <Tags tags={experiment.tags} link={(tag) => linkTo(["experiments"], { tag })} />
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
                  <td class="number">{formatMilliseconds(durationOf(experiment))}</td>
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
      {page !== null && <Paging route={route} page={page} />}
    </>
  );
}
