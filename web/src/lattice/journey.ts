/**
 * A replay as columns of typed arrays, in the order in which the view reads them.
 *
 * A *row* is a flow's place after one step; rows are sorted by step, then flow. A *place in time* T
 * runs from 0 (flows at their start) to `steps` (all have ended): between k and k + 1, step k
 * happens.
 */

import { PLANES, REASONS, type Replay } from "../api/types";
import { fold, mirror, unfold } from "./fold";

export interface Journey {
  /** Ids of the flows; everything else names a flow by its index here. */
  flow: Int32Array;
  /** Index of the parent; −1 for an initial flow. */
  parent: Int32Array;
  generation: Int32Array;
  /** Step of the first row: −1 for an initial flow. */
  bornStep: Int32Array;
  /** Step of the last row. */
  endStep: Int32Array;
  /** Index into REASONS, −1 where a flow has not ended. */
  reason: Int8Array;
  /** Index into PLANES, −1 where a flow was not tallied. */
  plane: Int8Array;
  hasSpawned: Uint8Array;
  hasReflected: Uint8Array;

  rowFlow: Int32Array;
  rowStep: Int32Array;
  /** x, y, z of each row. */
  position: Float32Array;
  energy: Float32Array;
  age: Float32Array;
  /** Row of the same flow one step before; −1 for its first. */
  previous: Int32Array;
  /** x and y where the step would have led without walls; folded, they are the position. */
  aim: Float32Array;
  /** 1 where the way of a step cannot be told, and the flow is shown to move at once. */
  atOnce: Uint8Array;
  /** Rows of step s are those from stepStart[s + 1] up to stepStart[s + 2]. */
  stepStart: Int32Array;
  steps: number;
  /** Flows by the step of their end, and where each ended. */
  endOrder: Int32Array;
  lastRow: Int32Array;
  trails: Trails | null;
}

/** Pieces of line along the ways of all flows, by step; broken where a way is folded at a wall. */
export interface Trails {
  /** Two points of x, y, z a piece. */
  position: Float32Array;
  /** Place in time of each of those points. */
  time: Float32Array;
  row: Int32Array;
  /** Pieces of step s are those from stepStart[s] up to stepStart[s + 1]. */
  stepStart: Int32Array;
}

type Numbers = ArrayLike<number>;

export interface ReplayColumns {
  flows: {
    flow: Numbers;
    parent: Numbers;
    generation: Numbers;
    reason: ArrayLike<string | number | null>;
    plane: ArrayLike<string | number | null>;
  };
  path: { [Column in keyof Replay["path"]]: Numbers };
}

/** What the run's trace says about walls. */
export interface Reflections {
  records: { flow: number; step: number; code: number }[];
  /** Whether there were no others. */
  complete: boolean;
}

const NO_REFLECTIONS: Reflections = { records: [], complete: false };

/** Beyond this, lines along the ways would take more memory than they are worth. */
const MOST_TRAIL_ROWS = 2_000_000;

export function buildJourney(
  { flows, path }: ReplayColumns,
  reflections: Reflections = NO_REFLECTIONS,
): Journey {
  const flow = Int32Array.from(flows.flow);
  const indexOf = indexer(flow);
  const rows = path.step.length;
  const steps = rows ? path.step[rows - 1] + 1 : 0;

  const parent = Int32Array.from(flows.parent, (id) => (id < 0 ? -1 : indexOf(id)));
  const hasSpawned = new Uint8Array(flow.length);
  for (const index of parent) {
    if (index >= 0) {
      hasSpawned[index] = 1;
    }
  }

  const rowFlow = Int32Array.from(path.flow, indexOf);
  const rowStep = Int32Array.from(path.step);
  const bornStep = new Int32Array(flow.length).fill(-1);
  const previous = new Int32Array(rows);
  const lastRow = new Int32Array(flow.length).fill(-1);
  for (let row = 0; row < rows; row++) {
    const index = rowFlow[row];
    previous[row] = lastRow[index];
    if (lastRow[index] < 0) {
      bornStep[index] = rowStep[row];
    }
    lastRow[index] = row;
  }
  const endStep = lastRow.map((row) => (row < 0 ? -1 : rowStep[row]));

  const position = new Float32Array(3 * rows);
  for (let row = 0; row < rows; row++) {
    position[3 * row] = path.x[row];
    position[3 * row + 1] = path.y[row];
    position[3 * row + 2] = path.z[row];
  }
  const reason = code(flows.reason, REASONS);
  const journey: Journey = {
    flow,
    parent,
    generation: Int32Array.from(flows.generation),
    bornStep,
    endStep,
    reason,
    plane: code(flows.plane, PLANES),
    hasSpawned,
    hasReflected: new Uint8Array(flow.length),
    rowFlow,
    rowStep,
    position,
    energy: Float32Array.from(path.energy),
    age: Float32Array.from(path.age),
    previous,
    aim: new Float32Array(2 * rows),
    atOnce: new Uint8Array(rows),
    stepStart: stepStarts(rowStep, steps + 1, -1),
    steps,
    endOrder: Int32Array.from(flow.keys()).sort((a, b) => endStep[a] - endStep[b] || a - b),
    lastRow,
    trails: null,
  };
  findWays(journey, path.length, wallsOf(journey, reflections, indexOf), reflections.complete);
  journey.trails = rows <= MOST_TRAIL_ROWS ? layTrails(journey) : null;
  return journey;
}

