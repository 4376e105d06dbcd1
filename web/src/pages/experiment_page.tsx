import type { ComponentChildren } from "preact";
import type { Experiment } from "../api/experiment_types";
import { experimentPath } from "../api/experiments";
import { ENDED } from "../api/types";
import { ExperimentActions } from "../experiments/actions";
import { CurvesPanel } from "../experiments/curves_panel";
import { PlotPanel } from "../experiments/plot_panel";
import { ExperimentProgress, TrialTally } from "../experiments/progress";
import { TrialsTable } from "../experiments/trials_table";
import { useExperiment } from "../experiments/use_experiment";
import { Download } from "../parts/download";
import { Facts } from "../parts/facts";
import { useActions, useTitle } from "../parts/hooks";
import { Notice, Waiting } from "../parts/notice";
import { StateBadge } from "../parts/state_badge";
import { go, type Route } from "../route";
import { compact, count, milliseconds, moment, shortId, timeLeft } from "../text/numbers";

/** One experiment: how it goes, its trials, and what came of them. */
export function ExperimentPage({ id, route }: { id: string; route: Route }) {
  const { shown, failure: lost, linked, reload } = useExperiment(id);
  const { failure: refused, act } = useActions(reload);
  useTitle(shown?.experiment.name ?? `Experiment ${shortId(id)}`);
  if (shown === null) {
    return lost === null ? (
      <Waiting what="Loading the experiment" />
    ) : (
      <Notice tone="problem">{lost}</Notice>
    );
  }
  const { experiment, trials } = shown;
  return (
    <>
      <div class="page-head">
        <div>
          <p class="crumb">
            <a href="#/experiments">Experiments</a>
          </p>
          <h1>{experiment.name}</h1>
          <p class="run-line">
            <span aria-live="polite">
              <StateBadge state={experiment.state} />
            </span>
            <ExperimentProgress experiment={experiment} />
            {experiment.state === "running" && experiment.progress.seconds_left !== null && (
              <span class="quiet">about {timeLeft(experiment.progress.seconds_left)} left</span>
            )}
          </p>
        </div>
        <div class="actions">
          <ExperimentActions
            experiment={experiment}
            act={act}
            onDeleted={() => go("#/experiments")}
          />
        </div>
      </div>
      {(refused ?? lost) !== null && <Notice tone="problem">{refused ?? lost}</Notice>}
      {!linked && (
        <Notice tone="warning">
          The server is not heard at the moment. The page goes on by itself once it is.
        </Notice>
      )}
      {experiment.error !== null && (
        <Notice tone="problem">
          <b>{experiment.error.title}.</b> {experiment.error.detail}
          {experiment.state === "paused" && <p>The experiment waits to be resumed.</p>}
        </Notice>
      )}
      {!experiment.model.trained && experiment.kind === "simulate" && (
        <Notice tone="hint">
          The model is untrained: its networks are drawn from a seed, and what moves its flows apart
          is mostly noise.
        </Notice>
      )}
      {experiment.warnings.map((text) => (
        <Notice key={text} tone="warning">
          {text}
        </Notice>
      ))}
      <Facts facts={factsOf(experiment)} />
      {!ENDED.includes(experiment.state) && (
        <section class="panel">
          <h2>Progress</h2>
          <TrialTally experiment={experiment} />
        </section>
      )}
      {experiment.kind === "train" && <CurvesPanel experiment={experiment} trials={trials} />}
      <section class="panel">
        <h2>Measures</h2>
        <PlotPanel experiment={experiment} trials={trials} route={route} />
      </section>
      <section class="panel">
        <h2>Trials</h2>
        <TrialsTable experiment={experiment} trials={trials} route={route} />
      </section>
      <section class="panel">
        <h2>Results</h2>
        <ResultFiles experiment={experiment} />
      </section>
    </>
  );
}

/** What was set, by dotted name. */
function settings(document: Record<string, unknown>, prefix = ""): string[] {
  return Object.entries(document).flatMap(([name, value]) =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? settings(value as Record<string, unknown>, `${prefix}${name}.`)
      : [`${prefix}${name} ${String(value)}`],
  );
}

function factsOf(experiment: Experiment): (readonly [string, ComponentChildren])[] {
  const { dataset, model, seeds, options, train, progress } = experiment;
  const [from, to] = dataset.rows;
  const changed = settings(options);
  const training = settings(train ?? {});
  const ended = experiment.ended_at ?? null;
  const began = experiment.started_at;
  return [
    ["kind", experiment.kind],
    ["model", `${model.name}${model.trained ? "" : ", untrained"}`],
    ["dataset", dataset.name],
    ["rows", `${count(from)} to ${count(to)}`],
    ["swept", experiment.fields.join(", ") || "nothing"],
    ["seeds", seeds.length > 6 ? `${seeds.length} seeds` : seeds.join(", ")],
    ["at once", experiment.max_parallel],
    ["options", changed.join(", ") || "as the model has them"],
    ...(experiment.kind === "train"
      ? ([["training", training.join(", ") || "by default"]] as const)
      : []),
    ["made", moment(experiment.created_at)],
    [
      "took",
      began !== null && ended !== null ? milliseconds(Date.parse(ended) - Date.parse(began)) : "–",
    ],
    ["flow-steps", compact(progress.flow_steps)],
  ];
}

const TABLES: readonly ["trials" | "points", string][] = [
  ["trials", "a row for each trial"],
  ["points", "a row for each sweep point: mean and deviation over its seeds"],
];

/** The results as files. */
function ResultFiles({ experiment }: { experiment: Experiment }) {
  return (
    <>
      {TABLES.map(([table, words]) => (
        <div key={table} class="downloads">
          <span>
            {table}, {words}:
          </span>
          {["csv", "parquet", "json"].map((format) => (
            <Download
              key={format}
              href={`${experimentPath(experiment.experiment_id)}/results?format=${format}&of=${table}`}
              file={`${experiment.name}-${table}.${format}`}
            >
              {`${table}.${format}`}
            </Download>
          ))}
        </div>
      ))}
    </>
  );
}
