import { describe, expect, it } from "vitest";
import { News, type Shown } from "../src/experiments/live";
import { measureNames, measuresOf, sweepPoints, sweptByFactors } from "../src/experiments/measures";
import { fieldAxis, fieldColours } from "../src/experiments/scales";
import { newRow, NO_SWEEP, sweepOf, trialFactors } from "../src/experiments/sweep";
import { linearAxis, logAxis, namedAxis, roomyAxis, wholeAxis } from "../src/parts/axis";
import { nameFrom } from "../src/parts/upload_form";
import { wholeNumbers } from "../src/text/entries";
import { logTicks, timeLeft } from "../src/text/numbers";
import { sortFaults } from "../src/try/faults";
import { EXPERIMENT, trial } from "./experiment_samples";

describe("what trials measured", () => {
  it("is named as in the table of results", () => {
    const measures = measuresOf(trial(0, "succeeded"));
    expect(measures["terminated.plane"]).toBe(20);
    expect(measures["planes.z0"]).toBe(8);
    expect(measures).not.toHaveProperty("overflow");
    expect(measures).not.toHaveProperty("mean_step_ms");
    expect(measureNames([trial(1, "queued")])).toEqual([]);
  });

  it("has a mean and a sample deviation over the seeds of a sweep point", () => {
    const points = sweepPoints(
      [trial(0, "succeeded", 2), trial(1, "succeeded", 4), trial(2, "succeeded", 7)],
      "mean_path_steps",
      2,
    );
    expect(points.map(({ parameters, mean }) => [parameters.noise_std, mean])).toEqual([
      [0.01, 3],
      [0.1, 7],
    ]);
    expect(points[0].deviation).toBeCloseTo(Math.SQRT2, 12);
    expect(points[1].deviation).toBeNull();
  });

  it("counts only of trials that have succeeded", () => {
    const cut = { ...trial(1, "cancelled"), metrics: trial(1, "succeeded", 9).metrics };
    expect(sweepPoints([cut], "mean_path_steps", 2)).toEqual([]);
  });
});

describe("a field's axis", () => {
  it("is logarithmic where the sweep was", () => {
    expect(sweptByFactors({ grid: { a: [0.01, 0.1, 1] } }, "a")).toBe(true);
    expect(sweptByFactors({ grid: { a: [0.01, 0.03, 0.1] } }, "a")).toBe(true);
    expect(sweptByFactors({ grid: { a: [1, 2, 5, 10] } }, "a")).toBe(true);
    expect(sweptByFactors({ grid: { a: [1, 2, 3] } }, "a")).toBe(false);
    expect(sweptByFactors({ grid: { a: [1, 1.1, 1.2] } }, "a")).toBe(false);
    expect(sweptByFactors({ grid: { a: [4, 2, 1] } }, "a")).toBe(false);
    expect(sweptByFactors({ grid: { a: [0, 0, 0] } }, "a")).toBe(false);
    expect(sweptByFactors({ grid: { a: [1, 10] } }, "a")).toBe(false);
    const drawn = { random: { a: { low: 1, high: 10, log: true }, b: [1, 2, 4] }, count: 3 };
    expect([sweptByFactors(drawn, "a"), sweptByFactors(drawn, "b")]).toEqual([true, false]);
    expect(sweptByFactors(null, "seed")).toBe(false);
  });

  it("has words side by side where they are no numbers", () => {
    const words = fieldAxis(["clamp", "reflect", "clamp"], false);
    expect(words.numeric).toBe(false);
    expect([words.value("clamp"), words.value("reflect")]).toEqual([0, 1]);
    expect(words.axis.ticks(5).map(words.axis.label)).toEqual(["clamp", "reflect"]);
    // Nought has no logarithm.
    expect(fieldAxis([0, 1], true).positive).toBe(false);
    expect(fieldAxis([0, 1], true).axis.share(0.5)).toBeCloseTo(0.5, 12);
  });

  it("keeps values apart by colour, each of few by itself", () => {
    const few = fieldColours([3, 1, 2, 1], false);
    expect(few.named).toEqual([1, 2, 3]);
    expect(new Set([1, 2, 3].map(few.of)).size).toBe(3);
    const many = fieldColours([...Array(20).keys()], true);
    expect(many.named).toBeNull();
    expect([many.low, many.high]).toEqual([0, 19]);
  });
});

describe("axes", () => {
  it("place values from end to end", () => {
    expect([2, 3, 4].map(linearAxis(2, 4).share)).toEqual([0, 0.5, 1]);
    expect(linearAxis(1, 1).share(1)).toBe(0.5);
    const shares = [1, 10, 100].map(logAxis(1, 100).share);
    expect(shares[1]).toBeCloseTo(0.5, 12);
    expect([shares[0], shares[2]]).toEqual([0, 1]);
    expect(namedAxis(["a", "b"]).share(0)).toBeCloseTo(0.25, 12);
    expect(wholeAxis(0, 2).ticks(10)).toEqual([0, 1, 2]);
  });

  it("leave room around values, however they lie", () => {
    for (const log of [false, true]) {
      for (const values of [[1, 5, 100], [3], [1e-9, 1e9]]) {
        const { share, ticks } = roomyAxis(values, log);
        expect(Math.min(...values.map(share))).toBeGreaterThan(0);
        expect(Math.max(...values.map(share))).toBeLessThan(1);
        expect(ticks(5).length).toBeGreaterThan(0);
      }
    }
  });

  it("write values that can be told from one another", () => {
    const axis = roomyAxis([3.6801, 3.6809], false);
    const written = axis.ticks(5).map(axis.label);
    expect(new Set(written).size).toBe(written.length);
    expect(roomyAxis([0, 100], false).label(20)).toBe("20");
  });

  it("have round numbers along a logarithm, not too many", () => {
    expect(logTicks(1, 10, 6)).toEqual([1, 2, 5, 10]);
    expect(logTicks(0.001, 1, 5)).toEqual([0.001, 0.01, 0.1, 1]);
    expect(logTicks(1e-9, 1e9, 5).length).toBeLessThanOrEqual(6);
    expect(logTicks(1.1, 1.4, 3)).toEqual([1.1, 1.2, 1.3, 1.4]);
  });
});

