import { describe, expect, it } from "vitest";
import { ExperimentUpdates, type ExperimentData } from "../src/experiments/updates";
import {
  listMeasures,
  getMeasures,
  groupBySweepPoint,
  isSweptByFactors,
} from "../src/experiments/measures";
import { fieldAxis, fieldColours } from "../src/experiments/scales";
import { newRow, NO_SWEEP, buildSweep, listTrialFactors } from "../src/experiments/sweep";
import { linearAxis, logAxis, categoryAxis, paddedAxis, integerAxis } from "../src/parts/axis";
import { nameFrom } from "../src/parts/upload_form";
import { parseWholeNumbers } from "../src/text/entries";
import { logTicks, formatTimeLeft } from "../src/text/numbers";
import { assignFaults } from "../src/try/faults";
import { EXPERIMENT, trial } from "./experiment_samples";
import { fault } from "./faults";

describe("the measures of trials", () => {
  it("have the names of the table of results", () => {
    const measures = getMeasures(trial(0, "succeeded"));
    expect(measures["terminated.plane"]).toBe(20);
    expect(measures["planes.z0"]).toBe(8);
    expect(measures).not.toHaveProperty("overflow");
    expect(measures).not.toHaveProperty("mean_step_ms");
    expect(listMeasures([trial(1, "queued")])).toEqual([]);
  });

  it("have a mean and a sample deviation over the seeds of a sweep point", () => {
    const points = groupBySweepPoint(
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

  it("are those of succeeded trials", () => {
    const cut = { ...trial(1, "cancelled"), metrics: trial(1, "succeeded", 9).metrics };
    expect(groupBySweepPoint([cut], "mean_path_steps", 2)).toEqual([]);
  });
});

describe("a field's axis", () => {
  it("is logarithmic where the sweep was", () => {
    expect(isSweptByFactors({ grid: { a: [0.01, 0.1, 1] } }, "a")).toBe(true);
    expect(isSweptByFactors({ grid: { a: [0.01, 0.03, 0.1] } }, "a")).toBe(true);
    expect(isSweptByFactors({ grid: { a: [1, 2, 5, 10] } }, "a")).toBe(true);
    expect(isSweptByFactors({ grid: { a: [1, 2, 3] } }, "a")).toBe(false);
    expect(isSweptByFactors({ grid: { a: [1, 1.1, 1.2] } }, "a")).toBe(false);
    expect(isSweptByFactors({ grid: { a: [4, 2, 1] } }, "a")).toBe(false);
    expect(isSweptByFactors({ grid: { a: [0, 0, 0] } }, "a")).toBe(false);
    expect(isSweptByFactors({ grid: { a: [1, 10] } }, "a")).toBe(false);
    const drawn = { random: { a: { low: 1, high: 10, log: true }, b: [1, 2, 4] }, count: 3 };
    expect([isSweptByFactors(drawn, "a"), isSweptByFactors(drawn, "b")]).toEqual([true, false]);
    expect(isSweptByFactors(null, "seed")).toBe(false);
  });

  it("has names where values are not numbers", () => {
    const names = fieldAxis(["clamp", "reflect", "clamp"], false);
    expect(names.numeric).toBe(false);
    expect([names.value("clamp"), names.value("reflect")]).toEqual([0, 1]);
    expect(names.axis.ticks(5).map(names.axis.label)).toEqual(["clamp", "reflect"]);
    // 0 has no logarithm.
    expect(fieldAxis([0, 1], true).positive).toBe(false);
    expect(fieldAxis([0, 1], true).axis.fractionOf(0.5)).toBeCloseTo(0.5, 12);
  });

  it("has a colour for each of few values, and a scale for many numbers", () => {
    const few = fieldColours([3, 1, 2, 1], false);
    expect(few.named).toEqual([1, 2, 3]);
    expect(new Set([1, 2, 3].map(few.of)).size).toBe(3);
    const many = fieldColours([...Array(20).keys()], true);
    expect(many.named).toBeNull();
    expect([many.low, many.high]).toEqual([0, 19]);
  });
});

describe("axes", () => {
  it("position values from end to end", () => {
    expect([2, 3, 4].map(linearAxis(2, 4).fractionOf)).toEqual([0, 0.5, 1]);
    expect(linearAxis(1, 1).fractionOf(1)).toBe(0.5);
    const shares = [1, 10, 100].map(logAxis(1, 100).fractionOf);
    expect(shares[1]).toBeCloseTo(0.5, 12);
    expect([shares[0], shares[2]]).toEqual([0, 1]);
    expect(categoryAxis(["a", "b"]).fractionOf(0)).toBeCloseTo(0.25, 12);
    expect(integerAxis(0, 2).ticks(10)).toEqual([0, 1, 2]);
  });

  it("have space beyond the ends of any values", () => {
    for (const log of [false, true]) {
      for (const values of [[1, 5, 100], [3], [1e-9, 1e9]]) {
        const { fractionOf: share, ticks } = paddedAxis(values, log);
        expect(Math.min(...values.map(share))).toBeGreaterThan(0);
        expect(Math.max(...values.map(share))).toBeLessThan(1);
        expect(ticks(5).length).toBeGreaterThan(0);
      }
    }
  });

  it("have labels that differ", () => {
    const axis = paddedAxis([3.6801, 3.6809], false);
    const written = axis.ticks(5).map(axis.label);
    expect(new Set(written).size).toBe(written.length);
    expect(paddedAxis([0, 100], false).label(20)).toBe("20");
  });

  it("have a few round numbers along a logarithmic axis", () => {
    expect(logTicks(1, 10, 6)).toEqual([1, 2, 5, 10]);
    expect(logTicks(0.001, 1, 5)).toEqual([0.001, 0.01, 0.1, 1]);
    expect(logTicks(1e-9, 1e9, 5).length).toBeLessThanOrEqual(6);
    expect(logTicks(1.1, 1.4, 3)).toEqual([1.1, 1.2, 1.3, 1.4]);
  });
});

describe("a sweep", () => {
  const noise = { ...newRow("noise_std"), values: "0.1, 0.2", low: "0.01", high: "1", log: true };
  const walls = { ...newRow("boundary"), values: "reflect clamp", range: false };

  it("is sent as entered", () => {
    expect(buildSweep(NO_SWEEP)).toBeNull();
    expect(buildSweep({ ...NO_SWEEP, kind: "grid", rows: [noise, walls] })).toEqual({
      grid: { noise_std: [0.1, 0.2], boundary: ["reflect", "clamp"] },
    });
    expect(buildSweep({ kind: "random", rows: [noise, walls], count: "12", seed: "many" })).toEqual(
      {
        random: {
          noise_std: { low: 0.01, high: 1, log: true },
          boundary: ["reflect", "clamp"],
        },
        count: 12,
        seed: "many",
      },
    );
  });

  it("has a number of trials", () => {
    const factors = (sweep: typeof NO_SWEEP) =>
      listTrialFactors(sweep, 3).map(([factor]) => factor);
    expect(factors(NO_SWEEP)).toEqual([3]);
    expect(factors({ ...NO_SWEEP, kind: "grid", rows: [noise, walls] })).toEqual([2, 2, 3]);
    expect(factors({ ...NO_SWEEP, kind: "random", rows: [noise] })).toEqual([20, 3]);
  });

  it("has seeds from single numbers and ranges", () => {
    expect(parseWholeNumbers("0, 2 4-6")).toEqual([0, 2, 4, 5, 6]);
    expect(parseWholeNumbers("many 6-4")).toEqual(["many", "6-4"]);
    expect(parseWholeNumbers("0-999999999")).toEqual(["0-999999999"]);
  });
});

describe("faults of a sweep", () => {
  it("belong to the swept field", () => {
    const { fields, rest } = assignFaults(
      [
        fault(["sweep", "grid", "noise_std", 2], "must be at most 10"),
        fault(["sweep", "random", "spawn.threshold", "low"], "must be a finite number"),
        fault(["sweep", "count"], "is required"),
        fault(["sweep"], "too many"),
        fault(["sweep", "grid"], "must name a field"),
        fault(["seeds", 1], "each seed may be named once"),
        fault(["options", "noise_std"], "must be a number"),
        fault(["kind"], "is unknown"),
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
    expect(rest).toEqual(["kind: is unknown"]);
  });
});

describe("updates of an experiment", () => {
  const data: ExperimentData = {
    experiment: EXPERIMENT,
    trials: [trial(0, "running"), trial(1, "queued")],
  };

  it("change the loaded data", () => {
    const updates = new ExperimentUpdates();
    const trials = { ...EXPERIMENT.trials, running: 0, succeeded: 3 };
    const add = (name: string, data: unknown) => updates.add({ id: "1", name, data });
    expect(
      add("progress", {
        trials: EXPERIMENT.trials,
        progress: EXPERIMENT.progress,
        running: [{ trial: 0, samples_done: 40, samples: 100 }],
      }),
    ).toBe("update");
    expect(updates.applyTo(data).trials.map(({ samples_done }) => samples_done)).toEqual([40, 0]);
    expect(add("trial", trial(0, "succeeded"))).toBe("update");
    expect(add("state", { state: "paused", trials, progress: null, error: null })).toBe("update");
    const now = updates.applyTo(data);
    expect(now.experiment).toMatchObject({ name: "noise", state: "paused", trials });
    expect(now.trials.map(({ state }) => state)).toEqual(["succeeded", "queued"]);
    expect(add("gap", { missed: 3 })).toBe("gap");
    expect(add("state", { state: "cancelled" })).toBe("ended");
  });

  it("leave the loaded data as it is without an event", () => {
    expect(new ExperimentUpdates().applyTo(data).trials).toBe(data.trials);
  });
});

describe("texts", () => {
  it("round the time left", () => {
    expect([null, 0.2, 12.3, 75, 7300].map(formatTimeLeft)).toEqual([
      "–",
      "1 s",
      "13 s",
      "1 min",
      "2 h 2 min",
    ]);
  });

  it("make a valid name from that of a file", () => {
    expect(nameFrom("My rows (2).npy")).toBe("My-rows-2-");
    expect(nameFrom("_a.b.parquet")).toBe("a.b");
    expect(nameFrom("rows.csv.gz")).toBe("rows");
    expect(nameFrom(`${"x".repeat(80)}.npy`)).toHaveLength(64);
  });
});
