/**
 * A replay as columns of typed arrays, in the order in which the view reads them.
 *
 * A *row* is the position of a flow after a step. Rows are sorted by step, then by flow. *Time* is
 * a number from 0 (all flows at their start) to `steps` (all flows have ended). Between k and k + 1,
 * flows make step k.
 */

import type { Replay } from "../api/types";
import { PLANES, REASONS } from "../generated/choices";
import { fold, mirror, unfold } from "./fold";

export interface FlowPaths {
  /** Ids of the flows; the other columns refer to a flow by its index here. */
  flow: Int32Array;
  /** Index of the parent; −1 for an initial flow. */
  parent: Int32Array;
  generation: Int32Array;
  /** Step of the first row: −1 for an initial flow. */
  bornStep: Int32Array;
  /** Step of the last row. */
  endStep: Int32Array;
  /** Code of the reason; −1 for a flow that has not ended. */
  reason: Int8Array;
  /** Code of the exit plane; −1 for a flow that was not tallied. */
  plane: Int8Array;
  hasSpawned: Uint8Array;
  hasReflected: Uint8Array;

  rowFlow: Int32Array;
  rowStep: Int32Array;
  /** x, y, z of each row. */
  position: Float32Array;
  energy: Float32Array;
  age: Float32Array;
  /** Row of the same flow one step before; −1 for its first row. */
  previous: Int32Array;
  /** x and y to which the step would have led without walls. */
  target: Float32Array;
  /** 1 where the path of a step is unknown, so that the flow is moved without a transition. */
  jumps: Uint8Array;
  /** Rows of step s are those from stepStart[s + 1] up to stepStart[s + 2]. */
  stepStart: Int32Array;
  steps: number;
  /** Flows that have ended, sorted by the step of their end. */
  endOrder: Int32Array;
  /** Last row of each flow. */
  lastRow: Int32Array;
  trails: Trails | null;
}

