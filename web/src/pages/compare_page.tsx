import { useMemo, useState } from "preact/hooks";
import { compareRuns, getOutput, getRun, listRuns } from "../api/runs";
import type { Comparison, Run, SampleComparison } from "../api/types";
import type { RunKind } from "../generated/choices";
import { findExtent, signed } from "../colour";
import { type Cell, HeatMap } from "../parts/heat_map";
import { useLoad, useTitle } from "../parts/hooks";
import { Notice, Waiting } from "../parts/notice";
import { loadReached } from "../parts/reached";
import { describeRecord } from "../parts/records_table";
import { SamplePicker } from "../parts/sample_picker";
import { selectPlane } from "../parts/surface_panel";
import { getWholeNumber, linkTo, type Route, setParameters } from "../route";
import { formatAge, formatNumber, shortenId } from "../text/numbers";

const SIMULATIONS: readonly RunKind[] = ["simulate", "run", "trial"];

/** Two runs side by side. */
export function ComparePage({ route }: { route: Route }) {
  useTitle("Compare");
  const a = route.parameters.get("a");
  const b = route.parameters.get("b");
  return (
    <>
      <h1>Compare two runs</h1>
      <PairPicker a={a} b={b} />
      {a && b ? (
        <Pair key={`${a} ${b}`} a={a} b={b} route={route} />
      ) : (
        <p class="quiet">Choose two runs.</p>
      )}
    </>
  );
}

function PairPicker({ a, b }: { a: string | null; b: string | null }) {
  const runs = useLoad((signal) => listRuns(null, 50, SIMULATIONS, signal), []);
  const ended = runs.value?.items.filter((run) => run.metrics !== null) ?? [];
  const choice = (name: "a" | "b", value: string | null) => (
    <label>
      run {name.toUpperCase()}
      <select
        value={value ?? ""}
        onChange={(event) => setParameters({ [name]: event.currentTarget.value, sample: null })}
      >
        <option value="">choose…</option>
        {value !== null && !ended.some((run) => run.run_id === value) && (
          <option value={value}>{shortenId(value)}</option>
        )}
        {ended.map((run) => (
          <option key={run.run_id} value={run.run_id}>
            {shortenId(run.run_id)}: {run.model.name}, seed {run.seed},{" "}
            {formatAge(run.created_at, Date.now())}
          </option>
        ))}
      </select>
    </label>
  );
  return (
    <div class="toolbar">
      {choice("a", a)}
      {choice("b", b)}
      {runs.failure !== null && <Notice tone="problem">{runs.failure}</Notice>}
    </div>
  );
}

function Pair({ a, b, route }: { a: string; b: string; route: Route }) {
  const sample = getWholeNumber(route, "sample");
  const loaded = useLoad((signal) => compareRuns(a, b, signal), [a, b]);
  const runs = useLoad((signal) => Promise.all([getRun(a, signal), getRun(b, signal)]), [a, b]);
  const comparison = loaded.value;
  if (loaded.failure !== null) {
    return <Notice tone="problem">{loaded.failure}</Notice>;
  }
  if (comparison === null) {
    return <Waiting what="Comparing" />;
  }
  const own = comparison.samples.find((entry) => entry.sample === sample) ?? null;
  return (
    <>
      {comparison.note !== null && (
        <Notice tone="warning">Differences can come from rounding alone: {comparison.note}.</Notice>
      )}
      <section class="panel">
        <div class="panel-head">
          <h2>Surfaces</h2>
          <SamplePicker samples={comparison.samples.length} sample={sample} />
        </div>
        {runs.value && <Surfaces runs={runs.value} sample={sample} own={own} />}
      </section>
      {comparison.note === null && (
        <section class="panel">
          <h2>First difference of the traces of sample {sample}</h2>
          <FirstDifference own={own} a={a} b={b} />
        </section>
      )}
      <div class="columns">
        <section class="panel">
          <h2>Metrics</h2>
          <MetricsTable comparison={comparison} />
        </section>
        <section class="panel">
          <h2>Samples</h2>
          <SamplesTable comparison={comparison} sample={sample} />
        </section>
      </div>
    </>
  );
}

