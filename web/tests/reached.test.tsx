/** Cells that no flow reached, in pictures of surfaces. */

import { cleanup, fireEvent, render, screen, waitFor } from "@testing-library/preact";
import { afterEach, describe, expect, it } from "vitest";
import type { Config, Run } from "../src/api/types";
import type { Output } from "../src/generated/choices";
import { ComparePage } from "../src/pages/compare_page";
import { TryPage } from "../src/pages/try_page";
import { SurfacePanel } from "../src/parts/surface_panel";
import { readRoute } from "../src/route";
import { MODEL } from "./experiment_samples";
import { fakeServer, json } from "./fake_server";
import { npy } from "./npy_files";
import { runWith } from "./run_samples";

afterEach(cleanup);

/** Outputs of one sample of two cells. Under splat, the first cell has energy and no hit. */
const FILES: Partial<Record<Output, ArrayBuffer>> = {
  surface: npy("<f4", [1, 1, 2], Float32Array.of(0.5, 0)),
  planes: npy("<f4", [1, 2, 1, 2], Float32Array.of(0.5, 0, 0.25, 0)),
  hits: npy("<i4", [1, 2, 1, 2], Int32Array.of(0, 0, 0, 0)),
  reached: npy("|b1", [1, 2, 1, 2], Uint8Array.of(1, 0, 0, 0)),
};

function makeRun(outputs: Output[], mode: Config["aggregation_mode"]): Run {
  return runWith(outputs, { aggregation_mode: mode });
}

function serve(run: Run) {
  const server = fakeServer();
  server.on("GET /v1/runs/r1", run);
  for (const output of run.outputs) {
    server.on(`GET /v1/runs/r1/outputs/${output}`, () => new Response(FILES[output]));
  }
  return server;
}

/** Return what is read at each cell of a heat map. */
async function readCells(title: RegExp): Promise<string[]> {
  const group = await screen.findByRole("group", { name: title });
  const figure = group.closest("figure");
  fireEvent.keyDown(group, { key: "Escape" });
  return ["ArrowLeft", "ArrowRight"].map((key) => {
    fireEvent.keyDown(group, { key });
    return figure?.querySelector("output")?.textContent ?? "";
  });
}

function showPanel(run: Run, layer: string): void {
  serve(run);
  render(<SurfacePanel run={run} route={readRoute(`#/runs/r1?plane=${layer}`)} />);
}

/** Wait until the two cells are read like this. */
async function expectCells(title: RegExp, ...cells: [RegExp, RegExp]): Promise<void> {
  const expected = cells.map((cell) => expect.stringMatching(cell) as string);
  await waitFor(async () => expect(await readCells(title)).toEqual(expected));
}

describe("cells of a surface", () => {
  it("that have energy without hits are reached under splat", async () => {
    showPanel(makeRun(["surface", "hits", "reached"], "splat"), "surface");
    await expectCells(/^surface of sample 0/, /energy 0.5 · 0 hits at z0/, /not reached/);
  });

  it("are marked by plane", async () => {
    showPanel(makeRun(["planes", "reached"], "splat"), "planes_zdepth");
    await expectCells(/^plane zdepth of sample 0/, /not reached/, /not reached/);
  });

  it("are marked by hits where a run without splat has no other output for it", async () => {
    showPanel(makeRun(["surface", "hits"], "weighted_v2"), "surface");
    await expectCells(/^surface of sample 0/, /not reached/, /not reached/);
  });

  it("are not marked by hits under splat", async () => {
    showPanel(makeRun(["surface", "hits"], "splat"), "surface");
    // The hits have arrived once they are read.
    await expectCells(
      /^surface of sample 0/,
      /energy 0.5.*0 hits at z0/,
      /energy 0 .*0 hits at z0/,
    );
  });

  it("are reached or not, without a colour bar", async () => {
    showPanel(makeRun(["reached"], "splat"), "reached_z0");
    await expectCells(/^reached z0 of sample 0/, /x 0, y 0 reached$/, /not reached/);
    expect(screen.getByRole("img", { name: /2 by 1 cells$/ })).toBeDefined();
    expect(document.querySelector(".colour-bar")).toBeNull();
  });

  it("are marked in a comparison", async () => {
    const server = serve(makeRun(["surface", "hits", "reached"], "splat"));
    const sample = {
      sample: 0,
      surface_max_abs_difference: 0,
      surface_mean_abs_difference: 0,
      first_difference: null,
    };
    server.on("GET /v1/runs", { items: [], next_cursor: null });
    server.on("GET /v1/runs/r1/compare/r1", {
      a: "r1",
      b: "r1",
      note: null,
      metrics: {},
      samples: [sample],
    });
    render(<ComparePage route={readRoute("#/compare?a=r1&b=r1")} />);
    await expectCells(/^surface of run A/, /energy 0.5/, /not reached/);
  });
});

describe("a new run", () => {
  it("has the output reached", async () => {
    const server = fakeServer();
    server.on("GET /v1/models", { items: [MODEL], next_cursor: null });
    server.on("POST /v1/simulate", () => json({ title: "", detail: "", errors: [] }, 503));
    render(<TryPage route={readRoute("#/try")} />);
    await waitFor(() => expect(server.requests.some(({ method }) => method === "POST")).toBe(true));
    const sent = server.requests.find(({ method }) => method === "POST")?.body as string;
    const body = JSON.parse(sent) as { outputs: string[] };
    expect(body.outputs).toEqual(expect.arrayContaining(["surface", "planes", "hits", "reached"]));
  });
});
