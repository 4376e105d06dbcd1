import { describe, expect, it } from "vitest";
import { extent, place, viridis } from "../src/colour";
import { whatHappened } from "../src/parts/records_table";
import { cut } from "../src/parts/surface_panel";
import { address, readRoute } from "../src/route";
import { ago, bytes, milliseconds, number, ticks } from "../src/text/numbers";

describe("numbers in words", () => {
  it("are short and never invented", () => {
    expect(number(1234)).toBe("1,234");
    expect(number(0.123456)).toBe("0.1235");
    expect(number(0.0003)).toBe("0.0003");
    expect(number(0.00012345678)).toBe("0.0001235");
    expect(number(0.0000123)).toBe("1.230e−5");
    expect(number(null)).toBe("–");
    expect(number(Number.NaN)).toBe("–");
  });

  it("have units", () => {
    expect(bytes(null)).toBe("–");
    expect(bytes(512)).toBe("512 B");
    expect(bytes(3 * 2 ** 20)).toBe("3 MiB");
    expect(milliseconds(12.34)).toBe("12.3 ms");
    expect(milliseconds(61_000)).toBe("1 min 1 s");
    expect(milliseconds(7_260_000)).toBe("2 h 1 min");
  });

  it("tell how long ago", () => {
    const now = Date.parse("2026-01-01T12:00:00Z");
    expect(ago("2026-01-01T11:59:58Z", now)).toBe("just now");
    expect(ago("2026-01-01T11:55:00Z", now)).toBe("5 min ago");
    expect(ago("2026-01-01T02:00:00Z", now)).toBe("10 h ago");
    expect(ago("2025-12-01T02:00:00Z", now)).toBe("1 Dec 2025");
  });

  it("divide an axis", () => {
    expect(ticks(0, 10, 5)).toEqual([0, 2, 4, 6, 8, 10]);
    expect(ticks(-0.13, 0.21, 4)).toEqual([-0.1, 0, 0.1, 0.2]);
    expect(ticks(3, 3, 4)).toEqual([3]);
  });
});

describe("colours", () => {
  it("run along the scale and stay on it", () => {
    expect([...viridis.slice(0, 3)]).toEqual([0x44, 0x01, 0x54]);
    expect([...viridis.slice(-3)]).toEqual([0xfd, 0xe7, 0x25]);
    expect([place(-5, 0, 1), place(0.5, 0, 1), place(9, 0, 1)]).toEqual([0, 128, 255]);
    expect(extent([3, -1, Number.NaN, 2])).toEqual([-1, 3]);
    expect(extent([])).toEqual([0, 0]);
  });
});

describe("addresses", () => {
  it("lead to a page and back", () => {
    const text = address(["runs", "a/b", "lattice"], { sample: 2, plane: null });
    expect(text).toBe("#/runs/a%2Fb/lattice?sample=2");
    const route = readRoute(text);
    expect(route.parts).toEqual(["runs", "a/b", "lattice"]);
    expect(route.values.get("sample")).toBe("2");
    expect(readRoute("").parts).toEqual([]);
  });
});

describe("layers of outputs", () => {
  const hits = { shape: [1, 2, 1, 3], data: new Int32Array([1, 2, 3, 10, 20, 30]) };
  it("are one plane, or both together", () => {
    expect([...cut(hits, 0)]).toEqual([1, 2, 3]);
    expect([...cut(hits, 1)]).toEqual([10, 20, 30]);
    expect([...cut(hits, null)]).toEqual([11, 22, 33]);
    expect([...cut({ shape: [1, 1, 3], data: new Float32Array([1, 2, 3]) }, null)]).toEqual([
      1, 2, 3,
    ]);
  });
});

describe("records in words", () => {
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
    expect(whatHappened({ ...record, kind: "reflect", code: 9 })).toBe("x low, y high");
    expect(whatHappened({ ...record, kind: "spawn", code: 1 })).toBe("child 2 of this step");
    expect(whatHappened({ ...record, kind: "terminate", code: 1, plane: 1 })).toBe(
      "projected → zdepth",
    );
    expect(whatHappened({ ...record, kind: "terminate", code: 4 })).toBe("stalled");
  });
});
