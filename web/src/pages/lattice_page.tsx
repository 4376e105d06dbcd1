import { useCallback, useMemo, useState } from "preact/hooks";
import type { NumberArray } from "../api/npy";
import { getOutput, getReflections, getRun, MAX_REFLECTIONS, replaySample } from "../api/runs";
import type { Run, TraceRecord } from "../api/types";
import { REASONS, type Reason } from "../generated/choices";
import { findExtent, scaleIndex, viridis } from "../colour";
import type { FlowPaths } from "../lattice/flow_paths";
import { type FlowFilter, findLineage, NO_FILTER, computeEmphasis } from "../lattice/lineage";
import { loadFlowPaths } from "../lattice/load";
import { Player } from "../lattice/player";
import type { PlanePicture } from "../lattice/view";
import { ColourBar } from "../parts/colour_bar";
import { FlowCard } from "../parts/flow_card";
import { useLoad, useTitle } from "../parts/hooks";
import { LatticeCanvas } from "../parts/lattice_canvas";
import { Notice, Waiting } from "../parts/notice";
import { loadReached } from "../parts/reached";
import { ALL_RECORDS, RecordsTable, describeRecord } from "../parts/records_table";
import { SamplePicker } from "../parts/sample_picker";
import { selectPlane } from "../parts/surface_panel";
import { Timeline } from "../parts/timeline";
import { getWholeNumber, linkTo, type Route } from "../route";
import { formatCount, shortenId } from "../text/numbers";

type Colouring = "energy" | "age" | "generation";

interface LatticePageProps {
  /** null for invented flows. */
  runId: string | null;
  route: Route;
}

const NO_PLANES: [null, null] = [null, null];

/** The replayed paths of the flows of one sample in the lattice. */
export function LatticePage({ runId, route }: LatticePageProps) {
  useTitle(runId === null ? "Invented flows" : `Lattice of run ${shortenId(runId)}`);
  const sample = getWholeNumber(route, "sample");
  const flows = getWholeNumber(route, "flows", 50_000);
  const steps = getWholeNumber(route, "steps", 20);
  const run = useLoad(async (signal) => (runId === null ? null : getRun(runId, signal)), [runId]);
  const loaded = useLoad(
    (signal) =>
      runId === null
        ? loadFlowPaths({ kind: "demo", flows, steps }, signal)
        : replayFlows(runId, sample, signal),
    [runId, sample, flows, steps],
  );
  const planes = useLoad(
    async (signal) => run.value && loadPlanes(run.value, sample, signal),
    [run.value, sample],
  );
  const failure = run.failure ?? loaded.failure;
  const agreement = loaded.value?.agreement ?? null;
  const difference = agreement?.difference ?? null;
  const title =
    runId === null ? `${formatCount(flows)} invented flows` : `Flows of sample ${sample}`;
  return (
    <>
      <div class="page-head page-head-tight">
        <div>
          {runId !== null && (
            <p class="crumb">
              <a href={linkTo(["runs", runId], { sample })}>Run {shortenId(runId)}</a>
            </p>
          )}
          <h1>{title}</h1>
        </div>
        {run.value && <SamplePicker samples={run.value.progress.samples} sample={sample} />}
      </div>
      {failure !== null && <Notice tone="problem">{failure}</Notice>}
      {loaded.loading && (
        <Waiting what={runId === null ? "Creating flows" : "Replaying the sample"} />
      )}
      {agreement && !agreement.agrees && (
        <Notice tone="warning">
          {agreement.note === null
            ? "The replay differs from the trace of the run."
            : `The run was ${agreement.note}.`}{" "}
          The flows shown are those of the replay.
          {difference && (
            <dl class="difference">
              <dt>recorded, record {difference.seq}</dt>
              <dd>{describeRecord(difference.stored)}</dd>
              <dt>replayed</dt>
              <dd>{describeRecord(difference.replayed)}</dd>
            </dl>
          )}
        </Notice>
      )}
      {loaded.value && (
        <Lattice
          // Another sample starts at time 0, with no flow selected.
          key={`${sample}`}
          paths={loaded.value.paths}
          agrees={agreement?.agrees ?? null}
          planes={planes.value}
          runId={runId}
          sample={sample}
          title={title}
        />
      )}
    </>
  );
}

