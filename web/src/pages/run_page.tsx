import type { ComponentChildren } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { follow, type ServerEvent } from "../api/event_stream";
import { explain } from "../api/http";
import {
  cancelRun,
  deleteRun,
  getMemory,
  getProfile,
  getRun,
  relabelRun,
  runPath,
} from "../api/runs";
import {
  type Memory,
  type MemoryStep,
  type Metrics,
  type Progress,
  type Run,
  simulationMetrics,
  type StepMetrics,
  type TraceCounts,
} from "../api/types";
import { ENDED_STATES, type Overflow, REASONS, type RunState } from "../generated/choices";
import { flattenNumbers } from "../experiments/measures";
import { LabelsPanel } from "../labels/labels_panel";
import { Exits } from "../parts/exits";
import { Facts } from "../parts/facts";
import { useActions, useLoad, useTitle } from "../parts/hooks";
import { Missing, Notice, Waiting } from "../parts/notice";
import { OptionsPanel } from "../parts/options_panel";
import { hasPictures, PicturesPanel } from "../parts/pictures_panel";
import { RunProgress, StateBadge } from "../parts/state_badge";
import { StepChart } from "../parts/step_chart";
import { SurfacePanel } from "../parts/surface_panel";
import { TracePanel } from "../parts/trace_panel";
import { WholeId } from "../parts/whole_id";
import { getWholeNumber, linkTo, navigate, type Route } from "../route";
import {
  formatBytes,
  formatCompact,
  formatCount,
  formatMilliseconds,
  formatTime,
  formatNumber,
  formatPercent,
  formatVersion,
  shortenId,
} from "../text/numbers";

/** One run: its state and results. */
export function RunPage({ runId, route }: { runId: string; route: Route }) {
  const loaded = useLoad((signal) => getRun(runId, signal), [runId]);
  useTitle(loaded.value?.name ?? `Run ${shortenId(runId)}`);
  const [live, setLive] = useState<Partial<Pick<Run, "state" | "progress">>>({});
  const [steps, setSteps] = useState<StepMetrics[]>([]);
  const [followFailure, setFollowFailure] = useState<string | null>(null);
  const { failure: refused, act } = useActions();
  const failure = refused ?? followFailure;
  const following = loaded.value !== null && !ENDED_STATES.includes(loaded.value.state);
  const run = loaded.value && (following ? { ...loaded.value, ...live } : loaded.value);
  const { reload } = loaded;

  useEffect(() => {
    if (!following) {
      return undefined;
    }
    const controller = new AbortController();
    const take = (event: ServerEvent): boolean => {
      if (event.name === "step") {
        setSteps((before) => [...before, event.data as StepMetrics]);
      } else if (event.name === "progress") {
        setLive((before) => ({ ...before, progress: event.data as Progress }));
      } else if (event.name === "state") {
        const { state } = event.data as { state: RunState };
        setLive((before) => ({ ...before, state }));
        if (ENDED_STATES.includes(state)) {
          reload();
          return false;
        }
      }
      return true;
    };
    follow(`${runPath(runId)}/events`, take, controller.signal).catch((error: unknown) =>
      setFollowFailure(explain(error)),
    );
    return () => controller.abort();
  }, [runId, following, reload]);

  if (run === null) {
    return loaded.failure === null ? (
      <Waiting what="Loading the run" />
    ) : (
      <Missing failure={loaded.failure} href="#/" back="All runs" />
    );
  }
  const ended = ENDED_STATES.includes(run.state);
  const metrics = simulationMetrics(run);
  const simulated = metrics !== null;
  return (
    <>
      <div class="page-head">
        <div>
          {run.experiment !== null && (
            <p class="crumb">
              Trial {run.experiment.trial} of{" "}
              <a href={linkTo(["experiments", run.experiment.experiment_id])}>its experiment</a>
            </p>
          )}
          {run.name === null ? (
            <h1>
              Run <WholeId id={runId} />
            </h1>
          ) : (
            <>
              <h1>{run.name}</h1>
              <p class="crumb">
                Run <WholeId id={runId} />
              </p>
            </>
          )}
          <p class="run-line" aria-live="polite">
            <StateBadge state={run.state} /> <RunProgress run={run} />
          </p>
        </div>
        <div class="actions">
          {simulated && (
            <a
              class="button button-main"
              href={linkTo(["runs", runId, "lattice"], {
                sample: route.parameters.get("sample"),
              })}
            >
              See it in 3D
            </a>
          )}
          {simulated && (
            <a class="button" href={linkTo(["compare"], { runs: runId })}>
              Compare
            </a>
          )}
          {run.experiment === null && ended && (
            <button
              type="button"
              onClick={() => {
                if (confirm("Delete this run with all its files?")) {
                  void act(deleteRun(runId)).then((isDeleted) => isDeleted && navigate("#/"));
                }
              }}
            >
              Delete
            </button>
          )}
          {run.experiment === null && !ended && (
            <button type="button" onClick={() => void act(cancelRun(runId))}>
              Cancel
            </button>
          )}
        </div>
      </div>
      <LabelsPanel
        labels={run}
        hasName
        list={[]}
        change={(labels) => relabelRun(runId, labels)}
        onChanged={reload}
      />
      {failure !== null && <Notice tone="problem">{failure}</Notice>}
      {run.error !== null && run.state === "failed" && (
        <Notice tone="problem">
          <b>{run.error.title}.</b> {run.error.detail}
        </Notice>
      )}
      {!run.model.trained && run.kind !== "training" && (
        <Notice tone="hint">
          The model is untrained: its weights are random, and flows differ mostly by noise.
        </Notice>
      )}
      {run.warnings.map((text) => (
        <Notice key={text} tone="warning">
          {text}
        </Notice>
      ))}
      <RunFacts run={run} />
      {run.kind !== "training" && <OptionsPanel run={run} />}
      {run.kind === "training" ? (
        <Training run={run} />
      ) : ended && metrics ? (
        <Results run={run} metrics={metrics} route={route} />
      ) : (
        <Panel title="Steps">
          <StepCharts steps={steps} memory={null} />
          {steps.length === 0 && !ended && <Waiting what="Waiting for the first step" />}
        </Panel>
      )}
    </>
  );
}

