import { describe, expect, it } from "vitest";
import type { Replay } from "../src/api/types";
import { demoReplay } from "../src/lattice/demo";
import { fold, unfold } from "../src/lattice/fold";
import { buildJourney, rowAt } from "../src/lattice/journey";
import { DIM, HIDDEN, LIT, lineage, NO_FILTER, NORMAL, standings } from "../src/lattice/lineage";
import { endedBefore } from "../src/lattice/places";
import { Player } from "../src/lattice/player";

/**
 * Three steps of three flows. Flow 0 meets the wall at x = 1 in step 0 and leaves by zdepth in step
 * 1; flow 1 spawns flow 2 in step 0; both are projected in step 2.
 */
const REPLAY: Replay = {
  run_id: "r",
  sample: 0,
  agrees: true,
  difference: null,
  flows: {
    flow: [0, 1, 2],
    parent: [-1, -1, 1],
    born_step: [-1, -1, 0],
    end_step: [1, 2, 2],
    reason: ["plane", "projected", "projected"],
    plane: [1, "z0", "zdepth"],
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
  it("leave what lies inside as it is, and mirror what does not", () => {
    expect(fold(0.3)).toBe(0.3);
    expect(fold(1.25)).toBeCloseTo(0.75);
    expect(fold(-1.25)).toBeCloseTo(-0.75);
    expect(fold(3.5)).toBeCloseTo(-0.5);
    expect(fold(-5.25)).toBeCloseTo(-0.75 + 0);
  });

  it("are told from the length of a displacement", () => {
    expect(unfold(0.9, 0, 0.8, 0, 0, 0.1, false)).toEqual([0.8, 0]);
    expect(unfold(0.9, 0, 0.8, 0, 0, 0.3, false)).toEqual([1.2, 0]);
    expect(unfold(-0.9, 0.95, -0.9, 0.95, 0, Math.hypot(0.2, 0.1), false)?.[0]).toBeCloseTo(-1.1);
    expect(unfold(0, 0, 0.1, 0, 0, 0.7, false)).toBeNull();
  });

  it("cannot be told where a flow went on beyond a plane, unless only one way is short enough", () => {
    expect(unfold(0, 0, 0.1, 0, 0.2, 0.5, true)).toEqual([0.1, 0]);
    expect(unfold(0.9, 0, 0.9, 0, 0.2, 0.5, true)).toBeNull();
  });
});

describe("a journey", () => {
  const journey = buildJourney(REPLAY);

  it("knows each flow's life", () => {
    expect([...journey.bornStep]).toEqual([-1, -1, 0]);
    expect([...journey.endStep]).toEqual([1, 2, 2]);
    expect([...journey.plane]).toEqual([1, 0, 1]);
    expect([...journey.hasSpawned]).toEqual([0, 1, 0]);
    expect([...journey.hasReflected]).toEqual([1, 0, 0]);
    expect(journey.steps).toBe(3);
  });

  it("finds rows by flow and step", () => {
    expect(rowAt(journey, 2, 0)).toBe(4);
    expect(rowAt(journey, 2, -1)).toBe(-1);
    expect(rowAt(journey, 0, 2)).toBe(-1);
    expect(rowAt(journey, 1, 2)).toBe(8);
    expect(rowAt(journey, 1, 7)).toBe(-1);
  });

  it("links each row to the one before", () => {
    expect([...journey.previous]).toEqual([-1, -1, 0, 1, -1, 2, 3, 4, 6, 7]);
  });

  it("breaks ways at the walls that fold them", () => {
    expect(journey.aim[4]).toBeCloseTo(1.2);
    const trails = journey.trails;
    expect(trails).not.toBeNull();
    const row = 2;
    const pieces = [...(trails?.row ?? [])].flatMap((of, piece) => (of === row ? [piece] : []));
    expect(pieces).toHaveLength(2);
    const corner = trails?.position.slice(6 * pieces[0] + 3, 6 * pieces[0] + 6) ?? [];
    expect(corner[0]).toBeCloseTo(1);
    expect(corner[2]).toBeCloseTo(0.5 / 3);
    expect(trails?.time[2 * pieces[0] + 1]).toBeCloseTo(1 / 3);
  });

  it("orders flows by their end", () => {
    expect([0, 1, 2, 3].map((step) => endedBefore(journey, step))).toEqual([0, 0, 1, 3]);
  });

  it("believes records about walls before lengths", () => {
    const records = [{ flow: 1, step: 1, code: 4 }];
    const told = buildJourney(REPLAY, { records, complete: true });
    expect(told.aim[2 * 6 + 1]).toBe(-2);
    expect([...told.hasReflected]).toEqual([0, 1, 0]);
    expect(told.aim[4]).toBeCloseTo(0.8);
    const partly = buildJourney(REPLAY, { records, complete: false });
    expect([...partly.hasReflected]).toEqual([1, 1, 0]);
  });

  it("takes ids that are not counted from nought", () => {
    const ids = new Map([
      [0, 10],
      [1, 20],
      [2, 400],
    ]);
    const rename = (values: number[]) => values.map((id) => ids.get(id) ?? id);
    const renamed = buildJourney({
      flows: { ...REPLAY.flows, flow: rename(REPLAY.flows.flow), parent: [-1, -1, 20] },
      path: { ...REPLAY.path, flow: rename(REPLAY.path.flow) },
    });
    expect([...renamed.parent]).toEqual([-1, -1, 1]);
    expect([...renamed.rowFlow]).toEqual([...journey.rowFlow]);
  });
});

describe("lineage", () => {
  const journey = buildJourney({
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

  it("is ancestors and descendants, not siblings' families", () => {
    expect([...lineage(journey, 1)]).toEqual([0, 1, 1, 1, 0]);
    expect([...lineage(journey, 2)]).toEqual([0, 1, 1, 1, 0]);
    expect([...lineage(journey, 4)]).toEqual([1, 0, 0, 0, 1]);
  });

  it("is lit, the rest dimmed or filtered out", () => {
    expect([...standings(journey, NO_FILTER, -1)]).toEqual(Array(5).fill(NORMAL));
    expect([...standings(journey, NO_FILTER, 2)]).toEqual([DIM, LIT, LIT, LIT, DIM]);
    expect([...standings(journey, { did: "any", reason: "plane" }, -1)]).toEqual([
      NORMAL,
      HIDDEN,
      HIDDEN,
      HIDDEN,
      HIDDEN,
    ]);
    expect([...standings(journey, { did: "born", reason: "any" }, -1)]).toEqual([
      HIDDEN,
      HIDDEN,
      NORMAL,
      NORMAL,
      NORMAL,
    ]);
  });
});

describe("made-up flows", () => {
  it("obey the walls and move smoothly", () => {
    const journey = buildJourney(demoReplay(400, 6));
    expect(journey.rowFlow).toHaveLength(400 * 7);
    expect(journey.position.every((value) => Math.abs(value) <= 1)).toBe(true);
    const odd = journey.atOnce.reduce((sum, value) => sum + value, 0);
    expect(odd / journey.atOnce.length).toBeLessThan(0.05);
    expect(journey.hasReflected).toContain(1);
  });
});

describe("a player", () => {
  it("plays to the end, stops there, and begins again", () => {
    const player = new Player(2);
    player.toggle();
    for (let frame = 0; frame < 40; frame++) {
      player.pass(100);
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

  it("tells its listeners until they stop", () => {
    const player = new Player(3);
    let told = 0;
    const stop = player.listen(() => {
      told += 1;
    });
    player.seek(1);
    stop();
    player.seek(2);
    expect(told).toBe(1);
  });
});
