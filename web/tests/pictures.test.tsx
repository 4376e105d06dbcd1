/** Pictures of a run, and the run of a model's sample. */

import { cleanup, fireEvent, render, screen, waitFor } from "@testing-library/preact";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Config, Run } from "../src/api/types";
import type { Output } from "../src/generated/choices";
import { ModelPage } from "../src/pages/model_page";
import { RunsPage } from "../src/pages/runs_page";
import { TryPage } from "../src/pages/try_page";
import { hasPictures, PicturesPanel } from "../src/parts/pictures_panel";
import { readRoute } from "../src/route";
import { MODEL, page } from "./experiment_samples";
import { fakeServer, json } from "./fake_server";
import { npy } from "./npy_files";
import { runWith } from "./run_samples";

beforeEach(() => sessionStorage.clear());
afterEach(cleanup);

/** A run of pictures of one row of two cells. */
function makeRun(outputs: Output[], config: Partial<Config> = {}): Run {
  const size = { lattice_width: 2, lattice_height: 1, embedding_dim: 2 };
  return runWith(outputs, { mapper: "identity", ...size, ...config });
}

/** Return the value that is read at the left cell of each picture. */
async function readPictures(run: Run, models: object[] = []): Promise<string[]> {
  const server = fakeServer();
  server.on("GET /v1/models", page(models));
  server.on("GET /v1/models/default/sample", {
    model: "default",
    inputs: [
      [0, 1],
      [0.5, -1],
    ],
    targets: [
      [9, 9, 9, 9],
      [0.75, 0, -1, 0],
    ],
  });
  server.on(
    "GET /v1/runs/r1/inputs",
    () => new Response(npy("<f4", [1, 2], Float32Array.of(0.5, -1))),
  );
  server.on(
    "GET /v1/runs/r1/outputs/embedding",
    () => new Response(npy("<f4", [1, 4], Float32Array.of(0.25, 0, -2, 0))),
  );
  server.on(
    "GET /v1/runs/r1/outputs/planes",
    () => new Response(npy("<f4", [1, 2, 1, 2], Float32Array.of(0.125, 0, -3, 0))),
  );
  render(<PicturesPanel run={run} route={readRoute("#/runs/r1?sample=0")} />);
  const groups = await screen.findAllByRole("group", { name: /of sample 0: cells/ });
  // The pictures have one cursor.
  fireEvent.keyDown(groups[0], { key: "ArrowLeft" });
  return groups.map(describePicture);
}

function describePicture(group: HTMLElement): string {
  const shown = group.closest("figure")?.querySelector("output")?.textContent;
  return `${group.getAttribute("aria-label")}: ${shown}`;
}

describe("pictures of a run", () => {
  it("are shown if the inputs are pictures of the surface", () => {
    expect(hasPictures(makeRun([]))).toBe(true);
    expect(hasPictures(makeRun([], { mapper: "mlp" }))).toBe(false);
    expect(hasPictures({ ...makeRun([]), config: {} })).toBe(false);
  });

  it("are the input and the prediction for each plane", async () => {
    expect(await readPictures(makeRun(["surface", "embedding", "planes"]))).toEqual([
      expect.stringMatching(/^Input of.*value 0\.5/),
      expect.stringMatching(/^Prediction, z0 of.*value 0\.25/),
      expect.stringMatching(/^Prediction, zdepth of.*value −2/),
    ]);
  });

  it("have the target beside them, where the input is one of the sample of the model", async () => {
    const withSample = { ...MODEL, sample_url: "/v1/models/default/sample" };
    await readPictures(makeRun(["embedding"]), [withSample]);
    const targets = await screen.findAllByRole("group", { name: /^Target/ });
    expect(targets.map(describePicture)).toEqual([
      expect.stringMatching(/^Target, z0 of.*value 0\.75/),
      expect.stringMatching(/^Target, zdepth of.*value −1/),
    ]);
    expect(screen.getByText(/The target is what should arrive there/)).toBeTruthy();
  });

  it("are the energies at the planes without a prediction", async () => {
    expect(await readPictures(makeRun(["planes"]))).toEqual([
      expect.stringMatching(/^Input of/),
      expect.stringMatching(/^Energy, z0 of.*value 0\.125/),
      expect.stringMatching(/^Energy, zdepth of.*value −3/),
    ]);
  });

  it("are the input alone without either", async () => {
    expect(await readPictures(makeRun(["surface"]))).toHaveLength(1);
  });
});

