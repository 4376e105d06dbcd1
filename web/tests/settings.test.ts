import { describe, expect, it } from "vitest";
import { parseSettings } from "../src/models/settings";

describe("settings", () => {
  it("are read one a line, as JSON or as text", () => {
    const text = 'lattice_width = 16\n\n precision=half \nmapper = "identity"\nspawn.mode\na = b=c';
    expect(parseSettings(text)).toEqual({
      lattice_width: 16,
      precision: "half",
      mapper: "identity",
      "spawn.mode": "",
      a: "b=c",
    });
  });
});
