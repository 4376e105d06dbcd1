import { useMemo, useState } from "preact/hooks";
import { findSampleRows } from "../api/models";
import type { NumberArray } from "../api/npy";
import { getInputs, getOutput } from "../api/runs";
import type { Run, SampleRows } from "../api/types";
import { signed } from "../colour";
import { type Output, PLANES } from "../generated/choices";
import { getWholeNumber, type Route } from "../route";
import { type Cell, HeatMap } from "./heat_map";
import { useLoad } from "./hooks";
import { Notice, Waiting } from "./notice";
import { loadReached } from "./reached";
import { SamplePicker } from "./sample_picker";

interface Picture {
  title: string;
  values: ArrayLike<number>;
  /** Whether a cell is not reached. */
  empty?: (index: number) => boolean;
}

/** Return whether the inputs of a run are pictures of the surface, one number a cell. */
export function hasPictures({ config }: Run): boolean {
  return config.mapper === "identity";
}

/** The input of a sample and what arrives at the planes, as pictures of one scale. */
export function PicturesPanel({ run, route }: { run: Run; route: Route }) {
  const sample = getWholeNumber(route, "sample");
  const [cell, setCell] = useState<Cell | null>(null);
  // The embedding is the prediction of the model; without it, the planes are near it.
  const output = (["embedding", "planes"] as const).find((name) => run.outputs.includes(name));
  const loaded = useLoad(
    async (signal) => {
      const [input, result, reached] = await Promise.all([
        getInputs(run.run_id, sample, signal),
        output ? getOutput(run.run_id, output, sample, signal) : null,
        output === "planes" ? loadReached(run, sample, signal) : null,
      ]);
      return { input, result, reached };
    },
    [run.run_id, output, sample],
  );
  const known = useLoad((signal) => findSampleRows(run.model.name, signal), [run.model.name]);
  const { lattice_width: width = 1, lattice_height: height = 1 } = run.config;
  const pictures = useMemo(
    () =>
      loaded.value &&
      collectPictures(
        loaded.value.input,
        loaded.value.result,
        output,
        findTarget(known.value, loaded.value.input),
        width * height,
        loaded.value.reached,
      ),
    [loaded.value, known.value, output, width, height],
  );
  const most = pictures && Math.max(...pictures.map(({ values }) => findLargest(values)));
  return (
    <section class="panel">
      <h2>Pictures</h2>
      <div class="toolbar">
        <SamplePicker samples={run.progress.samples} sample={sample} />
      </div>
      <p class="quiet">
        The model reads a picture: a flow starts in each cell with the cell’s value as its energy.
        {output === "embedding"
          ? " The output embedding is what it predicts for the exit planes."
          : " The run has no output embedding, which would be the prediction of the model."}
        {pictures !== null &&
          pictures.some(({ title }) => title.startsWith("Target")) &&
          " The target is what should arrive there."}
      </p>
      {loaded.failure !== null && <Notice tone="problem">{loaded.failure}</Notice>}
      {pictures === null && loaded.loading && <Waiting what="Loading the pictures" />}
      {pictures !== null && most !== null && (
        <div class="triple">
          {pictures.map(({ title, values, empty }) => (
            <div key={title}>
              <h3>{title}</h3>
              <HeatMap
                values={values}
                width={width}
                height={height}
                quantity="value"
                title={`${title} of sample ${sample}`}
                scale={signed}
                range={[-most, most]}
                {...(empty && { empty })}
                cell={cell}
                onCell={setCell}
              />
            </div>
          ))}
        </div>
      )}
    </section>
  );
}

/** Return the target of an input that is one of the rows to try its model with. */
export function findTarget(rows: SampleRows | null, input: NumberArray): number[] | null {
  const row = rows?.inputs.findIndex((each) =>
    each.every((value, index) => Math.fround(value) === input.data[index]),
  );
  return row === undefined || row < 0 ? null : (rows?.targets?.[row] ?? null);
}

/** Return the pictures of a sample: the input, what arrives at the planes, and what should. */
export function collectPictures(
  input: NumberArray,
  result: NumberArray | null,
  output: Output | undefined,
  target: number[] | null,
  cells: number,
  reached: NumberArray | null = null,
): Picture[] {
  const what = output === "embedding" ? "Prediction" : "Energy";
  return [
    { title: "Input", values: input.data },
    ...splitByPlane(what, result === null ? [] : Array.from(result.data), cells).map(
      (picture, plane) =>
        reached === null
          ? picture
          : { ...picture, empty: (index: number) => reached.data[plane * cells + index] === 0 },
    ),
    ...splitByPlane("Target", target ?? [], cells),
  ];
}

function splitByPlane(what: string, values: number[], cells: number): Picture[] {
  const count = Math.floor(values.length / cells);
  return Array.from({ length: count }, (_, plane) => ({
    title: count === PLANES.length ? `${what}, ${PLANES[plane]}` : what,
    values: values.slice(plane * cells, (plane + 1) * cells),
  }));
}

/** Return the largest magnitude of finite numbers. */
function findLargest(values: ArrayLike<number>): number {
  return Array.from(values).reduce(
    (most, value) => (Number.isFinite(value) ? Math.max(most, Math.abs(value)) : most),
    0,
  );
}
