import { cleanup, fireEvent, render, screen, waitFor, within } from "@testing-library/preact";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { explainChanges, formatInterval, listChanges } from "../src/ablations/metrics";
import { ModelPage } from "../src/pages/model_page";
import { ABLATION, MEASURED, RESULT } from "./ablation_samples";
import { DATASET, MODEL, page } from "./experiment_samples";
import { type FakeServer, fakeServer, json } from "./fake_server";

const PAIRS = { ...DATASET, name: "pairs", targets_dim: 8 };
const LIST = "GET /v1/models/default/ablations";

beforeEach(() => {
  sessionStorage.clear();
  // A hidden page does not poll.
  vi.spyOn(document, "visibilityState", "get").mockReturnValue("hidden");
});
afterEach(cleanup);

function serverWith(datasets: object[], ablations: object[]): FakeServer {
  const server = fakeServer();
  server.on("GET /v1/models/default", MODEL);
  server.on("GET /v1/datasets", page(datasets));
  server.on(LIST, page(ablations));
  server.on("GET /v1/system", { limits: { max_upload_bytes: 1000 } });
  return server;
}

describe("changes of a figure", () => {
  it("are clear if 0 is not in the interval and they are not too small", () => {
    const clear = listChanges(RESULT, "cosine").filter((change) => change.isClear);
    expect(clear.map(({ label }) => label)).toEqual(["moves frozen", "x and y off"]);
  });

  it("are explained", () => {
    const text = explainChanges(listChanges(RESULT, "cosine"), "cosine");
    expect(text).toContain("Lower with moves frozen:");
    expect(text).toContain("Higher with x and y off:");
    expect(explainChanges(listChanges(RESULT, "r2"), "R²")).toContain("no clear change of R²");
  });

  it("have a sign, and 0 has no minus sign", () => {
    expect(formatInterval({ value: -0.2, low: -0.00001, high: 0.1 }, true)).toBe(
      "−0.2000 [+0.0000, +0.1000]",
    );
  });
});

describe("the page of a model", () => {
  it("has its facts", async () => {
    serverWith([PAIRS], []);
    render(<ModelPage name="default" />);
    expect((await screen.findByText("lattice")).nextSibling?.textContent).toBe("4 × 4 × 4");
    expect(screen.getByText("embeddings").nextSibling?.textContent).toBe("8 → 8");
    expect(screen.getByText("untrained, loaded, read-only")).toBeTruthy();
    expect(screen.getByRole("link", { name: "Download default" }).getAttribute("href")).toBe(
      "./v1/models/default?format=safetensors",
    );
  });

  it("explains how to upload a dataset where none suits the model", async () => {
    serverWith([DATASET, { ...PAIRS, targets_dim: 3 }, { ...PAIRS, dim: 9 }], []);
    render(<ModelPage name="default" />);
    const hint = await screen.findByText(/No dataset has inputs of 8 numbers/);
    expect(hint.textContent).toContain("targets of 8");
    expect(screen.getByLabelText(/Rows with targets/)).toBeTruthy();
    expect(screen.queryByRole("button", { name: "Start" })).toBeNull();
  });

  it("stores the sample of a model as a dataset", async () => {
    const server = serverWith([], []);
    server.on("GET /v1/models/default", { ...MODEL, sample_url: "/v1/models/default/sample" });
    server.on("GET /v1/models/default/sample", () => new Response(new Uint8Array([1, 2])));
    server.on("PUT /v1/datasets/default-sample", () => {
      server.on("GET /v1/datasets", page([{ ...PAIRS, name: "default-sample" }]));
      return json(PAIRS, 201);
    });
    render(<ModelPage name="default" />);
    fireEvent.click(await screen.findByRole("button", { name: /Store the rows/ }));
    expect(await screen.findByRole("button", { name: "Start" })).toBeTruthy();
    const sent = server.requests.find(({ method }) => method === "PUT");
    expect(sent?.url.searchParams.get("format")).toBe("safetensors");
  });

  it("starts an ablation of the chosen rows", async () => {
    const server = serverWith([DATASET, PAIRS], []);
    server.on("POST /v1/models/default/ablations", () => {
      server.on(LIST, page([ABLATION]));
      return json(ABLATION, 202);
    });
    render(<ModelPage name="default" />);
    const start = await screen.findByRole("button", { name: "Start" });
    // Datasets without targets are not offered.
    expect(screen.getAllByRole("option").map((option) => option.textContent)).toEqual([
      "pairs (100 rows)",
    ]);
    fireEvent.input(screen.getByLabelText("to"), { target: { value: "40" } });
    fireEvent.click(start);
    expect(await screen.findByText("z off: 28 of 100 rows")).toBeTruthy();
    const sent = server.requests.find(({ method }) => method === "POST");
    expect(JSON.parse(String(sent?.body))).toEqual({ dataset: "pairs", rows: [0, 40] });
  });

  it("shows why an ablation is refused, and why one failed", async () => {
    const error = { title: "Unavailable", status: 503, detail: "the server stopped" };
    const server = serverWith([PAIRS], [{ ...ABLATION, state: "failed", error }]);
    server.on("POST /v1/models/default/ablations", () =>
      json({ title: "Invalid input", status: 422, detail: "rows: must be within" }, 422),
    );
    render(<ModelPage name="default" />);
    expect((await screen.findByRole("alert")).textContent).toContain("the server stopped");
    fireEvent.click(screen.getByRole("button", { name: "Start" }));
    expect(await screen.findByText(/rows: must be within/)).toBeTruthy();
  });

  it("cancels a running ablation and removes an ended one", async () => {
    const server = serverWith([PAIRS], [ABLATION]);
    server.on(`DELETE ${ABLATION.url}`, () => {
      server.on(LIST, page([{ ...ABLATION, state: "cancelled" }]));
      return json({ ...ABLATION, state: "cancelled" });
    });
    render(<ModelPage name="default" />);
    fireEvent.click(await screen.findByRole("button", { name: "Cancel" }));
    const remove = await screen.findByRole("button", { name: "Remove" });
    server.on(`DELETE ${ABLATION.url}`, () => {
      server.on(LIST, page([]));
      return new Response(null, { status: 204 });
    });
    fireEvent.click(remove);
    await waitFor(() => expect(screen.queryByRole("button", { name: "Remove" })).toBeNull());
  });

  it("shows each figure of a result, and the changes in a chart", async () => {
    serverWith([PAIRS], [MEASURED, ABLATION]);
    render(<ModelPage name="default" />);
    const row = await screen.findByRole("row", { name: /^moves frozen/ });
    expect(row.textContent).toContain("−0.2000 [−0.3000, −0.1000]");
    expect(screen.getByRole("row", { name: /^noise off/ }).textContent).toContain(
      "the model has no noise",
    );
    const chart = screen.getByRole("img", { name: /^change of cosine: moves frozen/ });
    expect(within(chart).queryByText("noise off")).toBeNull();
    expect(chart.querySelectorAll(".change")).toHaveLength(4);
    expect(chart.querySelectorAll(".change-none")).toHaveLength(2);
    fireEvent.click(screen.getByRole("radio", { name: "R²" }));
    expect(await screen.findByText(/no clear change of R²/)).toBeTruthy();
  });

  it("shows an earlier ablation", async () => {
    serverWith([PAIRS], [ABLATION, MEASURED]);
    render(<ModelPage name="default" />);
    const shows = await screen.findByLabelText("shows");
    expect(screen.queryByText("change of cosine")).toBeNull();
    fireEvent.change(shows, { target: { value: "a2" } });
    expect(await screen.findByText("change of cosine")).toBeTruthy();
  });
});
