import { cleanup, fireEvent, render, screen, waitFor } from "@testing-library/preact";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Run } from "../src/api/types";
import { RunsPage } from "../src/pages/runs_page";
import { TryPage } from "../src/pages/try_page";
import { HeatMap } from "../src/parts/heat_map";
import { ALL_RECORDS, RecordsTable } from "../src/parts/records_table";
import { readRoute } from "../src/route";
import { fakeServer, json } from "./fake_server";

beforeEach(() => {
  sessionStorage.clear();
  // The page's own clock would otherwise poll during a test.
  vi.spyOn(document, "visibilityState", "get").mockReturnValue("hidden");
});
afterEach(cleanup);

const RUN: Run = {
  run_id: "0123456789abcdef",
  kind: "run",
  experiment: null,
  dataset: null,
  state: "succeeded",
  model: { name: "default", trained: false, coord_version: 2 },
  seed: 3,
  outputs: ["surface"],
  options: {},
  config: { lattice_width: 2, lattice_height: 2, lattice_depth: 4, embedding_dim: 8 },
  created_at: "2026-01-01T00:00:00Z",
  started_at: null,
  ended_at: null,
  progress: { samples: 1, samples_done: 1, step: null, fraction: 1 },
  metrics: null,
  trace: null,
  timing: null,
  warnings: [],
  error: null,
  bytes: 0,
  url: "/v1/runs/0123456789abcdef",
};

describe("a heat map", () => {
  it("is read with the arrow keys, y upwards", () => {
    render(
      <HeatMap
        values={[1, 2, 3, 4]}
        width={2}
        height={2}
        quantity="energy"
        title="surface"
        empty={(index) => index === 3}
      />,
    );
    const cells = screen.getByRole("group");
    fireEvent.keyDown(cells, { key: "ArrowLeft" });
    expect(screen.getByText("x 0, y 1").parentElement?.textContent).toContain("energy 3");
    fireEvent.keyDown(cells, { key: "ArrowDown" });
    expect(screen.getByText("x 0, y 0").parentElement?.textContent).toContain("energy 1");
    fireEvent.keyDown(cells, { key: "ArrowUp" });
    fireEvent.keyDown(cells, { key: "ArrowRight" });
    expect(screen.getByText("x 1, y 1").parentElement?.textContent).toContain("no flow ended here");
    fireEvent.keyDown(cells, { key: "Escape" });
    expect(screen.queryByText("x 1, y 1")).toBeNull();
  });

  it("says in words what it shows", () => {
    render(
      <HeatMap values={[1, 2, 3, 4]} width={2} height={2} quantity="energy" title="surface" />,
    );
    expect(
      screen.getByRole("img", { name: "surface: 2 by 2 cells, energy from 1 to 4" }),
    ).toBeDefined();
  });
});

describe("the list of runs", () => {
  it("shows runs, cancels those that go on and deletes those that have ended", async () => {
    const server = fakeServer();
    const going: Run = { ...RUN, run_id: "fedcba9876543210", state: "running" };
    server.on("GET /v1/runs", { items: [going, RUN], next_cursor: "abc" });
    server.on(`POST /v1/runs/${going.run_id}/cancel`, going);
    server.on(`DELETE /v1/runs/${RUN.run_id}`, () => new Response(null, { status: 204 }));
    vi.stubGlobal("confirm", () => true);
    render(<RunsPage route={readRoute("#/")} />);
    fireEvent.click(await screen.findByRole("button", { name: "Cancel run fedcba98" }));
    fireEvent.click(await screen.findByRole("button", { name: "Delete run 01234567" }));
    await waitFor(() =>
      expect(server.requests.filter(({ method }) => method !== "GET")).toHaveLength(2),
    );
    expect(screen.getByRole("link", { name: "Older" }).getAttribute("href")).toBe("#/?cursor=abc");
  });

  it("leaves trials to their experiment", async () => {
    const trial: Run = { ...RUN, kind: "trial", experiment: { experiment_id: "e1", trial: 4 } };
    const server = fakeServer();
    server.on("GET /v1/runs", { items: [trial], next_cursor: null });
    render(<RunsPage route={readRoute("#/?kind=trial")} />);
    const link = await screen.findByRole("link", { name: "trial 4" });
    expect(link.getAttribute("href")).toBe("#/experiments/e1");
    expect(screen.queryByRole("button", { name: /^Delete/ })).toBeNull();
    expect(server.requests[0].url.searchParams.get("kind")).toBe("trial");
  });

  it("links two ticked runs to their comparison", async () => {
    const server = fakeServer();
    server.on("GET /v1/runs", {
      items: [RUN, { ...RUN, run_id: "b".repeat(16) }],
      next_cursor: null,
    });
    render(<RunsPage route={readRoute("#/")} />);
    for (const box of await screen.findAllByRole("checkbox")) {
      fireEvent.click(box);
    }
    const link = await screen.findByRole("link", { name: "Compare the two" });
    expect(link.getAttribute("href")).toBe(`#/compare?a=${RUN.run_id}&b=${"b".repeat(16)}`);
  });

  it("tells of a server that is gone", async () => {
    vi.stubGlobal("fetch", () => Promise.reject(new TypeError("refused")));
    render(<RunsPage route={readRoute("#/")} />);
    expect((await screen.findByRole("alert")).textContent).toBe("The server cannot be reached.");
  });
});

