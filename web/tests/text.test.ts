import { describe, expect, it } from "vitest";
import { findExtent, scaleIndex, viridis } from "../src/colour";
import { describeEvent } from "../src/parts/records_table";
import { selectPlane } from "../src/parts/surface_panel";
import { getWholeNumber, linkTo, readRoute } from "../src/route";
import {
  formatAge,
  formatBytes,
  formatMilliseconds,
  formatNumber,
  ticks,
} from "../src/text/numbers";

describe("numbers as text", () => {
  it("are short, or a dash", () => {
    expect(formatNumber(1234)).toBe("1,234");
    expect(formatNumber(0.123456)).toBe("0.1235");
    expect(formatNumber(0.0003)).toBe("0.0003");
    expect(formatNumber(0.00012345678)).toBe("0.0001235");
    expect(formatNumber(0.0000123)).toBe("1.230e−5");
    expect(formatNumber(-0.5)).toBe("−0.5");
    expect(formatNumber(-12)).toBe("−12");
    expect(formatNumber(null)).toBe("–");
    expect(formatNumber(Number.NaN)).toBe("–");
  });

  it("have units", () => {
    expect(formatBytes(null)).toBe("–");
    expect(formatBytes(512)).toBe("512 B");
    expect(formatBytes(3 * 2 ** 20)).toBe("3 MiB");
    expect(formatMilliseconds(12.34)).toBe("12.3 ms");
    expect(formatMilliseconds(61_000)).toBe("1 min 1 s");
    expect(formatMilliseconds(7_260_000)).toBe("2 h 1 min");
  });

  it("show how long ago", () => {
    const now = Date.parse("2026-01-01T12:00:00Z");
    expect(formatAge("2026-01-01T11:59:58Z", now)).toBe("just now");
    expect(formatAge("2026-01-01T11:55:00Z", now)).toBe("5 min ago");
    expect(formatAge("2026-01-01T02:00:00Z", now)).toBe("10 h ago");
    expect(formatAge("2025-12-01T02:00:00Z", now)).toBe("1 Dec 2025");
  });

  it("divide an axis", () => {
    expect(ticks(0, 10, 5)).toEqual([0, 2, 4, 6, 8, 10]);
    expect(ticks(-0.13, 0.21, 4)).toEqual([-0.1, 0, 0.1, 0.2]);
    expect(ticks(3, 3, 4)).toEqual([3]);
  });
});

describe("colours", () => {
  it("stay on the scale", () => {
    expect([...viridis.slice(0, 3)]).toEqual([0x44, 0x01, 0x54]);
    expect([...viridis.slice(-3)]).toEqual([0xfd, 0xe7, 0x25]);
    expect([scaleIndex(-5, 0, 1), scaleIndex(0.5, 0, 1), scaleIndex(9, 0, 1)]).toEqual([
      0, 128, 255,
    ]);
    expect(findExtent([3, -1, Number.NaN, 2])).toEqual([-1, 3]);
    expect(findExtent([])).toEqual([0, 0]);
  });
});

describe("addresses", () => {
  it("lead to a page and back", () => {
    const text = linkTo(["runs", "a/b", "lattice"], { sample: 2, plane: null });
    expect(text).toBe("#/runs/a%2Fb/lattice?sample=2");
    const route = readRoute(text);
    expect(route.parts).toEqual(["runs", "a/b", "lattice"]);
    expect(route.parameters.get("sample")).toBe("2");
    expect(readRoute("").parts).toEqual([]);
  });

  it("may be invalid", () => {
    expect(readRoute("#/runs/%E0%A4%A").parts).toEqual(["runs", "%E0%A4%A"]);
    const route = readRoute("#/demo?flows=12&steps=-1&sample=abc");
    expect(getWholeNumber(route, "flows", 5)).toBe(12);
    expect(getWholeNumber(route, "steps", 5)).toBe(5);
    expect(getWholeNumber(route, "sample")).toBe(0);
    expect(getWholeNumber(route, "page")).toBe(0);
  });
});

describe("planes of outputs", () => {
  const hits = { shape: [1, 2, 1, 3], data: new Int32Array([1, 2, 3, 10, 20, 30]) };
  it("are selected, or summed", () => {
    expect([...selectPlane(hits, 0)]).toEqual([1, 2, 3]);
    expect([...selectPlane(hits, 1)]).toEqual([10, 20, 30]);
    expect([...selectPlane(hits, null)]).toEqual([11, 22, 33]);
    expect([...selectPlane({ shape: [1, 1, 3], data: new Float32Array([1, 2, 3]) }, null)]).toEqual(
      [1, 2, 3],
    );
  });
});

describe("records as text", () => {
  const record = {
    seq: 0,
    step: 1,
    sample: 0,
    flow: 2,
    parent: -1,
    plane: -1,
    x: 0,
    y: 0,
    z: 0,
    energy: 0,
    length: 0,
  };
  it("name walls, siblings, reasons and planes", () => {
    expect(describeEvent({ ...record, kind: "reflect", code: 9 })).toBe("x low, y high");
    expect(describeEvent({ ...record, kind: "spawn", code: 1 })).toBe("child 2 of this step");
    expect(describeEvent({ ...record, kind: "terminate", code: 1, plane: 1 })).toBe(
      "projected → zdepth",
    );
    expect(describeEvent({ ...record, kind: "terminate", code: 4 })).toBe("stalled");
  });
});