/** Line segments along the paths of all flows, sorted by step; a reflection begins a new one. */
export interface Trails {
  /** x, y and z of the two points of each segment. */
  position: Float32Array;
  /** Time of each of those points. */
  time: Float32Array;
  row: Int32Array;
  /** Segments of step s are those from stepStart[s] up to stepStart[s + 1]. */
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

/** The reflect records of the trace of the run. */
export interface Reflections {
  records: { flow: number; step: number; code: number }[];
  /** Whether the trace has lost none. */
  isComplete: boolean;
}

const NO_REFLECTIONS: Reflections = { records: [], isComplete: false };

/** Trails of more rows would need too much memory. */
const MAX_TRAIL_ROWS = 2_000_000;

export function buildFlowPaths(
  { flows, path }: ReplayColumns,
  reflections: Reflections = NO_REFLECTIONS,
): FlowPaths {
  const flow = Int32Array.from(flows.flow);
  const indexOf = buildIndex(flow);
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
  const reason = encode(flows.reason, REASONS);
  const paths: FlowPaths = {
    flow,
    parent,
    generation: Int32Array.from(flows.generation),
    bornStep,
    endStep,
    reason,
    plane: encode(flows.plane, PLANES),
    hasSpawned,
    hasReflected: new Uint8Array(flow.length),
    rowFlow,
    rowStep,
    position,
    energy: Float32Array.from(path.energy),
    age: Float32Array.from(path.age),
    previous,
    target: new Float32Array(2 * rows),
    jumps: new Uint8Array(rows),
    stepStart: findStepStarts(rowStep, steps + 1, -1),
    steps,
    endOrder: Int32Array.from(flow.keys()).sort((a, b) => endStep[a] - endStep[b] || a - b),
    lastRow,
    trails: null,
  };
  findTargets(
    paths,
    path.length,
    collectWalls(paths, reflections, indexOf),
    reflections.isComplete,
  );
  paths.trails = rows <= MAX_TRAIL_ROWS ? buildTrails(paths) : null;
  return paths;
}

function buildIndex(ids: Int32Array): (id: number) => number {
  if (ids.every((id, index) => id === index)) {
    return (id) => id;
  }
  const places = new Map(Array.from(ids, (id, index) => [id, index] as const));
  return (id) => places.get(id) ?? -1;
}

function encode(values: ArrayLike<string | number | null>, names: readonly string[]): Int8Array {
  return Int8Array.from(Array.from(values), (value) =>
    typeof value === "number" ? value : value === null ? -1 : names.indexOf(value),
  );
}

/** Return where each step begins in a sorted column, with one more entry for the end. */
function findStepStarts(sorted: Int32Array, count: number, first: number): Int32Array {
  const starts = new Int32Array(count + 1);
  for (const step of sorted) {
    starts[step - first + 1] += 1;
  }
  for (let index = 1; index <= count; index++) {
    starts[index] += starts[index - 1];
  }
  return starts;
}

/** Return the walls that the flow of each row met, as bits; 0 for a row without a record. */
function collectWalls(
  paths: FlowPaths,
  { records }: Reflections,
  indexOf: (id: number) => number,
): Uint8Array {
  const walls = new Uint8Array(paths.rowFlow.length);
  for (const { flow, step, code: bits } of records) {
    const row = findRow(paths, indexOf(flow), step);
    if (row >= 0) {
      walls[row] = bits;
    }
  }
  return walls;
}

/** Find the target of each step before reflections, from its record or else from its length. */
function findTargets(
  paths: FlowPaths,
  lengths: Numbers,
  walls: Uint8Array,
  isComplete: boolean,
): void {
  const { position, previous, target, jumps, rowFlow, lastRow, reason, plane, hasReflected } =
    paths;
  const reached = REASONS.indexOf("plane");
  for (let row = 0; row < previous.length; row++) {
    const from = 3 * previous[row];
    const to = 3 * row;
    const [x, y] = position.subarray(to, to + 2);
    target[2 * row] = x;
    target[2 * row + 1] = y;
    if (from < 0 || (isComplete && walls[row] === 0)) {
      continue;
    }
    const flow = rowFlow[row];
    // A tallied flow moved beyond its plane, or was moved to it: its z is not that of the step.
    const tallied = lastRow[flow] === row && plane[flow] >= 0;
    const dz = tallied && reason[flow] !== reached ? 0 : position[to + 2] - position[from + 2];
    const found = walls[row]
      ? mirror(x, y, walls[row])
      : unfold(position[from], position[from + 1], x, y, dz, lengths[row], tallied);
    if (found === null) {
      jumps[row] = 1;
    } else {
      [target[2 * row], target[2 * row + 1]] = found;
      if (found[0] !== x || found[1] !== y) {
        hasReflected[flow] = 1;
      }
    }
  }
}

/** Return the fraction of the line from `from` to `to`, along one axis, at which it meets a wall. */
function findCrossing(from: number, to: number): number {
  if (Math.abs(to) <= 1) {
    return Infinity;
  }
  return (Math.sign(to) - from) / (to - from);
}

function buildTrails(paths: FlowPaths): Trails {
  const { position, previous, target, jumps, rowStep, steps } = paths;
  const pieces = { count: 0 };
  // A step meets at most two walls, so its path has at most three segments.
  const eachPiece = (lay: (row: number, start: number, end: number) => void): void => {
    for (let row = 0; row < previous.length; row++) {
      const from = previous[row];
      if (from < 0 || jumps[row]) {
        continue;
      }
      const cuts = [
        findCrossing(position[3 * from], target[2 * row]),
        findCrossing(position[3 * from + 1], target[2 * row + 1]),
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
      const x = position[from] + share * (target[2 * row] - position[from]);
      const y = position[from + 1] + share * (target[2 * row + 1] - position[from + 1]);
      const z = position[from + 2] + share * (position[3 * row + 2] - position[from + 2]);
      trails.position.set([fold(x), fold(y), z], at);
      trails.time[2 * piece + side] = rowStep[row] + share;
    }
    trails.row[piece] = row;
    piece += 1;
  });
  trails.stepStart = findStepStarts(
    trails.row.map((row) => rowStep[row]),
    steps,
    0,
  );
  return trails;
}

/** Return the buffers that can be transferred to another thread. */
export function listBuffers(paths: FlowPaths): ArrayBuffer[] {
  const columns: unknown[] = [paths, paths.trails ?? {}].flatMap((part) => Object.values(part));
  return columns
    .filter((column) => ArrayBuffer.isView(column))
    .map((column) => column.buffer as ArrayBuffer);
}

/** Return the row of a flow at a step; −1 where it has none. */
export function findRow(paths: FlowPaths, flow: number, step: number): number {
  let low = paths.stepStart[step + 1] ?? 0;
  let high = paths.stepStart[step + 2] ?? 0;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (paths.rowFlow[middle] < flow) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low < (paths.stepStart[step + 2] ?? 0) && paths.rowFlow[low] === flow ? low : -1;
}
