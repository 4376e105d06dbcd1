import { describe, expect, it } from "vitest";
import config from "../src/generated/config.json";
import { drawRows, readFile, readText } from "../src/try/embeddings";
import { assignFaults } from "../src/try/faults";
import {
  buildGroups,
  collectOptions,
  getModelValue,
  OPTION_GROUPS,
  OPTIONS,
} from "../src/try/options";
import sample from "../src/try/sample.json";
import { configWith } from "./config_samples";
import { fault } from "./faults";
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

  it("are not checked; the server does that", () => {
    expect(readText('[[1, "x"], [2]]')).toEqual([[1, "x"], [2]]);
  });

  it.each([
    ["", "is empty"],
    ["[1, 2", "not JSON"],
    ["[1]\n[2", "Line 2"],
    ["7", "list of rows"],
  ])("are refused in %j", (text, words) => {
    expect(() => readText(text)).toThrow(words);
  });
});

describe("embeddings from files", () => {
  it("are sent as they are", async () => {
    const file = new File([npy("<f2", [3, 4], new Uint16Array(12))], "rows.npy");
    expect(await readFile(file)).toEqual({
      kind: "file",
      file,
      mediaType: "application/x-npy",
      column: "",
      summary: "3 × 4 numbers (<f2) from rows.npy",
    });
    for (const [name, mediaType] of [
      ["Rows.CSV.gz", "text/csv"],
      ["rows.npy.gz", "application/x-npy"],
      ["rows.feather", "application/vnd.apache.arrow.file"],
      ["rows.safetensors", "application/octet-stream"],
    ]) {
      const read = await readFile(new File(["1234"], name), "mine");
      expect(read).toMatchObject({ mediaType, column: "mine", summary: `${name}, 4 B` });
    }
    await expect(readFile(new File([""], "rows.txt"))).rejects.toThrow("must end in");
  });

  it("are read from JSON", async () => {
    const read = await readFile(new File(["[[1, 2], [3, 4]]"], "rows.json"));
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
  it("have length 1 and depend on the seed alone", () => {
    const rows = drawRows(5, 384, 1);
    expect(rows).toHaveLength(5);
    for (const row of rows) {
      expect(Math.hypot(...row)).toBeCloseTo(1, 5);
    }
    expect(drawRows(5, 384, 1)).toEqual(rows);
    expect(drawRows(5, 384, 2)).not.toEqual(rows);
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
  it("follow from the schema of the config", () => {
    const [general, ring] = buildGroups({
      run_fields: ["new_field", "limit", "ring", "seed"],
      schema: {
        $defs: {
          Ring: {
            description: "A group.",
            properties: {
              names: { type: "array", items: { $ref: "#/$defs/Name" } },
              name: { $ref: "#/$defs/Name", description: "one of them" },
            },
          },
          Name: { enum: ["a", "b"], type: "string", description: "names" },
        },
        properties: {
          fixed: { type: "number" },
          new_field: { type: "number", exclusiveMinimum: 0, maximum: 2 ** 31 - 1 },
          limit: {
            anyOf: [{ type: "integer", minimum: 1, maximum: 5 }, { type: "null" }],
            description: "of something",
          },
          ring: { $ref: "#/$defs/Ring" },
          seed: { type: "integer" },
        },
      },
    });
    expect(general.options).toEqual([
      {
        name: "new_field",
        label: "new field",
        help: "above 0",
        kind: "number",
        choices: [],
        isNullable: false,
      },
      {
        name: "limit",
        label: "limit",
        help: "of something; 1 to 5",
        kind: "number",
        choices: [],
        isNullable: true,
      },
    ]);
    expect([ring.title, ring.help]).toEqual(["ring", "A group."]);
    expect(ring.options).toMatchObject([
      { name: "ring.names", label: "names", kind: "list", choices: ["a", "b"] },
      { name: "ring.name", kind: "choice", choices: ["a", "b"], help: "one of them" },
    ]);
  });

  it("are all run-time fields of the config but the seed", () => {
    const names = OPTIONS.map(({ name }) => name.split(".")[0]);
    expect([...new Set([...names, "seed"])].sort()).toEqual([...config.run_fields].sort());
  });

  it("of the movement and of the surface stand together", () => {
    const names = new Map(
      OPTION_GROUPS.map(({ title, options }) => [title, options.map(({ name }) => name)]),
    );
    expect([...names.keys()].slice(0, 3)).toEqual(["general", "movement", "surface"]);
    expect(names.get("movement")).toContain("field_strength");
    expect(names.get("surface")).toEqual(["aggregation_mode", "background"]);
  });

  it("are sent with the type of their field, where a text was entered", () => {
    expect(
      collectOptions({
        noise_std: "0.1",
        noise_on_z: "false",
        "spawn.mode": "off",
        max_steps: " ",
        "spawn.threshold": "lots",
        "trace.kinds": "spawn, reflect",
        projection_age: "null",
        aggregation_mode: "splat",
        background: "0.2",
        field_strength: "-1.5",
      }),
    ).toEqual({
      noise_std: 0.1,
      noise_on_z: false,
      "spawn.mode": "off",
      "spawn.threshold": "lots",
      "trace.kinds": ["spawn", "reflect"],
      projection_age: null,
      aggregation_mode: "splat",
      background: 0.2,
      field_strength: -1.5,
    });
  });

  it("show the value of the model", () => {
    const config = configWith({ max_steps: null, noise_std: 0.125 });
    expect(getModelValue(config, "noise_std")).toBe("0.125");
    expect(getModelValue(config, "spawn.threshold")).toBe(String(config.spawn.threshold));
    expect(getModelValue(config, "trace.kinds")).toBe("spawn, reflect, terminate");
    expect(getModelValue(config, "max_steps")).toBe("");
    expect(getModelValue(null, "spawn.threshold")).toBe("");
  });
});

describe("faults", () => {
  it("belong to their fields", () => {
    const { fields, rest } = assignFaults(
      [
        fault(["options", "spawn", "threshold"], "must be above 0"),
        fault(["options", "noise_std"], "must be a number"),
        fault(["options", "trace", "kinds", 1], "is unknown"),
        fault(["seed"], "must be an integer"),
        fault(["embeddings", 2, 5], "must be a finite number"),
        fault(["embeddings"], "the model expects rows of 384 numbers"),
        fault(["sample_keys"], "must be a list"),
        fault([], "is wrong"),
      ],
      new Set(["embeddings", "seed"]),
    );
    expect(Object.fromEntries(fields)).toEqual({
      "spawn.threshold": ["must be above 0"],
      noise_std: ["must be a number"],
      "trace.kinds": ["is unknown"],
      seed: ["must be an integer"],
      embeddings: [
        "row 2, number 5: must be a finite number",
        "the model expects rows of 384 numbers",
      ],
    });
    expect(rest).toEqual(["sample_keys: must be a list", "is wrong"]);
  });
});