describe("the records", () => {
  const line = (seq: number, code: number) =>
    JSON.stringify({
      seq,
      step: 1,
      kind: "terminate",
      sample: 0,
      flow: seq,
      parent: -1,
      code,
      plane: 0,
      x: 0,
      y: 0,
      z: -1,
      energy: 0.5,
      length: 0.1,
    });

  it("of one reason are looked for page by page", async () => {
    const server = fakeServer();
    server.on("GET /v1/runs/r/trace", (url) => {
      const more = url.searchParams.get("cursor") === "next";
      const lines = more
        ? [line(200, 2)]
        : Array.from({ length: 200 }, (_, seq) => line(seq, seq === 7 ? 2 : 0));
      return new Response(`${lines.join("\n")}\n`, {
        headers: { "Next-Cursor": more ? "end" : "next" },
      });
    });
    const chosen: number[] = [];
    render(
      <RecordsTable
        runId="r"
        sample={0}
        filter={{ ...ALL_RECORDS, reason: "converged" }}
        onFilter={() => {}}
        onChoose={(record) => chosen.push(record.flow)}
      />,
    );
    fireEvent.click(await screen.findByRole("button", { name: "Flow 200 at step 1" }));
    expect(screen.getAllByText("converged → z0")).toHaveLength(2);
    expect(chosen).toEqual([200]);
    const asked = server.requests.map(({ url }) => url.searchParams.get("kind"));
    expect(asked).toEqual(["terminate", "terminate"]);
    expect(screen.queryByRole("button", { name: "More" })).toBeNull();
  });

  it("of a lineage are asked for together", async () => {
    const server = fakeServer();
    server.on("GET /v1/runs/r/trace", () => new Response(`${line(4, 0)}\n`));
    render(
      <RecordsTable
        runId="r"
        sample={2}
        filter={{ ...ALL_RECORDS, flow: 4 }}
        onFilter={() => {}}
        relatives={[1, 9]}
      />,
    );
    await screen.findByText("plane → z0");
    const [{ url }] = server.requests;
    expect(url.searchParams.get("flow")).toBe("4,1,9");
    expect(url.searchParams.get("sample")).toBe("2");
  });
});

describe("the form", () => {
  const model = {
    name: "default",
    trained: false,
    loaded: true,
    coord_version: 2,
    config: { embedding_dim: 8, seed: 0, noise_std: 0.25 },
  };

  it("checks an order while it is written, and tells the cost", async () => {
    const server = fakeServer();
    server.on("GET /v1/models", { items: [model], next_cursor: null });
    server.on("POST /v1/simulate", {
      samples: 2,
      flows: 32,
      predicted_bytes: 4096,
      flow_steps_bound: 128,
      queue_wait_ms: 0,
      warnings: ["look out"],
    });
    render(<TryPage />);
    expect(await screen.findByText("4 KiB")).toBeDefined();
    expect(screen.getByText("look out")).toBeDefined();
    expect(screen.getByText("2 × 8 numbers drawn at random")).toBeDefined();
  });

  it("puts complaints beside their fields and waits with sending", async () => {
    const server = fakeServer();
    server.on("GET /v1/models", { items: [model], next_cursor: null });
    server.on("POST /v1/simulate", () =>
      json(
        {
          title: "Invalid input",
          detail: "",
          errors: [{ loc: ["options", "noise_std"], msg: "must be at most 10" }],
        },
        422,
      ),
    );
    render(<TryPage />);
    const field = await screen.findByLabelText("noise");
    fireEvent.input(field, { target: { value: "11" } });
    const complaint = await screen.findByText("must be at most 10");
    expect(complaint.closest(".field")?.contains(field)).toBe(true);
    expect(field.getAttribute("aria-invalid")).toBe("true");
    expect(screen.getByRole<HTMLButtonElement>("button", { name: "Run" }).disabled).toBe(true);
  });
});
