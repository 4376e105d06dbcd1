import { useMemo, useState } from "preact/hooks";
import { compareRuns, getOutput } from "../api/runs";
import type { Comparison, Run, SampleComparison } from "../api/types";
import { findExtent, signed } from "../colour";
import { type Cell, HeatMap } from "../parts/heat_map";
import { useLoad } from "../parts/hooks";
import { Notice, Waiting } from "../parts/notice";
import { loadReached } from "../parts/reached";
import { describeRecord } from "../parts/records_table";
import { SamplePicker } from "../parts/sample_picker";
import { selectPlane } from "../parts/surface_panel";
import { linkTo, setParameters } from "../route";
import { formatNumber } from "../text/numbers";

interface PairProps {
  /** The two runs, whose surfaces have the same shape. */
  runs: readonly [Run, Run];
  /** Their letters. */
  letters: readonly [string, string];
  sample: number;
}

/** Surfaces, traces and samples of two runs. */
export function Pair({ runs, letters, sample }: PairProps) {
  const [a, b] = runs;
  const loaded = useLoad((signal) => compareRuns(a.run_id, b.run_id, signal), [a.run_id, b.run_id]);
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
        <Surfaces runs={runs} letters={letters} sample={sample} own={own} />
      </section>
      {comparison.note === null && (
        <section class="panel">
          <h2>First difference of the traces of sample {sample}</h2>
          <FirstDifference own={own} runs={runs} letters={letters} />
        </section>
      )}
      <section class="panel">
        <h2>Samples</h2>
        <SamplesTable comparison={comparison} sample={sample} />
      </section>
    </>
  );
}

interface SurfacesProps extends PairProps {
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

function Surfaces({ runs, letters, sample, own }: SurfacesProps) {
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
        {letters.map((name, index) => (
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
          <h3>
            {letters[1]} − {letters[0]}
          </h3>
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
      {id}
    </a>
  );
}

function FirstDifference({ own, runs, letters }: Omit<SurfacesProps, "sample">) {
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
          {letters[0]}, <RunLink id={runs[0].run_id} />
        </dt>
        <dd>{describeRecord(left)}</dd>
        <dt>
          {letters[1]}, <RunLink id={runs[1].run_id} />
        </dt>
        <dd>{describeRecord(right)}</dd>
      </dl>
    </>
  );
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