interface SurfacesProps {
  runs: Run[];
  sample: number;
  own: SampleComparison | null;
}

interface RunSurface {
  values: Float32Array;
  /** 0 in cells that are not reached; null where the run does not have it. */
  reached: Float32Array | null;
  width: number;
  height: number;
}

async function loadSurface(run: Run, sample: number, signal: AbortSignal): Promise<RunSurface> {
  const [surface, reached] = await Promise.all([
    getOutput(run.run_id, "surface", sample, signal),
    loadReached(run, sample, signal),
  ]);
  const [height, width] = surface.shape.slice(-2);
  return {
    values: selectPlane(surface, null),
    reached: reached && selectPlane(reached, null),
    width,
    height,
  };
}

function Surfaces({ runs, sample, own }: SurfacesProps) {
  const [cell, setCell] = useState<Cell | null>(null);
  const both = runs.every((run) => run.outputs.includes("surface"));
  const loaded = useLoad(
    async (signal) =>
      both ? Promise.all(runs.map((run) => loadSurface(run, sample, signal))) : null,
    [runs, sample, both],
  );
  const shown = useMemo(
    () => loaded.value && compareSurfaces(loaded.value[0], loaded.value[1]),
    [loaded.value],
  );
  if (!both) {
    return <p class="quiet">One of the two runs has no surface.</p>;
  }
  if (loaded.failure !== null) {
    return <Notice tone="problem">{loaded.failure}</Notice>;
  }
  if (loaded.value === null) {
    return <Waiting what="Loading the surfaces" />;
  }
  if (shown === null) {
    return <p class="quiet">The surfaces have different sizes.</p>;
  }
  const { width, height } = loaded.value[0];
  const common = { width, height, cell, onCell: setCell };
  return (
    <>
      <div class="triple">
        {(["A", "B"] as const).map((name, index) => (
          <div key={name}>
            <h3>
              {name}: <RunLink id={runs[index].run_id} />
            </h3>
            <HeatMap
              {...common}
              values={shown.surfaces[index].values}
              empty={shown.empty[index]}
              range={shown.range}
              quantity="energy"
              title={`surface of run ${name}`}
            />
          </div>
        ))}
        <div>
          <h3>B − A</h3>
          <HeatMap
            {...common}
            values={shown.difference}
            empty={shown.empty[2]}
            range={[-shown.most, shown.most]}
            scale={signed}
            quantity="difference"
            title="difference of the surfaces"
          />
        </div>
      </div>
      {own && (
        <p>
          Largest difference <b>{formatNumber(own.surface_max_abs_difference)}</b>, on average{" "}
          <b>{formatNumber(own.surface_mean_abs_difference)}</b>.
        </p>
      )}
    </>
  );
}

type Empty = (index: number) => boolean;

interface SideBySide {
  surfaces: [RunSurface, RunSurface];
  difference: Float32Array;
  /** Smallest and largest value of both surfaces. */
  range: [number, number];
  /** Largest difference, for the scale. */
  most: number;
  empty: [Empty, Empty, Empty];
}

/** Compute the difference of two surfaces; null where their sizes differ. */
function compareSurfaces(a: RunSurface, b: RunSurface): SideBySide | null {
  if (a.width !== b.width || a.height !== b.height) {
    return null;
  }
  const difference = a.values.map((value, index) => b.values[index] - value);
  const [lowA, highA] = findExtent(a.values);
  const [lowB, highB] = findExtent(b.values);
  const emptyA = (index: number) => a.reached?.[index] === 0;
  const emptyB = (index: number) => b.reached?.[index] === 0;
  return {
    surfaces: [a, b],
    difference,
    range: [Math.min(lowA, lowB), Math.max(highA, highB)],
    most: Math.max(...findExtent(difference).map(Math.abs)) || 1e-9,
    empty: [emptyA, emptyB, (index) => emptyA(index) && emptyB(index)],
  };
}

function RunLink({ id }: { id: string }) {
  return (
    <a class="run-id" href={linkTo(["runs", id])}>
      {shortenId(id)}
    </a>
  );
}

