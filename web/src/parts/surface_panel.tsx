import { useCallback, useMemo } from "preact/hooks";
import type { NumberArray } from "../api/npy";
import { getOutput, runPath } from "../api/runs";
import type { Run } from "../api/types";
import { OUTPUTS, PLANES } from "../generated/choices";
import { getWholeNumber, type Route, setParameters } from "../route";
import { formatCount, shortenId } from "../text/numbers";
import { Download } from "./download";
import { HeatMap } from "./heat_map";
import { useLoad } from "./hooks";
import { makeLayers } from "./layers";
import { Notice, Waiting } from "./notice";
import { findReachedOutput } from "./reached";
import { SamplePicker } from "./sample_picker";

const LAYERS = makeLayers(OUTPUTS);

/** Return the values of one plane, or the sum of all planes, of an output of one sample. */
export function selectPlane(array: NumberArray, plane: number | null): Float32Array {
  const [height, width] = array.shape.slice(-2);
  const cells = height * width;
  if (plane !== null) {
    return Float32Array.from(array.data.subarray(plane * cells, (plane + 1) * cells));
  }
  const sum = new Float32Array(cells);
  array.data.forEach((value, index) => {
    sum[index % cells] += value;
  });
  return sum;
}

/** The surface of a sample, or one of its planes, as a picture. */
export function SurfacePanel({ run, route }: { run: Run; route: Route }) {
  const given = route.parameters.get("plane") ?? "surface";
  // Addresses of version 0.1 have the name of the plane alone.
  const requested = PLANES.some((plane) => plane === given) ? `planes_${given}` : given;
  const layer =
    LAYERS.find(({ name, output }) => name === requested && run.outputs.includes(output)) ??
    LAYERS.find(({ output }) => run.outputs.includes(output)) ??
    null;
  const sample = getWholeNumber(route, "sample");
  const output = layer?.output ?? null;
  const loaded = useLoad(
    async (signal) =>
      output && { output, array: await getOutput(run.run_id, output, sample, signal) },
    [run.run_id, output, sample],
  );
  const marks = findReachedOutput(run);
  const hasHits = run.outputs.includes("hits");
  const hits = useLoad(
    async (signal) => (hasHits ? getOutput(run.run_id, "hits", sample, signal) : null),
    [run.run_id, hasHits, sample],
  );
  // While another output is loading, the array is that of the old one.
  const array = loaded.value?.output === output ? (loaded.value?.array ?? null) : null;
  const values = useMemo(
    () => (array && layer ? selectPlane(array, layer.plane) : null),
    [array, layer],
  );
  const reached = useLoad(
    async (signal) => (marks === "reached" ? getOutput(run.run_id, marks, sample, signal) : null),
    [run.run_id, marks, sample],
  );
  const arrived = hits.value;
  const planeHits = useMemo(
    () => arrived && PLANES.map((_, plane) => selectPlane(arrived, plane)),
    [arrived],
  );
  const marked = marks === "reached" ? reached.value : marks === "hits" ? arrived : null;
  const layerMarks = useMemo(
    () => (marked && layer ? selectPlane(marked, layer.plane) : null),
    [marked, layer],
  );
  const empty = useCallback((index: number) => layerMarks?.[index] === 0, [layerMarks]);
  const describe = useCallback(
    (index: number) =>
      PLANES.map((name, plane) => {
        const count = formatCount(planeHits?.[plane][index] ?? 0);
        return plane === 0 ? `${count} hits at ${name}` : `${count} at ${name}`;
      }).join(", "),
    [planeHits],
  );
  return (
    <section class="panel surface-panel">
      <h2>Surface</h2>
      <div class="toolbar">
        <SamplePicker samples={run.progress.samples} sample={sample} />
        <label>
          shows
          <select
            value={layer?.name ?? ""}
            onChange={(event) => setParameters({ plane: event.currentTarget.value })}
          >
            {LAYERS.map(({ name, label, output: needed }) => (
              <option key={name} value={name} disabled={!run.outputs.includes(needed)}>
                {label}
                {!run.outputs.includes(needed) && " (not requested)"}
              </option>
            ))}
          </select>
        </label>
      </div>
      {loaded.failure !== null && <Notice tone="problem">{loaded.failure}</Notice>}
      {layer === null && <p class="quiet">This run has no surface.</p>}
      {layer !== null && values === null && loaded.loading && (
        <Waiting what="Loading the surface" />
      )}
      {layer !== null && values !== null && array !== null && (
        <HeatMap
          values={values}
          width={array.shape[array.shape.length - 1]}
          height={array.shape[array.shape.length - 2]}
          quantity={layer.quantity}
          title={`${layer.label} of sample ${sample}`}
          {...(layerMarks && { empty })}
          {...(layer.isBoolean && { plain: true, range: [1, 1] })}
          {...(planeHits && { describe })}
        />
      )}
      <div class="downloads">
        <span>Download</span>
        {run.outputs.map((name) => (
          <Download
            key={name}
            path={`${runPath(run.run_id)}/outputs/${name}?format=npy`}
            file={`${name}-${shortenId(run.run_id)}.npy`}
          >
            {`${name}.npy`}
          </Download>
        ))}
        {run.outputs.includes("surface") && (
          <Download
            path={`${runPath(run.run_id)}/outputs/surface?format=png&sample=${sample}`}
            file={`surface-${shortenId(run.run_id)}-${sample}.png`}
          >
            picture
          </Download>
        )}
      </div>
    </section>
  );
}