describe("a sweep", () => {
  const noise = { ...newRow("noise_std"), values: "0.1, 0.2", low: "0.01", high: "1", log: true };
  const walls = { ...newRow("boundary"), values: "reflect clamp", range: false };

  it("is sent as what it is", () => {
    expect(sweepOf(NO_SWEEP)).toBeNull();
    expect(sweepOf({ ...NO_SWEEP, kind: "grid", rows: [noise, walls] })).toEqual({
      grid: { noise_std: [0.1, 0.2], boundary: ["reflect", "clamp"] },
    });
    expect(sweepOf({ kind: "random", rows: [noise, walls], count: "12", seed: "many" })).toEqual({
      random: {
        noise_std: { low: 0.01, high: 1, log: true },
        boundary: ["reflect", "clamp"],
      },
      count: 12,
      seed: "many",
    });
  });

  it("tells how many trials there are", () => {
    const factors = (sweep: typeof NO_SWEEP) => trialFactors(sweep, 3).map(([factor]) => factor);
    expect(factors(NO_SWEEP)).toEqual([3]);
    expect(factors({ ...NO_SWEEP, kind: "grid", rows: [noise, walls] })).toEqual([2, 2, 3]);
    expect(factors({ ...NO_SWEEP, kind: "random", rows: [noise] })).toEqual([20, 3]);
  });

  it("takes seeds one by one and in ranges", () => {
    expect(wholeNumbers("0, 2 4-6")).toEqual([0, 2, 4, 5, 6]);
    expect(wholeNumbers("many 6-4")).toEqual(["many", "6-4"]);
    expect(wholeNumbers("0-999999999")).toEqual(["0-999999999"]);
  });
});

describe("complaints about a sweep", () => {
  it("stand beside the field that varies", () => {
    const { fields, rest } = sortFaults(
      [
        { loc: ["sweep", "grid", "noise_std", 2], msg: "must be at most 10" },
        { loc: ["sweep", "random", "spawn.threshold", "low"], msg: "must be a finite number" },
        { loc: ["sweep", "count"], msg: "is required" },
        { loc: ["sweep"], msg: "too many" },
        { loc: ["sweep", "grid"], msg: "must name a field" },
        { loc: ["seeds", 1], msg: "each seed may be named once" },
        { loc: ["options", "noise_std"], msg: "must be a number" },
        { loc: ["kind"], msg: "is not carried out here" },
      ],
      new Set(["seeds"]),
    );
    expect(Object.fromEntries(fields)).toEqual({
      "sweep.noise_std": ["value 3: must be at most 10"],
      "sweep.spawn.threshold": ["must be a finite number"],
      "sweep.count": ["is required"],
      sweep: ["too many", "must name a field"],
      seeds: ["value 2: each seed may be named once"],
      noise_std: ["must be a number"],
    });
    expect(rest).toEqual(["kind: is not carried out here"]);
  });
});

describe("news of an experiment", () => {
  const shown: Shown = {
    experiment: EXPERIMENT,
    trials: [trial(0, "running"), trial(1, "queued")],
  };

  it("is laid over what was loaded", () => {
    const news = new News();
    const trials = { ...EXPERIMENT.trials, running: 0, succeeded: 3 };
    const tell = (name: string, data: unknown) => news.learn({ id: "1", name, data });
    expect(
      tell("progress", {
        trials: EXPERIMENT.trials,
        progress: EXPERIMENT.progress,
        running: [{ trial: 0, samples_done: 40, samples: 100 }],
      }),
    ).toBe("news");
    expect(news.over(shown).trials.map(({ samples_done }) => samples_done)).toEqual([40, 0]);
    expect(tell("trial", trial(0, "succeeded"))).toBe("news");
    expect(tell("state", { state: "paused", trials, progress: null, error: null })).toBe("news");
    const now = news.over(shown);
    expect(now.experiment).toMatchObject({ name: "noise", state: "paused", trials });
    expect(now.trials.map(({ state }) => state)).toEqual(["succeeded", "queued"]);
    expect(tell("gap", { missed: 3 })).toBe("gap");
    expect(tell("state", { state: "cancelled" })).toBe("over");
  });

  it("leaves what was loaded as it is where there is none", () => {
    expect(new News().over(shown).trials).toBe(shown.trials);
  });
});

describe("words", () => {
  it("tell the time left without flickering", () => {
    expect([null, 0.2, 12.3, 75, 7300].map(timeLeft)).toEqual([
      "–",
      "1 s",
      "13 s",
      "1 min",
      "2 h 2 min",
    ]);
  });

  it("make a name of a file's", () => {
    expect(nameFrom("My rows (2).npy")).toBe("My-rows-2-");
    expect(nameFrom("_a.b.parquet")).toBe("a.b");
    expect(nameFrom(`${"x".repeat(80)}.npy`)).toHaveLength(64);
  });
});
