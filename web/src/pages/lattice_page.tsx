import { useCallback, useEffect, useMemo, useState } from "preact/hooks";
import type { NumberArray } from "../api/npy";
import { getOutput, getReflections, getRun, MAX_REFLECTIONS, replaySample } from "../api/runs";
import type { Run, TraceRecord } from "../api/types";
import { REASONS, type Reason } from "../generated/choices";
import { contrastingScale, findExtent, scaleIndex } from "../colour";
import type { FlowPaths } from "../lattice/flow_paths";
import {
  type FlowFilter,
  findLineage,
  HIDDEN,
  NO_FILTER,
  computeEmphasis,
} from "../lattice/lineage";
import { loadFlowPaths } from "../lattice/load";
import { Player } from "../lattice/player";
import type { PlanePicture } from "../lattice/view";
import { ColourBar } from "../parts/colour_bar";
import { FlowCard } from "../parts/flow_card";
import { useLoad, useMedia, useTitle } from "../parts/hooks";
import { LatticeCanvas } from "../parts/lattice_canvas";
import { Missing, Notice, Waiting } from "../parts/notice";
import { PlaneThumbnail } from "../parts/plane_thumbnail";
import { loadReached } from "../parts/reached";
import { ALL_RECORDS, RecordsTable, describeRecord } from "../parts/records_table";
import { SamplePicker } from "../parts/sample_picker";
import { selectPlane } from "../parts/surface_panel";
import { Timeline } from "../parts/timeline";
import { getWholeNumber, linkTo, type Route, setParameters } from "../route";
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
  if (run.failure !== null && run.value === null) {
    return <Missing failure={run.failure} href="#/" back="All runs" />;
  }
  return (
    <>
      <div class="page-head page-head-tight">
        <div>
          {runId !== null && (
            <p class="crumb">
              <a href={linkTo(["runs", runId], { sample })}>Run {runId}</a>
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
      {loaded.value && (runId === null || run.value) && (
        <Lattice
          // Another sample starts at time 0, with no flow selected.
          key={`${sample}`}
          paths={loaded.value.paths}
          agrees={agreement?.agrees ?? null}
          planes={planes.value}
          run={run.value}
          route={route}
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
  /** null for invented flows. */
  run: Run | null;
  route: Route;
  runId: string | null;
  sample: number;
  title: string;
}

function Lattice({ paths, agrees, planes, run, route, runId, sample, title }: LatticeProps) {
  // The address has the step, from 0, after which flows are shown; without it, they are at the start.
  const step = getWholeNumber(route, "step", -1);
  const player = useMemo(() => {
    const made = new Player(paths.steps);
    made.seek(getWholeNumber(route, "step", -1) + 1);
    return made;
    // eslint-disable-next-line react-hooks/exhaustive-deps -- later steps are those of the player.
  }, [paths]);
  useStepInAddress(player, step, runId !== null);
  const dark = useMedia("(prefers-color-scheme: dark)");
  const scale = useMemo(() => contrastingScale(dark), [dark]);
  // Flows have no children where spawning is off.
  const hasChildren = run?.config.spawn?.mode !== "off";
  const [colouring, setColouring] = useState<Colouring>("energy");
  const [flowFilter, setFlowFilter] = useState<FlowFilter>(NO_FILTER);
  const chosen = getWholeNumber(route, "flow", -1);
  const selected = useMemo(() => paths.flow.indexOf(chosen), [paths, chosen]);
  const [showEnded, setShowEnded] = useState(true);
  const [wholeLineage, setWholeLineage] = useState(true);
  const [recordFilter, setRecordFilter] = useState({
    ...ALL_RECORDS,
    flow: selected < 0 ? null : chosen,
  });

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
    return [paintPlane(planes, 0, range, scale), paintPlane(planes, 1, range, scale)];
  }, [paths, planes, scale]);
  const input = useMemo(() => run && paintInput(paths, run, scale), [paths, run, scale]);
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
      setParameters({ flow: flow < 0 ? null : paths.flow[flow] });
      setRecordFilter((before) => ({
        ...before,
        flow: flow < 0 ? null : paths.flow[flow],
      }));
    },
    [paths],
  );
  useEffect(() => {
    // The address was changed elsewhere.
    if (selected >= 0) {
      setRecordFilter((before) => ({ ...before, flow: paths.flow[selected] }));
    }
  }, [paths, selected]);
  const pick = (direction: 1 | -1): void => {
    const count = emphasis.length;
    const from = selected < 0 && direction < 0 ? 0 : selected;
    for (let away = 1; away <= count; away++) {
      const flow = (from + direction * away + count) % count;
      if (emphasis[flow] !== HIDDEN) {
        select(flow);
        return;
      }
    }
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
            scale={scale}
            planes={pictures}
            onSelect={select}
            onPick={pick}
            title={title}
          />
          {(input ?? pictures[0]) && (
            <div class="lattice-inset">
              {input && <PlaneThumbnail name="input" picture={input} />}
              {pictures[0] && <PlaneThumbnail name="z0" picture={pictures[0]} />}
              {pictures[1] && <PlaneThumbnail name="zdepth" picture={pictures[1]} />}
            </div>
          )}
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
              {hasChildren && <option>generation</option>}
            </select>
          </label>
          <ColourBar scale={scale} low={colours.low} high={colours.high} label={colouring} />
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
              {hasChildren && <option value="spawned">flows with children</option>}
              <option value="reflected">reflected flows</option>
              {hasChildren && <option value="born">children</option>}
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
            <p class="quiet">
              {hasChildren
                ? "Click a flow to see its ancestors and descendants."
                : "Click a flow to see its path."}
            </p>
          ) : (
            <FlowCard
              hasChildren={hasChildren}
              paths={paths}
              player={player}
              flow={selected}
              onSelect={select}
            />
          )}
        </section>
      </div>
      {runId !== null && (
        <section class="panel">
          <div class="panel-head">
            <h2>Records</h2>
            {hasChildren && (
              <label class="check">
                <input
                  type="checkbox"
                  checked={wholeLineage}
                  onChange={(event) => setWholeLineage(event.currentTarget.checked)}
                />
                show the records of the whole lineage
              </label>
            )}
          </div>
          <RecordsTable
            runId={runId}
            sample={sample}
            filter={recordFilter}
            onFilter={(filter) => {
              setRecordFilter(filter);
              if (filter.flow !== recordFilter.flow) {
                setParameters({ flow: filter.flow });
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

/** Keep the step of the player in the address while it does not play, and follow the address. */
function useStepInAddress(player: Player, step: number, isKept: boolean): void {
  useEffect(() => {
    if (!player.playing && step !== Math.floor(player.time) - 1) {
      player.seek(step + 1);
    }
  }, [player, step]);
  useEffect(() => {
    if (!isKept) {
      return undefined;
    }
    return player.subscribe(() => {
      const done = Math.floor(player.time);
      if (!player.playing) {
        setParameters({ step: done === 0 ? null : done - 1 });
      }
    });
  }, [player, isKept]);
}

/** Return the energies with which flows start, in their cells of the input plane. */
function paintInput(paths: FlowPaths, run: Run, scale: Uint8Array): PlanePicture | null {
  const { lattice_width: width, lattice_height: height } = run.config;
  if (width === undefined || height === undefined) {
    return null;
  }
  const range = colourRows(paths, "energy");
  const cellOf = (at: number, side: number) => Math.round(((at + 1) / 2) * (side - 1));
  const colours = new Uint8Array(4 * width * height);
  for (let row = 0; row < (paths.stepStart[1] ?? 0); row++) {
    const x = cellOf(paths.position[3 * row], width);
    const y = cellOf(paths.position[3 * row + 1], height);
    const colour = 3 * scaleIndex(paths.energy[row], range.low, range.high);
    colours.set(scale.subarray(colour, colour + 3), 4 * (y * width + x));
    colours[4 * (y * width + x) + 3] = 255;
  }
  return { width, height, colours };
}

function paintPlane(
  { energies, reached }: Planes,
  plane: 0 | 1,
  range: RowColours,
  scale: Uint8Array,
): PlanePicture {
  const [height, width] = energies.shape.slice(-2);
  const marks = selectPlane(reached, plane);
  const colours = new Uint8Array(4 * width * height);
  selectPlane(energies, plane).forEach((value, index) => {
    const colour = 3 * scaleIndex(value, range.low, range.high);
    colours.set(scale.subarray(colour, colour + 3), 4 * index);
    colours[4 * index + 3] = marks[index] > 0 ? 235 : 0;
  });
  return { width, height, colours };
}