interface LatticeProps {
  paths: FlowPaths;
  agrees: boolean | null;
  planes: Planes | null;
  runId: string | null;
  sample: number;
  title: string;
}

function Lattice({ paths, agrees, planes, runId, sample, title }: LatticeProps) {
  const player = useMemo(() => new Player(paths.steps), [paths]);
  const [colouring, setColouring] = useState<Colouring>("energy");
  const [flowFilter, setFlowFilter] = useState<FlowFilter>(NO_FILTER);
  const [selected, setSelected] = useState(-1);
  const [showEnded, setShowEnded] = useState(true);
  const [wholeLineage, setWholeLineage] = useState(true);
  const [recordFilter, setRecordFilter] = useState(ALL_RECORDS);

  const colours = useMemo(() => colourRows(paths, colouring), [paths, colouring]);
  const emphasis = useMemo(
    () => computeEmphasis(paths, flowFilter, selected),
    [paths, flowFilter, selected],
  );
  const pictures = useMemo<[PlanePicture | null, PlanePicture | null]>(() => {
    if (planes === null) {
      return NO_PLANES;
    }
    // The planes have the colour scale of the energies of flows.
    const range = colourRows(paths, "energy");
    return [paintPlane(planes, 0, range), paintPlane(planes, 1, range)];
  }, [paths, planes]);
  const relatives = useMemo(() => {
    if (selected < 0 || !wholeLineage) {
      return [];
    }
    const members = findLineage(paths, selected);
    return Array.from(paths.flow)
      .filter((_, index) => members[index] && index !== selected)
      .slice(0, MAX_RELATIVES);
  }, [paths, selected, wholeLineage]);

  const select = useCallback(
    (flow: number) => {
      setSelected(flow);
      setRecordFilter((before) => ({
        ...before,
        flow: flow < 0 ? null : paths.flow[flow],
      }));
    },
    [paths],
  );
  const selectId = (id: number | null): void => {
    const index = id === null ? -1 : paths.flow.indexOf(id);
    setSelected(index);
  };
  const choose = (record: TraceRecord): void => {
    select(paths.flow.indexOf(record.flow));
    player.playing = false;
    player.seek(record.step + 1);
  };
  const shown = useMemo(
    () => emphasis.reduce((sum, value) => sum + (value ? 1 : 0), 0),
    [emphasis],
  );
  return (
    <>
      <div class="lattice">
        <section class="lattice-stage" aria-label="Flows in the lattice">
          <LatticeCanvas
            paths={paths}
            player={player}
            values={colours.values}
            emphasis={emphasis}
            showEnded={showEnded}
            planes={pictures}
            onSelect={select}
            title={title}
          />
          <Timeline player={player} />
        </section>
        <section class="lattice-side" aria-label="What is shown">
          <label class="row">
            colour by
            <select
              value={colouring}
              onChange={(event) => setColouring(event.currentTarget.value as Colouring)}
            >
              <option>energy</option>
              <option>age</option>
              <option>generation</option>
            </select>
          </label>
          <ColourBar scale={viridis} low={colours.low} high={colours.high} label={colouring} />
          <label class="row">
            show
            <select
              value={flowFilter.did}
              onChange={(event) =>
                setFlowFilter({
                  ...flowFilter,
                  did: event.currentTarget.value as FlowFilter["did"],
                })
              }
            >
              <option value="any">all flows</option>
              <option value="spawned">flows with children</option>
              <option value="reflected">reflected flows</option>
              <option value="born">children</option>
            </select>
          </label>
          <label class="row">
            that ended by
            <select
              value={flowFilter.reason}
              onChange={(event) =>
                setFlowFilter({
                  ...flowFilter,
                  reason: event.currentTarget.value as Reason | "any",
                })
              }
            >
              <option value="any">any reason</option>
              {REASONS.map((reason) => (
                <option key={reason}>{reason}</option>
              ))}
            </select>
          </label>
          <label class="check">
            <input
              type="checkbox"
              checked={showEnded}
              onChange={(event) => setShowEnded(event.currentTarget.checked)}
            />
            show flows that have ended
          </label>
          <p class="quiet" aria-live="polite">
            {formatCount(shown)} of {formatCount(paths.flow.length)} flows shown
            {agrees && "; the replay equals the recorded trace"}
          </p>
          <output class="hidden">
            {selected < 0 ? "no flow selected" : `flow ${paths.flow[selected]} selected`}
          </output>
          {selected < 0 ? (
            <p class="quiet">Click a flow to see its ancestors and descendants.</p>
          ) : (
            <FlowCard paths={paths} player={player} flow={selected} onSelect={select} />
          )}
        </section>
      </div>
      {runId !== null && (
        <section class="panel">
          <div class="panel-head">
            <h2>Records</h2>
            <label class="check">
              <input
                type="checkbox"
                checked={wholeLineage}
                onChange={(event) => setWholeLineage(event.currentTarget.checked)}
              />
              show the records of the whole lineage
            </label>
          </div>
          <RecordsTable
            runId={runId}
            sample={sample}
            filter={recordFilter}
            onFilter={(filter) => {
              setRecordFilter(filter);
              if (filter.flow !== recordFilter.flow) {
                selectId(filter.flow);
              }
            }}
            onChoose={choose}
            chosen={selected < 0 ? null : paths.flow[selected]}
            relatives={relatives}
          />
        </section>
      )}
    </>
  );
}

