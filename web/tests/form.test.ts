import { describe, expect, it } from "vitest";
import { randomRows, readFile, readText } from "../src/try/embeddings";
import { sortFaults } from "../src/try/faults";
import { inherited, optionsOf } from "../src/try/options";
import sample from "../src/try/sample.json";
import { npy } from "./npy_files";

describe("embeddings from text", () => {
  it.each([
    [
      "rows",
      "[[1, 2], [3, 4]]",
      [
        [1, 2],
        [3, 4],
      ],
    ],
    ["one row", "[1, 2]", [[1, 2]]],
    ["a request", '{"embeddings": [[1, 2]], "seed": 3}', [[1, 2]]],
    [
      "JSON Lines of rows",
      "[1, 2]\n[3, 4]\n",
      [
        [1, 2],
        [3, 4],
      ],
    ],
    ["JSON Lines of objects", '{"embedding": [1]}\r\n\r\n{"embedding": [2]}', [[1], [2]]],
    ["a list of objects", '[{"embedding": [1]}]', [[1]]],
  ])("are found in %s", (_name, text, rows) => {
    expect(readText(text)).toEqual(rows);
  });

  it("are left to the server when their numbers are wrong", () => {
    expect(readText('[[1, "x"], [2]]')).toEqual([[1, "x"], [2]]);
  });

  it.each([
    ["", "nothing here"],
    ["[1, 2", "not JSON"],
    ["[1]\n[2", "Line 2"],
    ["7", "list of rows"],
  ])("are refused in %j", (text, words) => {
    expect(() => readText(text)).toThrow(words);
  });
});

describe("embeddings from files", () => {
  it("keep a .npy file as it is", async () => {
    const bytes = npy("<f2", [3, 4], new Uint16Array(12));
    const read = await readFile(new File([bytes], "rows.npy"));
    expect(read).toMatchObject({
      kind: "npy",
      count: 3,
      words: "3 × 4 numbers (<f2) from rows.npy",
    });
  });

  it("read lines of JSON", async () => {
    const read = await readFile(new File(["[1, 2]\n[3, 4]"], "rows.jsonl"));
    expect(read).toMatchObject({
      kind: "rows",
      rows: [
        [1, 2],
        [3, 4],
      ],
    });
  });
});

describe("random rows", () => {
  it("have length 1 and are the same every time", () => {
    const rows = randomRows(5, 384, 1);
    expect(rows).toHaveLength(5);
    for (const row of rows) {
      expect(Math.hypot(...row)).toBeCloseTo(1, 5);
    }
    expect(randomRows(5, 384, 1)).toEqual(rows);
    expect(randomRows(5, 384, 2)).not.toEqual(rows);
  });
});

describe("the bundled sample", () => {
  it("has normalised rows of its dimension and the licence of its texts", () => {
    expect(sample.rows).toHaveLength(8);
    for (const { embedding } of sample.rows) {
      expect(embedding).toHaveLength(sample.dimension);
      expect(Math.hypot(...embedding)).toBeCloseTo(1, 2);
    }
    expect(sample.notice.join(" ")).toContain("Princeton University");
  });
});

describe("options", () => {
  it("are sent where something was entered, as what they are", () => {
    expect(
      optionsOf({
        noise_std: "0.1",
        noise_on_z: "false",
        "spawn.mode": "off",
        max_steps: " ",
        "spawn.threshold": "lots",
      }),
    ).toEqual({
      noise_std: 0.1,
      noise_on_z: false,
      "spawn.mode": "off",
      "spawn.threshold": "lots",
    });
  });

  it("show what the model has", () => {
    const config = {
      lattice_width: 4,
      lattice_height: 4,
      lattice_depth: 4,
      embedding_dim: 8,
      max_steps: null,
      spawn: { threshold: 0.3 },
    };
    expect(inherited(config, "spawn.threshold")).toBe("0.3");
    expect(inherited(config, "max_steps")).toBe("");
    expect(inherited(null, "spawn.threshold")).toBe("");
  });
});

describe("complaints", () => {
  it("stand beside their fields", () => {
    const { fields, rest } = sortFaults(
      [
        { loc: ["options", "spawn", "threshold"], msg: "must be above 0" },
        { loc: ["options", "noise_std"], msg: "must be a number" },
        { loc: ["seed"], msg: "must be a whole number" },
        { loc: ["embeddings", 2, 5], msg: "must be a finite number" },
        { loc: ["embeddings"], msg: "the model expects rows of 384 numbers" },
        { loc: ["sample_keys"], msg: "must be a list" },
        { loc: [], msg: "is wrong" },
      ],
      new Set(["embeddings", "seed"]),
    );
    expect(Object.fromEntries(fields)).toEqual({
      "spawn.threshold": ["must be above 0"],
      noise_std: ["must be a number"],
      seed: ["must be a whole number"],
      embeddings: [
        "row 2, number 5: must be a finite number",
        "the model expects rows of 384 numbers",
      ],
    });
    expect(rest).toEqual(["sample_keys: must be a list", "is wrong"]);
  });
});