describe("the sample of a model", () => {
  const packaged = {
    ...MODEL,
    name: "spectrometer",
    description: "Moves blobs",
    sample_url: "/v1/models/spectrometer/sample",
  };

  function serve() {
    const server = fakeServer();
    server.on("GET /v1/models/spectrometer", packaged);
    server.on("GET /v1/models/spectrometer/ablations", page([]));
    server.on("GET /v1/datasets", page([]));
    server.on("GET /v1/system", { limits: { max_upload_bytes: 1000 } });
    server.on("GET /v1/models/spectrometer/sample", () => {
      const rows = Float32Array.from({ length: 20 }, (_, index) => index);
      return new Response(npy("<f4", [10, 2], rows));
    });
    return server;
  }

  it("is run from its page", async () => {
    const server = serve();
    server.on("POST /v1/runs", () => json({ run_id: "r9" }, 202));
    render(<ModelPage name="spectrometer" />);
    fireEvent.click(await screen.findByRole("button", { name: "Run" }));
    await waitFor(() => expect(location.hash).toBe("#/runs/r9"));
    expect(screen.getByText("Moves blobs.")).toBeTruthy();
    expect(screen.getByText(/read-only/)).toBeTruthy();
    const sent = server.requests.find(({ method }) => method === "POST");
    const body = JSON.parse(String(sent?.body)) as { embeddings: number[][]; model: string };
    expect(body.model).toBe("spectrometer");
    expect(body.embeddings).toHaveLength(8);
    expect(body.embeddings[7]).toEqual([14, 15]);
  });

  it("is run from the empty list of runs at one click", async () => {
    const server = serve();
    server.on("GET /v1/runs", page([]));
    // The default model is the other one under another name.
    server.on("GET /v1/models", page([packaged, { ...packaged, name: "default" }]));
    server.on("GET /v1/models/default/sample", () => {
      return new Response(npy("<f4", [10, 2], new Float32Array(20)));
    });
    server.on("POST /v1/runs", () => json({ run_id: "r8" }, 202));
    render(<RunsPage route={readRoute("#/")} />);
    fireEvent.click(await screen.findByRole("button", { name: "Run a sample" }));
    await waitFor(() => expect(location.hash).toBe("#/runs/r8"));
    const sent = server.requests.find(({ method }) => method === "POST");
    expect((JSON.parse(String(sent?.body)) as { model: string }).model).toBe("default");
    expect(screen.queryByRole("link", { name: "Try spectrometer" })).toBeNull();
  });

  it("of another model is run if the default model has none", async () => {
    const server = serve();
    server.on("GET /v1/runs", page([]));
    server.on("GET /v1/models", page([packaged, MODEL]));
    server.on("POST /v1/runs", () => json({ title: "Full", detail: "the queue is full" }, 429));
    render(<RunsPage route={readRoute("#/")} />);
    fireEvent.click(await screen.findByRole("button", { name: "Run a sample" }));
    expect(await screen.findByText(/the queue is full/)).toBeTruthy();
    const sent = server.requests.find(({ method }) => method === "POST");
    expect((JSON.parse(String(sent?.body)) as { model: string }).model).toBe("spectrometer");
  });

  it("shows why a run is refused", async () => {
    const server = serve();
    server.on("POST /v1/runs", () => json({ title: "Full", detail: "the queue is full" }, 429));
    render(<ModelPage name="spectrometer" />);
    fireEvent.click(await screen.findByRole("button", { name: "Run" }));
    expect(await screen.findByText(/the queue is full/)).toBeTruthy();
  });

  it("is not offered by a model without one", async () => {
    serve().on("GET /v1/models/spectrometer", { ...packaged, sample_url: null });
    render(<ModelPage name="spectrometer" />);
    await screen.findByText("Moves blobs.");
    expect(screen.queryByRole("button", { name: "Run" })).toBeNull();
  });

  it("is offered in the form for a run", async () => {
    const server = serve();
    server.on("GET /v1/models", page([packaged, MODEL]));
    server.on("POST /v1/simulate", () => json({ title: "Full", detail: "full" }, 429));
    render(<TryPage route={readRoute("#/try?model=spectrometer")} />);
    expect(await screen.findByText("2 × 2 numbers from the model's sample")).toBeTruthy();
    fireEvent.change(screen.getByLabelText("model"), { target: { value: "default" } });
    expect(await screen.findByText("2 × 8 numbers drawn at random")).toBeTruthy();
    expect(screen.queryByText("Sample of spectrometer")).toBeNull();
  });
});
