import { describe, expect, it } from "vitest";
import type { Replay } from "../src/api/types";
import { createDemoReplay } from "../src/lattice/demo";
import { fold, unfold } from "../src/lattice/fold";
import { buildFlowPaths, findRow } from "../src/lattice/flow_paths";
import {
  DIM,
  HIDDEN,
  HIGHLIGHTED,
  findLineage,
  NO_FILTER,
  NORMAL,
  computeEmphasis,
} from "../src/lattice/lineage";
import { countEndedBefore } from "../src/lattice/positions";
import { Player } from "../src/lattice/player";

/**
 * Three steps of three flows. Flow 0 meets the wall at x = 1 in step 0 and leaves by zdepth in step
 * 1; flow 1 spawns flow 2 in step 0; both are projected in step 2.
 */
const REPLAY: Replay = {
  run_id: "r",
  sample: 0,
  flow: null,
  agrees: true,
  difference: null,
  note: null,
  flows: {
    flow: [0, 1, 2],
    parent: [-1, -1, 1],
    born_step: [-1, -1, 0],
    end_step: [1, 2, 2],
    reason: ["plane", "projected", "projected"],
    plane: [1, 0, 1],
    generation: [0, 0, 1],
  },
  path: {
    step: [-1, -1, 0, 0, 0, 1, 1, 1, 2, 2],
    flow: [0, 1, 0, 1, 2, 0, 1, 2, 1, 2],
    x: [0.9, 0, 0.8, 0, 0, 0.8, 0.1, 0.1, 0.1, 0.2],
    y: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    z: [0, 0, 0.5, -0.4, 0, 1, -0.4, 0.1, -0.5, 0.2],
    energy: [0.1, 0.2, 0.3, 0.4, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
    length: [
      0,
      0,
      Math.hypot(0.3, 0.5),
      0.4,
      0,
      0.9,
      0.1,
      Math.hypot(0.1, 0.1),
      0.1,
      Math.hypot(0.1, 0.1),
    ],
    age: [0, 0, 1, 1, 0, 2, 2, 1, 3, 2],
  },
};

describe("walls", () => {
  it("reflect what is beyond them", () => {
    expect(fold(0.3)).toBe(0.3);
    expect(fold(1.25)).toBeCloseTo(0.75);
    expect(fold(-1.25)).toBeCloseTo(-0.75);
    expect(fold(3.5)).toBeCloseTo(-0.5);
    expect(fold(-5.25)).toBeCloseTo(-0.75 + 0);
  });

  it("are found from the length of a displacement", () => {
    expect(unfold(0.9, 0, 0.8, 0, 0, 0.1, false)).toEqual([0.8, 0]);
    expect(unfold(0.9, 0, 0.8, 0, 0, 0.3, false)).toEqual([1.2, 0]);
    expect(unfold(-0.9, 0.95, -0.9, 0.95, 0, Math.hypot(0.2, 0.1), false)?.[0]).toBeCloseTo(-1.1);
    expect(unfold(0, 0, 0.1, 0, 0, 0.7, false)).toBeNull();
  });

  it("are unknown where a flow moved beyond a plane, unless one target alone is near enough", () => {
    expect(unfold(0, 0, 0.1, 0, 0.2, 0.5, true)).toEqual([0.1, 0]);
    expect(unfold(0.9, 0, 0.9, 0, 0.2, 0.5, true)).toBeNull();
  });
});

describe("paths of flows", () => {
  const paths = buildFlowPaths(REPLAY);

  it("have the first and the last step of each flow", () => {
    expect([...paths.bornStep]).toEqual([-1, -1, 0]);
    expect([...paths.endStep]).toEqual([1, 2, 2]);
    expect([...paths.plane]).toEqual([1, 0, 1]);
    expect([...paths.hasSpawned]).toEqual([0, 1, 0]);
    expect([...paths.hasReflected]).toEqual([1, 0, 0]);
    expect(paths.steps).toBe(3);
  });

  it("have rows by flow and step", () => {
    expect(findRow(paths, 2, 0)).toBe(4);
    expect(findRow(paths, 2, -1)).toBe(-1);
    expect(findRow(paths, 0, 2)).toBe(-1);
    expect(findRow(paths, 1, 2)).toBe(8);
    expect(findRow(paths, 1, 7)).toBe(-1);
  });

  it("link each row to the previous one", () => {
    expect([...paths.previous]).toEqual([-1, -1, 0, 1, -1, 2, 3, 4, 6, 7]);
  });

  it("begin a new segment at a reflection", () => {
    expect(paths.target[4]).toBeCloseTo(1.2);
    const trails = paths.trails;
    expect(trails).not.toBeNull();
    const row = 2;
    const pieces = [...(trails?.row ?? [])].flatMap((of, piece) => (of === row ? [piece] : []));
    expect(pieces).toHaveLength(2);
    const corner = trails?.position.slice(6 * pieces[0] + 3, 6 * pieces[0] + 6) ?? [];
    expect(corner[0]).toBeCloseTo(1);
    expect(corner[2]).toBeCloseTo(0.5 / 3);
    expect(trails?.time[2 * pieces[0] + 1]).toBeCloseTo(1 / 3);
  });

  it("sort flows by their end", () => {
    expect([0, 1, 2, 3].map((step) => countEndedBefore(paths, step))).toEqual([0, 0, 1, 3]);
  });

  it("prefer records of reflections to lengths", () => {
    const records = [{ flow: 1, step: 1, code: 4 }];
    const complete = buildFlowPaths(REPLAY, { records, isComplete: true });
    expect(complete.target[2 * 6 + 1]).toBe(-2);
    expect([...complete.hasReflected]).toEqual([0, 1, 0]);
    expect(complete.target[4]).toBeCloseTo(0.8);
    const partly = buildFlowPaths(REPLAY, { records, isComplete: false });
    expect([...partly.hasReflected]).toEqual([1, 1, 0]);
  });

  it("allow any ids", () => {
    const ids = new Map([
      [0, 10],
      [1, 20],
      [2, 400],
    ]);
    const rename = (values: number[]) => values.map((id) => ids.get(id) ?? id);
    const renamed = buildFlowPaths({
      flows: { ...REPLAY.flows, flow: rename(REPLAY.flows.flow), parent: [-1, -1, 20] },
      path: { ...REPLAY.path, flow: rename(REPLAY.path.flow) },
    });
    expect([...renamed.parent]).toEqual([-1, -1, 1]);
    expect([...renamed.rowFlow]).toEqual([...paths.rowFlow]);
  });
});

describe("lineage", () => {
  const paths = buildFlowPaths({
    flows: {
      ...REPLAY.flows,
      flow: [0, 1, 2, 3, 4],
      parent: [-1, -1, 1, 2, 0],
      generation: [0, 0, 1, 2, 1],
      reason: [...REPLAY.flows.reason, null, null],
      plane: [...REPLAY.flows.plane, -1, -1],
    },
    path: REPLAY.path,
  });

  it("has ancestors and descendants, and no siblings", () => {
    expect([...findLineage(paths, 1)]).toEqual([0, 1, 1, 1, 0]);
    expect([...findLineage(paths, 2)]).toEqual([0, 1, 1, 1, 0]);
    expect([...findLineage(paths, 4)]).toEqual([1, 0, 0, 0, 1]);
  });

  it("is highlighted; other flows are dimmed or hidden", () => {
    expect([...computeEmphasis(paths, NO_FILTER, -1)]).toEqual(Array(5).fill(NORMAL));
    expect([...computeEmphasis(paths, NO_FILTER, 2)]).toEqual([
      DIM,
      HIGHLIGHTED,
      HIGHLIGHTED,
      HIGHLIGHTED,
      DIM,
    ]);
    expect([...computeEmphasis(paths, { did: "any", reason: "plane" }, -1)]).toEqual([
      NORMAL,
      HIDDEN,
      HIDDEN,
      HIDDEN,
      HIDDEN,
    ]);
    expect([...computeEmphasis(paths, { did: "born", reason: "any" }, -1)]).toEqual([
      HIDDEN,
      HIDDEN,
      NORMAL,
      NORMAL,
      NORMAL,
    ]);
  });
});

describe("invented flows", () => {
  it("stay inside the walls", () => {
    const paths = buildFlowPaths(createDemoReplay(400, 6));
    expect(paths.rowFlow).toHaveLength(400 * 7);
    expect(paths.position.every((value) => Math.abs(value) <= 1)).toBe(true);
    const odd = paths.jumps.reduce((sum, value) => sum + value, 0);
    expect(odd / paths.jumps.length).toBeLessThan(0.05);
    expect(paths.hasReflected).toContain(1);
  });
});

describe("a player", () => {
  it("plays to the end, stops there, and restarts", () => {
    const player = new Player(2);
    player.toggle();
    for (let frame = 0; frame < 40; frame++) {
      player.advance(100);
    }
    expect([player.time, player.playing]).toEqual([2, false]);
    player.toggle();
    expect([player.time, player.playing]).toEqual([0, true]);
  });

  it("steps to whole steps", () => {
    const player = new Player(3);
    player.seek(1.4);
    player.step(1);
    expect(player.time).toBe(2);
    player.seek(1.4);
    player.step(-1);
    expect(player.time).toBe(1);
    player.step(-1);
    player.step(-1);
    expect(player.time).toBe(0);
  });

  it("notifies its listeners until they unsubscribe", () => {
    const player = new Player(3);
    let complete = 0;
    const stop = player.subscribe(() => {
      complete += 1;
    });
    player.seek(1);
    stop();
    player.seek(2);
    expect(complete).toBe(1);
  });
});
