import { useCallback, useMemo, useState } from "preact/hooks";
import type { NumberArray } from "../api/npy";
import { getOutput, getReflections, getRun, MOST_REFLECTIONS, replay } from "../api/runs";
import { REASONS, type Reason, type Run, type TraceRecord } from "../api/types";
import { extent, place, viridis } from "../colour";
import type { Journey } from "../lattice/journey";
import { type FlowFilter, lineage, NO_FILTER, standings } from "../lattice/lineage";
import { readJourney } from "../lattice/load";
import { Player } from "../lattice/player";
import type { PlanePicture } from "../lattice/view";
import { ColourBar } from "../parts/colour_bar";
import { FlowCard } from "../parts/flow_card";
import { useLoad, useTitle } from "../parts/hooks";
import { LatticeCanvas } from "../parts/lattice_canvas";
import { Notice, Waiting } from "../parts/notice";
import { ALL_RECORDS, RecordsTable, recordWords } from "../parts/records_table";
import { SamplePicker } from "../parts/sample_picker";
import { cut } from "../parts/surface_panel";
import { Timeline } from "../parts/timeline";
import { address, type Route } from "../route";
import { count, shortId } from "../text/numbers";

type Colouring = "energy" | "age" | "generation";

interface LatticePageProps {
  /** null for made-up flows, to see how many the view carries. */
  runId: string | null;
  route: Route;
}

const NO_PLANES: [null, null] = [null, null];