function Panel({ title, children }: { title: string; children: ComponentChildren }) {
  return (
    <section class="panel">
      <h2>{title}</h2>
      {children}
    </section>
  );
}

function RunFacts({ run }: { run: Run }) {
  const { lattice_width: w, lattice_height: h, lattice_depth: d } = run.config;
  const facts: (readonly [string, ComponentChildren])[] = [
    ["model", `${run.model.name}${run.model.trained ? "" : ", untrained"}`],
    ["lattice", `${w} × ${h} × ${d}`],
    ...(run.dataset === null
      ? []
      : ([["dataset", `${run.dataset.name}, rows ${run.dataset.rows.join(":")}`]] as const)),
    ["seed", run.seed],
    ["version", formatVersion(run.version, run.arithmetic)],
    ["created", formatTime(run.created_at)],
    ["queued", formatMilliseconds(run.timing?.queue_ms)],
    ["computed", formatMilliseconds(run.timing?.compute_ms)],
    [
      "speed",
      run.timing?.flow_steps_per_second
        ? `${formatNumber(run.timing.flow_steps_per_second, 3)} flow-steps/s`
        : "–",
    ],
    ["size", formatBytes(run.bytes)],
  ];
  return <Facts facts={facts} />;
}

/** A training has no outputs and no trace. Its experiment shows its curves. */
function Training({ run }: { run: Run }) {
  const rows = Object.entries(flattenNumbers({ ...run.metrics }));
  return (
    <Panel title="Training">
      {run.experiment !== null && (
        <p>
          The curves are on the page of{" "}
          <a href={linkTo(["experiments", run.experiment.experiment_id])}>its experiment</a>.
        </p>
      )}
      <table class="metrics">
        <caption class="hidden">Figures of the training</caption>
        <tbody>
          {rows.map(([name, value]) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              <td class="number">{formatNumber(value)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Panel>
  );
}

function Results({ run, metrics, route }: { run: Run; metrics: Metrics; route: Route }) {
  const runId = run.run_id;
  const profile = useLoad((signal) => getProfile(runId, signal), [runId]);
  const memory = useLoad((signal) => getMemory(runId, signal), [runId]);
  const sample = getWholeNumber(route, "sample");
  return (
    <>
      {hasPictures(run) && <PicturesPanel run={run} route={route} />}
      <div class="columns">
        <SurfacePanel run={run} route={route} />
        <div class="stack">
          <Panel title="Exits">
            <Exits metrics={metrics} />
          </Panel>
          <Panel title="Metrics">
            <MetricsList metrics={metrics} trace={run.trace} memory={memory.value} />
          </Panel>
        </div>
      </div>
      <Panel title="Steps">
        {profile.failure !== null && <Notice tone="problem">{profile.failure}</Notice>}
        <StepCharts steps={profile.value?.step_metrics ?? []} memory={memory.value} />
      </Panel>
      <Panel title="Trace">
        <TracePanel run={run} sample={sample} />
      </Panel>
    </>
  );
}

const OVERFLOWS: Record<Overflow, string> = {
  spawn_capacity: "There was no room for all children; the rest were suppressed.",
  trace_capacity: "The trace had no room for all records. The counts are exact.",
};

function MetricsList({
  metrics,
  trace,
  memory,
}: {
  metrics: Metrics;
  trace: TraceCounts | null;
  memory: Memory | null;
}) {
  const recorded = trace ? sum(trace.recorded) : 0;
  const dropped = trace ? sum(trace.dropped) : 0;
  const rows: [string, string][] = [
    [
      "flows created",
      `${formatCount(metrics.created)} (${formatCount(metrics.initial)} at the start)`,
    ],
    ["spawned", formatCount(metrics.spawned)],
    ["spawns suppressed", formatCount(metrics.spawns_suppressed)],
    ["reflections", formatCount(metrics.reflected)],
    ["completed", `${formatCount(metrics.completed)} (${formatPercent(metrics.completion_ratio)})`],
    ["steps", formatCount(metrics.steps)],
    ["flow-steps", formatCount(metrics.flow_steps)],
    [
      "mean path",
      `${formatNumber(metrics.mean_path_steps, 3)} ${metrics.mean_path_steps === 1 ? "step" : "steps"}, length ${formatNumber(metrics.mean_path_length, 3)}`,
    ],
    ["variance of z displacements", formatNumber(metrics.z_displacement_variance, 3)],
    [
      "step time",
      `${formatMilliseconds(metrics.mean_step_ms)}, at most ${formatMilliseconds(metrics.max_step_ms)}`,
    ],
    ["trace records", `${formatCount(recorded)} kept, ${formatCount(dropped)} dropped`],
  ];
  if (memory) {
    rows.push(
      ["device memory, peak", formatBytes(memory.device.peak_bytes)],
      ["host memory, peak", formatBytes(memory.host.peak_rss_bytes)],
      [
        "state and trace memory",
        `${formatBytes(memory.state_bytes)} and ${formatBytes(memory.trace_bytes)}`,
      ],
      ["predicted memory", formatBytes(memory.predicted_bytes)],
    );
  }
  return (
    <>
      {metrics.overflow.map((what) => (
        <Notice key={what} tone="warning">
          {OVERFLOWS[what]}
        </Notice>
      ))}
      <table class="metrics">
        <caption class="hidden">Metrics of the run</caption>
        <tbody>
          {rows.map(([name, value]) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              <td class="number">{value}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}

function sum(counts: Record<string, number>): number {
  return Object.values(counts).reduce((total, value) => total + value, 0);
}

/** Return the largest memory of each step: parts of a run take the same steps one after another. */
export function foldByStep(steps: readonly MemoryStep[]): MemoryStep[] {
  const folded = new Map<number, MemoryStep>();
  for (const entry of steps) {
    const before = folded.get(entry.step) ?? entry;
    const { device_allocated_bytes: one } = before;
    const { device_allocated_bytes: other } = entry;
    folded.set(entry.step, {
      ...before,
      host_rss_bytes: Math.max(before.host_rss_bytes, entry.host_rss_bytes),
      device_allocated_bytes:
        one === null || other === null ? (one ?? other) : Math.max(one, other),
    });
  }
  return [...folded.values()].sort((a, b) => a.step - b.step);
}

function StepCharts({ steps, memory }: { steps: StepMetrics[]; memory: Memory | null }) {
  const series = useMemo(() => {
    const ended = (step: StepMetrics) =>
      REASONS.reduce((all, reason) => all + step.terminated[reason], 0);
    const mebibytes = (value: number | null) => value && value / 2 ** 20;
    const byStep = foldByStep(memory?.steps ?? []);
    const device = byStep.map((step) => mebibytes(step.device_allocated_bytes));
    return {
      flows: [{ name: "active flows", values: steps.map((step) => step.active) }],
      events: [
        { name: "spawned", values: steps.map((step) => step.spawned) },
        { name: "reflected", values: steps.map((step) => step.reflected) },
        { name: "ended", values: steps.map(ended) },
      ],
      length: [{ name: "mean length", values: steps.map((step) => step.mean_length) }],
      memory: [
        ...(device.some((value) => value !== null) ? [{ name: "device", values: device }] : []),
        {
          name: "host",
          values: byStep.map((step) => mebibytes(step.host_rss_bytes)),
        },
      ],
    };
  }, [steps, memory]);
  if (steps.length === 0) {
    return null;
  }
  return (
    <div class="charts">
      <StepChart title="Active flows" series={series.flows} />
      <StepChart title="Events" series={series.events} />
      <StepChart title="Displacement" series={series.length} />
      {memory && (
        <StepChart
          title="Memory in MiB"
          series={series.memory}
          format={(value) => `${formatCompact(value)} MiB`}
          fromZero={false}
        />
      )}
    </div>
  );
}