async function replayFlows(runId: string, sample: number, signal: AbortSignal) {
  const [run, answer, reflections] = await Promise.all([
    getRun(runId, signal),
    replaySample(runId, sample, signal),
    getReflections(runId, sample, signal),
  ]);
  const counts = run.trace;
  // In a complete trace, a step without a reflect record met no wall.
  const isComplete =
    counts !== null &&
    counts.dropped.reflect === 0 &&
    counts.recorded.reflect === counts.totals.reflect &&
    counts.totals.reflect < MAX_REFLECTIONS;
  return loadFlowPaths({ kind: "replay", answer, reflections, isComplete }, signal);
}

/** Limit the length of the address of a request. */
const MAX_RELATIVES = 300;

interface RowColours {
  values: Float32Array;
  low: number;
  high: number;
}

/** Return the colour of each row. The scale covers the rows of steps; initial values may be beyond it. */
function colourRows(paths: FlowPaths, colouring: Colouring): RowColours {
  const started = paths.stepStart[1] ?? 0;
  const source =
    colouring === "energy"
      ? paths.energy
      : colouring === "age"
        ? paths.age
        : Float32Array.from(paths.rowFlow, (flow) => paths.generation[flow]);
  const [low, high] = findExtent(started < source.length ? source.subarray(started) : source);
  const span = high - low || 1;
  const values = source.map((value) => Math.max(0, Math.min(1, (value - low) / span)));
  return { values, low, high };
}

interface Planes {
  energies: NumberArray;
  /** 0 in cells that are not reached. */
  reached: NumberArray;
}

/** Load the energies of the exit planes, and where flows reached them; null where a run lacks one. */
async function loadPlanes(run: Run, sample: number, signal: AbortSignal): Promise<Planes | null> {
  if (!run.outputs.includes("planes")) {
    return null;
  }
  const [energies, reached] = await Promise.all([
    getOutput(run.run_id, "planes", sample, signal),
    loadReached(run, sample, signal),
  ]);
  return reached && { energies, reached };
}

function paintPlane({ energies, reached }: Planes, plane: 0 | 1, range: RowColours): PlanePicture {
  const [height, width] = energies.shape.slice(-2);
  const marks = selectPlane(reached, plane);
  const colours = new Uint8Array(4 * width * height);
  selectPlane(energies, plane).forEach((value, index) => {
    const colour = 3 * scaleIndex(value, range.low, range.high);
    colours.set(viridis.subarray(colour, colour + 3), 4 * index);
    colours[4 * index + 3] = marks[index] > 0 ? 235 : 0;
  });
  return { width, height, colours };
}
