import { useCallback, useMemo } from "preact/hooks";
import type { NumberArray } from "../api/npy";
import { getOutput, runPath } from "../api/runs";
import type { Run } from "../api/types";
import { type Route, setValues } from "../route";
import { count, shortId } from "../text/numbers";
import { Download } from "./download";
import { HeatMap } from "./heat_map";
import { useLoad } from "./hooks";
import { Notice, Waiting } from "./notice";
import { SamplePicker } from "./sample_picker";

export interface Layer {
  name: string;
  label: string;
  quantity: string;
  output: "surface" | "planes" | "hits";
  /** Which of the output's planes; null adds them up or there is but one. */
  plane: 0 | 1 | null;
}

export const LAYERS: readonly Layer[] = [
  { name: "surface", label: "surface", quantity: "energy", output: "surface", plane: null },
  { name: "z0", label: "plane z0", quantity: "energy", output: "planes", plane: 0 },
  { name: "zdepth", label: "plane zdepth", quantity: "energy", output: "planes", plane: 1 },
  { name: "hits", label: "hits", quantity: "hits", output: "hits", plane: null },
  { name: "hits_z0", label: "hits z0", quantity: "hits", output: "hits", plane: 0 },
  { name: "hits_zdepth", label: "hits zdepth", quantity: "hits", output: "hits", plane: 1 },
];

/** The numbers of a layer in an output of one sample. */
export function cut(array: NumberArray, plane: 0 | 1 | null): Float32Array {
  const [height, width] = array.shape.slice(-2);
  const cells = height * width;
  const part = (index: number) =>
    Float32Array.from(array.data.subarray(index * cells, (index + 1) * cells));
  if (array.shape.length === 3 || plane !== null) {
    return part(plane ?? 0);
  }
  const other = part(1);
  return part(0).map((value, index) => value + other[index]);
}

/** The surface of a sample, or one of its planes, as a picture. */
export function SurfacePanel({ run, route }: { run: Run; route: Route }) {
  const wanted = route.values.get("plane") ?? "surface";
  const layer =
    LAYERS.find(({ name, output }) => name === wanted && run.outputs.includes(output)) ??
    LAYERS.find(({ output }) => run.outputs.includes(output)) ??
    null;
  const sample = Number(route.values.get("sample") ?? 0);
  const output = layer?.output ?? null;
  const loaded = useLoad(
    async (signal) => (output ? getOutput(run.run_id, output, sample, signal) : null),
    [run.run_id, output, sample],
  );
  const knowsHits = run.outputs.includes("hits");
  const hits = useLoad(
    async (signal) => (knowsHits ? getOutput(run.run_id, "hits", sample, signal) : null),
    [run.run_id, knowsHits, sample],
  );
  const array = loaded.value;
  // While another layer is on its way, the array of the one before is still there.
  const fits =
    array !== null && layer !== null && (array.shape.length === 4) === (output !== "surface");
  const values = useMemo(() => (fits ? cut(array, layer.plane) : null), [fits, array, layer]);
  const layerHits = useMemo(
    () => (hits.value && layer ? cut(hits.value, layer.plane) : null),
    [hits.value, layer],
  );
  const bothHits = useMemo(
    () => (hits.value ? [cut(hits.value, 0), cut(hits.value, 1)] : null),
    [hits.value],
  );
  const empty = useCallback((index: number) => layerHits?.[index] === 0, [layerHits]);
  const describe = useCallback(
    (index: number) =>
      bothHits
        ? `${count(bothHits[0][index])} hits at z0, ${count(bothHits[1][index])} at zdepth`
        : "",
    [bothHits],
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
            onChange={(event) => setValues({ plane: event.currentTarget.value })}
          >
            {LAYERS.map(({ name, label, output: needed }) => (
              <option key={name} value={name} disabled={!run.outputs.includes(needed)}>
                {label}
                {!run.outputs.includes(needed) && " (not asked for)"}
              </option>
            ))}
          </select>
        </label>
      </div>
      {loaded.failure !== null && <Notice tone="problem">{loaded.failure}</Notice>}
      {layer === null && <p class="quiet">This run gave no surface.</p>}
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
          {...(layerHits && { empty })}
          {...(bothHits && { describe })}
        />
      )}
      <div class="downloads">
        <span>Download</span>
        {run.outputs.map((name) => (
          <Download
            key={name}
            href={`${runPath(run.run_id)}/outputs/${name}?format=npy`}
            file={`${name}-${shortId(run.run_id)}.npy`}
          >
            {`${name}.npy`}
          </Download>
        ))}
        {run.outputs.includes("surface") && (
          <Download
            href={`${runPath(run.run_id)}/outputs/surface?format=png&sample=${sample}`}
            file={`surface-${shortId(run.run_id)}-${sample}.png`}
          >
            picture
          </Download>
        )}
      </div>
    </section>
  );
}
