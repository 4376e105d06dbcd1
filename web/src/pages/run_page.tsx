import type { ComponentChildren } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { follow, type ServerEvent } from "../api/event_stream";
import { explain } from "../api/http";
import { cancelRun, deleteRun, getMemory, getProfile, getRun, runPath } from "../api/runs";
import {
  ENDED,
  type Memory,
  type Metrics,
  type Progress,
  REASONS,
  type Run,
  type RunState,
  type StepMetrics,
  type TraceCounts,
} from "../api/types";
import { numbersIn } from "../experiments/measures";
import { Exits } from "../parts/exits";
import { Facts } from "../parts/facts";
import { useActions, useLoad, useTitle } from "../parts/hooks";
import { Notice, Waiting } from "../parts/notice";
import { RunProgress, StateBadge } from "../parts/state_badge";
import { StepChart } from "../parts/step_chart";
import { SurfacePanel } from "../parts/surface_panel";
import { TraceOf } from "../parts/trace_of";
import { address, go, type Route } from "../route";
import {
  bytes,
  compact,
  count,
  milliseconds,
  moment,
  number,
  percent,
  shortId,
} from "../text/numbers";

/** One run: how it goes, and what came of it. */
export function RunPage({ runId, route }: { runId: string; route: Route }) {
  useTitle(`Run ${shortId(runId)}`);
  const loaded = useLoad((signal) => getRun(runId, signal), [runId]);
  const [live, setLive] = useState<Partial<Pick<Run, "state" | "progress">>>({});
  const [steps, setSteps] = useState<StepMetrics[]>([]);
  const [lost, setLost] = useState<string | null>(null);
  const { failure: refused, act } = useActions();
  const failure = refused ?? lost;
  const following = loaded.value !== null && !ENDED.includes(loaded.value.state);
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
        if (ENDED.includes(state)) {
          reload();
          return false;
        }
      }
      return true;
    };
    follow(`${runPath(runId)}/events`, take, controller.signal).catch((error: unknown) =>
      setLost(explain(error)),
    );
    return () => controller.abort();
  }, [runId, following, reload]);

  if (run === null) {
    return loaded.failure === null ? (
      <Waiting what="Loading the run" />
    ) : (
      <Notice tone="problem">{loaded.failure}</Notice>
    );
  }
  const ended = ENDED.includes(run.state);
  const simulated = run.metrics !== null && run.kind !== "training";
  return (
    <>
      <div class="page-head">
        <div>
          {run.experiment !== null && (
            <p class="crumb">
              Trial {run.experiment.trial} of{" "}
              <a href={address(["experiments", run.experiment.experiment_id])}>its experiment</a>
            </p>
          )}
          <h1>
            Run <span class="run-id">{shortId(runId)}</span>
          </h1>
          <p class="run-line" aria-live="polite">
            <StateBadge state={run.state} /> <RunProgress run={run} />
          </p>
        </div>
        <div class="actions">
          {simulated && (
            <a
              class="button button-main"
              href={address(["runs", runId, "lattice"], {
                sample: route.values.get("sample"),
              })}
            >
              See it in 3D
            </a>
          )}
          {simulated && (
            <a class="button" href={address(["compare"], { a: runId })}>
              Compare
            </a>
          )}
          {run.experiment === null && ended && (
            <button
              type="button"
              onClick={() => {
                if (confirm("Delete this run with all its files?")) {
                  void act(deleteRun(runId)).then((gone) => gone && go("#/"));
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
      {failure !== null && <Notice tone="problem">{failure}</Notice>}
      {run.error !== null && run.state === "failed" && (
        <Notice tone="problem">
          <b>{run.error.title}.</b> {run.error.detail}
        </Notice>
      )}
      {!run.model.trained && run.kind !== "training" && (
        <Notice tone="hint">
          The model is untrained: its networks are drawn from a seed, and what moves its flows apart
          is mostly noise.
        </Notice>
      )}
      {run.warnings.map((text) => (
        <Notice key={text} tone="warning">
          {text}
        </Notice>
      ))}
      <RunFacts run={run} />
      {run.kind === "training" ? (
        <Training run={run} />
      ) : ended && run.metrics ? (
        <Results run={run} metrics={run.metrics} route={route} />
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
      : ([["dataset", `${run.dataset.name}, rows ${run.dataset.rows.join(" to ")}`]] as const)),
    ["seed", run.seed],
    ["made", moment(run.created_at)],
    ["waited", milliseconds(run.timing?.queue_ms)],
    ["computed", milliseconds(run.timing?.compute_ms)],
    [
      "speed",
      run.timing?.flow_steps_per_second
        ? `${number(run.timing.flow_steps_per_second, 3)} flow-steps/s`
        : "–",
    ],
    ["kept", bytes(run.bytes)],
  ];
  return <Facts facts={facts} />;
}

/** A training has neither outputs nor a trace; how it went is told with its experiment. */
function Training({ run }: { run: Run }) {
  const rows = Object.entries(numbersIn({ ...run.metrics }));
  return (
    <Panel title="Training">
      {run.experiment !== null && (
        <p>
          Its curves are with{" "}
          <a href={address(["experiments", run.experiment.experiment_id])}>its experiment</a>.
        </p>
      )}
      <table class="metrics">
        <caption class="hidden">Figures of the training</caption>
        <tbody>
          {rows.map(([name, value]) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              <td class="number">{number(value)}</td>
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
  const sample = Number(route.values.get("sample") ?? 0);
  return (
    <>
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
        <TraceOf run={run} sample={sample} />
      </Panel>
    </>
  );
}

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
    ["flows created", `${count(metrics.created)} (${count(metrics.initial)} at the start)`],
    ["spawned", count(metrics.spawned)],
    ["spawns suppressed", count(metrics.spawns_suppressed)],
    ["reflections", count(metrics.reflected)],
    ["completed", `${count(metrics.completed)} (${percent(metrics.completion_ratio)})`],
    ["steps", count(metrics.steps)],
    ["flow-steps", count(metrics.flow_steps)],
    [
      "mean path",
      `${number(metrics.mean_path_steps, 3)} steps, length ${number(metrics.mean_path_length, 3)}`,
    ],
    ["variance of z moves", number(metrics.z_displacement_variance, 3)],
    [
      "step time",
      `${milliseconds(metrics.mean_step_ms)}, at most ${milliseconds(metrics.max_step_ms)}`,
    ],
    ["trace records", `${count(recorded)} kept, ${count(dropped)} dropped`],
  ];
  if (memory) {
    rows.push(
      ["device memory, peak", bytes(memory.device.peak_bytes)],
      ["process memory, peak", bytes(memory.host.peak_rss_bytes)],
      ["state and trace", `${bytes(memory.state_bytes)} and ${bytes(memory.trace_bytes)}`],
    );
  }
  return (
    <>
      {metrics.overflow.map((what) => (
        <Notice key={what} tone="warning">
          {what === "trace_capacity"
            ? "More happened than the trace holds; counts are exact, records are missing."
            : "There was no room for all children; the rest were suppressed."}
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

function StepCharts({ steps, memory }: { steps: StepMetrics[]; memory: Memory | null }) {
  const series = useMemo(() => {
    const ended = (step: StepMetrics) =>
      REASONS.reduce((all, reason) => all + step.terminated[reason], 0);
    const mebibytes = (value: number | null) => value && value / 2 ** 20;
    const device = memory?.steps.map((step) => mebibytes(step.device_allocated_bytes)) ?? [];
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
          name: "process",
          values: memory?.steps.map((step) => mebibytes(step.host_rss_bytes)) ?? [],
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
          title="Memory"
          series={series.memory}
          format={(value) => `${compact(value)} MiB`}
          fromZero={false}
        />
      )}
    </div>
  );
}