function indexer(ids: Int32Array): (id: number) => number {
  if (ids.every((id, index) => id === index)) {
    return (id) => id;
  }
  const places = new Map(Array.from(ids, (id, index) => [id, index] as const));
  return (id) => places.get(id) ?? -1;
}

function code(values: ArrayLike<string | number | null>, names: readonly string[]): Int8Array {
  return Int8Array.from(Array.from(values), (value) =>
    typeof value === "number" ? value : value === null ? -1 : names.indexOf(value),
  );
}

/** Where each step begins in a sorted column, with one more entry for the end. */
function stepStarts(sorted: Int32Array, count: number, first: number): Int32Array {
  const starts = new Int32Array(count + 1);
  for (const step of sorted) {
    starts[step - first + 1] += 1;
  }
  for (let index = 1; index <= count; index++) {
    starts[index] += starts[index - 1];
  }
  return starts;
}

/** Walls that the flow of a row met, as the bits of its record; 0 where no record says. */
function wallsOf(
  journey: Journey,
  { records }: Reflections,
  indexOf: (id: number) => number,
): Uint8Array {
  const walls = new Uint8Array(journey.rowFlow.length);
  for (const { flow, step, code: bits } of records) {
    const row = rowAt(journey, indexOf(flow), step);
    if (row >= 0) {
      walls[row] = bits;
    }
  }
  return walls;
}

/** Finds where each step led before walls folded it: from its record, or else from its length. */
function findWays(journey: Journey, lengths: Numbers, walls: Uint8Array, complete: boolean): void {
  const { position, previous, aim, atOnce, rowFlow, lastRow, reason, plane, hasReflected } =
    journey;
  const reached = REASONS.indexOf("plane");
  for (let row = 0; row < previous.length; row++) {
    const from = 3 * previous[row];
    const to = 3 * row;
    const [x, y] = position.subarray(to, to + 2);
    aim[2 * row] = x;
    aim[2 * row + 1] = y;
    if (from < 0 || (complete && walls[row] === 0)) {
      continue;
    }
    const flow = rowFlow[row];
    // A flow that was tallied went on beyond its plane, or was moved there: its z says little.
    const tallied = lastRow[flow] === row && plane[flow] >= 0;
    const dz = tallied && reason[flow] !== reached ? 0 : position[to + 2] - position[from + 2];
    const way = walls[row]
      ? mirror(x, y, walls[row])
      : unfold(position[from], position[from + 1], x, y, dz, lengths[row], tallied);
    if (way === null) {
      atOnce[row] = 1;
    } else {
      [aim[2 * row], aim[2 * row + 1]] = way;
      if (way[0] !== x || way[1] !== y) {
        hasReflected[flow] = 1;
      }
    }
  }
}

/** Where a line from `from` to `to`, both along one axis, crosses a wall: its share of the way. */
function crossing(from: number, to: number): number {
  if (Math.abs(to) <= 1) {
    return Infinity;
  }
  return (Math.sign(to) - from) / (to - from);
}

function layTrails(journey: Journey): Trails {
  const { position, previous, aim, atOnce, rowStep, steps } = journey;
  const pieces = { count: 0 };
  // At most two walls are crossed in a step, so a way has at most three pieces.
  const eachPiece = (lay: (row: number, start: number, end: number) => void): void => {
    for (let row = 0; row < previous.length; row++) {
      const from = previous[row];
      if (from < 0 || atOnce[row]) {
        continue;
      }
      const cuts = [
        crossing(position[3 * from], aim[2 * row]),
        crossing(position[3 * from + 1], aim[2 * row + 1]),
      ].sort((a, b) => a - b);
      let start = 0;
      for (const cut of cuts) {
        if (cut > start && cut < 1) {
          lay(row, start, cut);
          start = cut;
        }
      }
      lay(row, start, 1);
    }
  };
  eachPiece(() => {
    pieces.count += 1;
  });
  const trails: Trails = {
    position: new Float32Array(6 * pieces.count),
    time: new Float32Array(2 * pieces.count),
    row: new Int32Array(pieces.count),
    stepStart: new Int32Array(0),
  };
  let piece = 0;
  eachPiece((row, start, end) => {
    const from = 3 * previous[row];
    for (const [side, share] of [
      [0, start],
      [1, end],
    ]) {
      const at = 6 * piece + 3 * side;
      const x = position[from] + share * (aim[2 * row] - position[from]);
      const y = position[from + 1] + share * (aim[2 * row + 1] - position[from + 1]);
      const z = position[from + 2] + share * (position[3 * row + 2] - position[from + 2]);
      trails.position.set([fold(x), fold(y), z], at);
      trails.time[2 * piece + side] = rowStep[row] + share;
    }
    trails.row[piece] = row;
    piece += 1;
  });
  trails.stepStart = stepStarts(
    trails.row.map((row) => rowStep[row]),
    steps,
    0,
  );
  return trails;
}

/** Buffers that may be handed to another thread instead of being copied. */
export function buffersOf(journey: Journey): ArrayBuffer[] {
  const columns: unknown[] = [journey, journey.trails ?? {}].flatMap((part) => Object.values(part));
  return columns
    .filter((column) => ArrayBuffer.isView(column))
    .map((column) => column.buffer as ArrayBuffer);
}

/** Row of a flow at a step; −1 where it has none. */
export function rowAt(journey: Journey, flow: number, step: number): number {
  let low = journey.stepStart[step + 1] ?? 0;
  let high = journey.stepStart[step + 2] ?? 0;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (journey.rowFlow[middle] < flow) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low < (journey.stepStart[step + 2] ?? 0) && journey.rowFlow[low] === flow ? low : -1;
}
