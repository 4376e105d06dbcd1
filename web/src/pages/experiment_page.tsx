import type { ComponentChildren } from "preact";
import type { Experiment } from "../api/types";
import { ENDED_STATES, RESULT_FORMATS, RESULT_ROWS, type ResultRows } from "../generated/choices";
import { experimentPath, relabelExperiment } from "../api/experiments";
import { ExperimentActions } from "../experiments/actions";
import { CurvesPanel } from "../experiments/curves_panel";
import { PlotPanel } from "../experiments/plot_panel";
import { durationOf, ExperimentProgress, TrialTally } from "../experiments/progress";
import { TrialsTable } from "../experiments/trials_table";
import { useExperiment } from "../experiments/use_experiment";
import { LabelsPanel } from "../labels/labels_panel";
import { Download } from "../parts/download";
import { Facts } from "../parts/facts";
import { useActions, useTitle } from "../parts/hooks";
import { Missing, Notice, Waiting } from "../parts/notice";
import { StateBadge } from "../parts/state_badge";
import { navigate, type Route } from "../route";
import {
  formatCompact,
  formatMilliseconds,
  formatTime,
  formatVersion,
  shortenId,
  formatTimeLeft,
} from "../text/numbers";

/** One experiment: its state, trials and results. */
export function ExperimentPage({ id, route }: { id: string; route: Route }) {
  const { data, failure: loadFailure, isConnected, reload } = useExperiment(id);
  const { failure: refused, act } = useActions(reload);
  useTitle(data?.experiment.name ?? `Experiment ${shortenId(id)}`);
  if (data === null) {
    return loadFailure === null ? (
      <Waiting what="Loading the experiment" />
    ) : (
      <Missing failure={loadFailure} href="#/experiments" back="All experiments" />
    );
  }
  const { experiment, trials } = data;
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
              <span class="quiet">
                about {formatTimeLeft(experiment.progress.seconds_left)} left
              </span>
            )}
          </p>
        </div>
        <div class="actions">
          <ExperimentActions
            experiment={experiment}
            act={act}
            onDeleted={() => navigate("#/experiments")}
          />
        </div>
      </div>
      <LabelsPanel
        labels={experiment}
        hasName={false}
        list={["experiments"]}
        change={(labels) => relabelExperiment(experiment.experiment_id, labels)}
        onChanged={reload}
      />
      {(refused ?? loadFailure) !== null && (
        <Notice tone="problem">{refused ?? loadFailure}</Notice>
      )}
      {!isConnected && (
        <Notice tone="warning">
          The connection to the server is lost. The page reconnects without a reload.
        </Notice>
      )}
      {experiment.error !== null && (
        <Notice tone="problem">
          <b>{experiment.error.title}.</b> {experiment.error.detail}
          {experiment.state === "paused" && !hasOtherArithmetic(experiment.error) && (
            <p>The experiment is paused; resume it to continue.</p>
          )}
        </Notice>
      )}
      {!experiment.model.trained && experiment.kind === "simulate" && (
        <Notice tone="hint">
          The model is untrained: its weights are random, and flows differ mostly by noise.
        </Notice>
      )}
      {experiment.warnings.map((text) => (
        <Notice key={text} tone="warning">
          {text}
        </Notice>
      ))}
      <Facts facts={factsOf(experiment)} />
      {!ENDED_STATES.includes(experiment.state) && (
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

/** Return the values of a document by dotted name. */
function settings(document: Record<string, unknown>, prefix = ""): string[] {
  return Object.entries(document).flatMap(([name, value]) =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? settings(value as Record<string, unknown>, `${prefix}${name}.`)
      : [`${prefix}${name} ${String(value)}`],
  );
}

/** Whether a paused experiment was started with another arithmetic, and cannot be resumed. */
function hasOtherArithmetic(error: object): boolean {
  return "server_arithmetic" in error;
}

function factsOf(experiment: Experiment): (readonly [string, ComponentChildren])[] {
  const { dataset, model, seeds, options, train, progress } = experiment;
  const [from, to] = dataset.rows;
  const changed = settings(options);
  const training = settings(train ?? {});
  return [
    ["kind", experiment.kind],
    ["model", `${model.name}${model.trained ? "" : ", untrained"}`],
    ["dataset", dataset.name],
    ["rows", `${from}:${to}`],
    ["swept", experiment.fields.join(", ") || "nothing"],
    ["seeds", seeds.length > 6 ? `${seeds.length} seeds` : seeds.join(", ")],
    ["version", formatVersion(experiment.version, experiment.arithmetic)],
    ["trials at once", experiment.max_parallel],
    ["options", changed.join(", ") || "the model's own"],
    ...(experiment.kind === "train"
      ? ([["training", training.join(", ") || "by default"]] as const)
      : []),
    ["created", formatTime(experiment.created_at)],
    ["took", formatMilliseconds(durationOf(experiment))],
    ...(experiment.kind === "simulate"
      ? ([["flow-steps", formatCompact(progress.flow_steps)]] as const)
      : []),
  ];
}

const TABLES: Record<ResultRows, string> = {
  trials: "a row for each trial",
  points: "a row for each sweep point, with mean and deviation over its seeds",
};

/** The results as files. */
function ResultFiles({ experiment }: { experiment: Experiment }) {
  return (
    <>
      {RESULT_ROWS.map((table) => (
        <div key={table} class="downloads">
          <span>
            {table}, {TABLES[table]}:
          </span>
          {Object.entries(RESULT_FORMATS).map(([format, { suffixes }]) => (
            <Download
              key={format}
              path={`${experimentPath(experiment.experiment_id)}/results?format=${format}&of=${table}`}
              file={`${experiment.name}-${table}${suffixes[0]}`}
            >
              {`${table}.${format}`}
            </Download>
          ))}
        </div>
      ))}
    </>
  );
}