/** The flows of one sample on their replayed way through the lattice. */
export function LatticePage({ runId, route }: LatticePageProps) {
  useTitle(runId === null ? "Made-up flows" : `Lattice of run ${shortId(runId)}`);
  const sample = Number(route.values.get("sample") ?? 0);
  const flows = Number(route.values.get("flows") ?? 50_000);
  const steps = Number(route.values.get("steps") ?? 20);
  const run = useLoad(async (signal) => (runId === null ? null : getRun(runId, signal)), [runId]);
  const loaded = useLoad(
    (signal) =>
      runId === null
        ? readJourney({ kind: "demo", flows, steps }, signal)
        : replayJourney(runId, sample, signal),
    [runId, sample, flows, steps],
  );
  const planes = useLoad(
    async (signal) => run.value && loadPlanes(run.value, sample, signal),
    [run.value, sample],
  );
  const difference = loaded.value?.agreement?.difference ?? null;
  const title = runId === null ? `${count(flows)} made-up flows` : `Flows of sample ${sample}`;
  return (
    <>
      <div class="page-head page-head-tight">
        <div>
          {runId !== null && (
            <p class="crumb">
              <a href={address(["runs", runId], { sample })}>Run {shortId(runId)}</a>
            </p>
          )}
          <h1>{title}</h1>
        </div>
        {run.value && <SamplePicker samples={run.value.progress.samples} sample={sample} />}
      </div>
      {run.failure !== null && <Notice tone="problem">{run.failure}</Notice>}
      {loaded.failure !== null && <Notice tone="problem">{loaded.failure}</Notice>}
      {loaded.loading && (
        <Waiting what={runId === null ? "Making flows" : "Replaying the sample"} />
      )}
      {loaded.value?.agreement && !loaded.value.agreement.agrees && (
        <Notice tone="warning">
          The replay differs from what the run recorded; the flows shown are the replay's.
          {difference && (
            <dl class="parting">
              <dt>recorded, record {difference.seq}</dt>
              <dd>{recordWords(difference.stored)}</dd>
              <dt>replayed</dt>
              <dd>{recordWords(difference.replayed)}</dd>
            </dl>
          )}
        </Notice>
      )}
      {loaded.value && (
        <Lattice
          // Another journey starts afresh: nothing picked, at the beginning of time.
          key={`${sample}`}
          journey={loaded.value.journey}
          agrees={loaded.value.agreement?.agrees ?? null}
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
  journey: Journey;
  agrees: boolean | null;
  planes: Planes | null;
  runId: string | null;
  sample: number;
  title: string;
}

function Lattice({ journey, agrees, planes, runId, sample, title }: LatticeProps) {
  const player = useMemo(() => new Player(journey.steps), [journey]);
  const [colouring, setColouring] = useState<Colouring>("energy");
  const [flowFilter, setFlowFilter] = useState<FlowFilter>(NO_FILTER);
  const [picked, setPicked] = useState(-1);
  const [showArrived, setShowArrived] = useState(true);
  const [wholeLineage, setWholeLineage] = useState(true);
  const [recordFilter, setRecordFilter] = useState(ALL_RECORDS);

  const colours = useMemo(() => colourRows(journey, colouring), [journey, colouring]);
  const standing = useMemo(
    () => standings(journey, flowFilter, picked),
    [journey, flowFilter, picked],
  );
  const pictures = useMemo<[PlanePicture | null, PlanePicture | null]>(() => {
    if (planes === null) {
      return NO_PLANES;
    }
    // The planes show energies, in the colours that energies of flows have.
    const range = colourRows(journey, "energy");
    return [paintPlane(planes, 0, range), paintPlane(planes, 1, range)];
  }, [journey, planes]);
  const relatives = useMemo(() => {
    if (picked < 0 || !wholeLineage) {
      return [];
    }
    const members = lineage(journey, picked);
    return Array.from(journey.flow)
      .filter((_, index) => members[index] && index !== picked)
      .slice(0, MOST_RELATIVES);
  }, [journey, picked, wholeLineage]);

  const pick = useCallback(
    (flow: number) => {
      setPicked(flow);
      setRecordFilter((before) => ({
        ...before,
        flow: flow < 0 ? null : journey.flow[flow],
      }));
    },
    [journey],
  );
  const pickId = (id: number | null): void => {
    const index = id === null ? -1 : journey.flow.indexOf(id);
    setPicked(index);
  };
  const choose = (record: TraceRecord): void => {
    pick(journey.flow.indexOf(record.flow));
    player.playing = false;
    player.seek(record.step + 1);
  };
  const shown = useMemo(
    () => standing.reduce((sum, value) => sum + (value ? 1 : 0), 0),
    [standing],
  );
  return (
    <>
      <div class="lattice">
        <section class="lattice-stage" aria-label="Flows in the lattice">
          <LatticeCanvas
            journey={journey}
            player={player}
            values={colours.values}
            standing={standing}
            showArrived={showArrived}
            planes={pictures}
            onPick={pick}
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
            show flows that
            <select
              value={flowFilter.did}
              onChange={(event) =>
                setFlowFilter({
                  ...flowFilter,
                  did: event.currentTarget.value as FlowFilter["did"],
                })
              }
            >
              <option value="any">did anything</option>
              <option value="spawned">spawned</option>
              <option value="reflected">were reflected</option>
              <option value="born">were spawned</option>
            </select>
          </label>
          <label class="row">
            and ended by
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
              checked={showArrived}
              onChange={(event) => setShowArrived(event.currentTarget.checked)}
            />
            keep flows where they ended
          </label>
          <p class="quiet" aria-live="polite">
            {count(shown)} of {count(journey.flow.length)} flows shown
            {agrees && "; the replay equals the recorded trace"}
          </p>
          <output class="hidden">
            {picked < 0 ? "no flow picked" : `flow ${journey.flow[picked]} picked`}
          </output>
          {picked < 0 ? (
            <p class="quiet">Click a flow to see where it came from and what came of it.</p>
          ) : (
            <FlowCard journey={journey} player={player} flow={picked} onPick={pick} />
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
              of a picked flow, the records of its whole lineage
            </label>
          </div>
          <RecordsTable
            runId={runId}
            sample={sample}
            filter={recordFilter}
            onFilter={(filter) => {
              setRecordFilter(filter);
              if (filter.flow !== recordFilter.flow) {
                pickId(filter.flow);
              }
            }}
            onChoose={choose}
            chosen={picked < 0 ? null : journey.flow[picked]}
            relatives={relatives}
          />
        </section>
      )}
    </>
  );
}

async function replayJourney(runId: string, sample: number, signal: AbortSignal) {
  const [run, answer, reflections] = await Promise.all([
    getRun(runId, signal),
    replay(runId, sample, signal),
    getReflections(runId, sample, signal),
  ]);
  const counts = run.trace;
  // Of a trace that lost none, what it does not tell of did not happen.
  const complete =
    counts !== null &&
    counts.dropped.reflect === 0 &&
    counts.recorded.reflect === counts.totals.reflect &&
    counts.totals.reflect < MOST_REFLECTIONS;
  return readJourney({ kind: "replay", answer, reflections, complete }, signal);
}

/** The address of a request should not grow without bounds. */
const MOST_RELATIVES = 300;

interface RowColours {
  values: Float32Array;
  low: number;
  high: number;
}

/** Colours by what flows became on their way; what they started with may lie beyond the scale. */
function colourRows(journey: Journey, colouring: Colouring): RowColours {
  const started = journey.stepStart[1] ?? 0;
  const source =
    colouring === "energy"
      ? journey.energy
      : colouring === "age"
        ? journey.age
        : Float32Array.from(journey.rowFlow, (flow) => journey.generation[flow]);
  const [low, high] = extent(started < source.length ? source.subarray(started) : source);
  const span = high - low || 1;
  const values = source.map((value) => Math.max(0, Math.min(1, (value - low) / span)));
  return { values, low, high };
}

interface Planes {
  energies: NumberArray;
  hits: NumberArray;
}

/** What ended on the two exit planes, where the run tells. */
async function loadPlanes(run: Run, sample: number, signal: AbortSignal): Promise<Planes | null> {
  if (!run.outputs.includes("planes") || !run.outputs.includes("hits")) {
    return null;
  }
  const [energies, hits] = await Promise.all([
    getOutput(run.run_id, "planes", sample, signal),
    getOutput(run.run_id, "hits", sample, signal),
  ]);
  return { energies, hits };
}

function paintPlane({ energies, hits }: Planes, plane: 0 | 1, range: RowColours): PlanePicture {
  const [height, width] = energies.shape.slice(-2);
  const arrived = cut(hits, plane);
  const colours = new Uint8Array(4 * width * height);
  cut(energies, plane).forEach((value, index) => {
    const colour = 3 * place(value, range.low, range.high);
    colours.set(viridis.subarray(colour, colour + 3), 4 * index);
    colours[4 * index + 3] = arrived[index] > 0 ? 235 : 0;
  });
  return { width, height, colours };
}