function FirstDifference({ own, a, b }: { own: SampleComparison | null; a: string; b: string }) {
  if (own === null) {
    return <p class="quiet">Only one of the runs has this sample.</p>;
  }
  if (own.first_difference === null) {
    return <p>None: all records that both runs have are equal.</p>;
  }
  const { seq, a: left, b: right } = own.first_difference;
  return (
    <>
      <p>
        At record <b>{seq}</b>:
      </p>
      <dl class="difference">
        <dt>
          A, <RunLink id={a} />
        </dt>
        <dd>{describeRecord(left)}</dd>
        <dt>
          B, <RunLink id={b} />
        </dt>
        <dd>{describeRecord(right)}</dd>
      </dl>
    </>
  );
}

function MetricsTable({ comparison }: { comparison: Comparison }) {
  const rows = Object.entries(comparison.metrics).flatMap(([name, { a, b }]) =>
    flatten(name, a, b),
  );
  return (
    <div class="table-frame">
      <table class="metrics">
        <caption class="hidden">Metrics of both runs</caption>
        <thead>
          <tr>
            <th scope="col">metric</th>
            <th scope="col" class="number">
              A
            </th>
            <th scope="col" class="number">
              B
            </th>
            <th scope="col" class="number">
              B − A
            </th>
          </tr>
        </thead>
        <tbody>
          {rows.map(({ name, a, b }) => (
            <tr key={name} class={a === b ? "" : "differs"}>
              <th scope="row">{name.replaceAll("_", " ")}</th>
              <td class="number">{formatMetric(a)}</td>
              <td class="number">{formatMetric(b)}</td>
              <td class="number">
                {typeof a === "number" && typeof b === "number"
                  ? a === b
                    ? "·"
                    : formatNumber(b - a)
                  : ""}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

interface MetricRow {
  name: string;
  a: unknown;
  b: unknown;
}

/** Return a row for each member of nested counts. */
function flatten(name: string, a: unknown, b: unknown): MetricRow[] {
  if (isGroup(a) || isGroup(b)) {
    const left = isGroup(a) ? a : {};
    const right = isGroup(b) ? b : {};
    const names = [...new Set([...Object.keys(left), ...Object.keys(right)])];
    return names.flatMap((key) => flatten(`${name} · ${key}`, left[key], right[key]));
  }
  if (Array.isArray(a) || Array.isArray(b)) {
    return [{ name, a: formatList(a), b: formatList(b) }];
  }
  return [{ name, a, b }];
}

function isGroup(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function formatOther(value: unknown): string {
  return typeof value === "string" || typeof value === "boolean" ? String(value) : "–";
}

function formatList(value: unknown): string {
  return Array.isArray(value) ? value.join(", ") || "none" : "–";
}

function formatMetric(value: unknown): string {
  return typeof value === "number" ? formatNumber(value) : formatOther(value);
}

/** At most this many samples are listed; the field above the surfaces selects any sample. */
const MAX_SAMPLES = 200;

function SamplesTable({ comparison, sample }: { comparison: Comparison; sample: number }) {
  return (
    <div class="table-frame">
      <table>
        <caption class="hidden">Differences of each sample</caption>
        <thead>
          <tr>
            <th scope="col" class="number">
              sample
            </th>
            <th scope="col" class="number">
              largest difference
            </th>
            <th scope="col" class="number">
              mean
            </th>
            <th scope="col">first difference</th>
          </tr>
        </thead>
        <tbody>
          {comparison.samples.slice(0, MAX_SAMPLES).map((entry) => (
            <tr key={entry.sample} class={entry.sample === sample ? "chosen" : ""}>
              <td class="number">
                <button
                  type="button"
                  class="link"
                  aria-label={`Show sample ${entry.sample}`}
                  onClick={() => setParameters({ sample: entry.sample })}
                >
                  {entry.sample}
                </button>
              </td>
              <td class="number">{formatNumber(entry.surface_max_abs_difference)}</td>
              <td class="number">{formatNumber(entry.surface_mean_abs_difference)}</td>
              <td>
                {entry.first_difference === null
                  ? "none"
                  : `at record ${entry.first_difference.seq}, step ${(entry.first_difference.a ?? entry.first_difference.b)?.step ?? "–"}`}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
