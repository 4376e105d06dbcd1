import { cleanup, fireEvent, render, screen, waitFor } from "@testing-library/preact";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Comparison, Run } from "../src/api/types";
import { ComparePage } from "../src/pages/compare_page";
import { RunPage } from "../src/pages/run_page";
import { RunsPage } from "../src/pages/runs_page";
import { TryPage } from "../src/pages/try_page";
import { OUTPUTS } from "../src/generated/choices";
import { HeatMap } from "../src/parts/heat_map";
import { makeLayers } from "../src/parts/layers";
import { ALL_RECORDS, RecordsTable } from "../src/parts/records_table";
import { selectPlane } from "../src/parts/surface_panel";
import { TracePanel } from "../src/parts/trace_panel";
import { readRoute } from "../src/route";
import { fakeServer, json } from "./fake_server";
import { fault } from "./faults";

beforeEach(() => {
  sessionStorage.clear();
  // A hidden page does not poll.
  vi.spyOn(document, "visibilityState", "get").mockReturnValue("hidden");
});
afterEach(cleanup);

const RUN: Run = {
  run_id: "0123456789abcdef",
  name: null,
  tags: [],
  note: null,
  kind: "run",
  experiment: null,
  dataset: null,
  state: "succeeded",
  model: { name: "default", trained: false, coord_version: 2, digest: "m".repeat(64) },
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
  version: null,
  arithmetic: 1,
  worker: "local",
  worker_kinds: ["0123456789ab"],
  attempts: 1,
  url: "/v1/runs/0123456789abcdef",
};

describe("layers", () => {
  it("are those of every output with surface cells", () => {
    const expected = [
      "surface: energy",
      "plane z0: energy",
      "plane zdepth: energy",
      "hits: hits",
      "hits z0: hits",
      "hits zdepth: hits",
      "reached z0: reached",
      "reached zdepth: reached",
    ];
    const found = makeLayers(OUTPUTS).map(({ label, quantity }) => `${label}: ${quantity}`);
    expect(found.filter((layer) => expected.includes(layer))).toEqual(expected);
  });

  it("have names of their own", () => {
    const layer = { label: "", quantity: "" };
    const outputs = {
      flag: { ...layer, dtype: "bool", axes: ["y", "x"] },
      count: { ...layer, dtype: "int64", axes: ["y", "x"] },
      number: { ...layer, dtype: "float32", axes: ["y", "x"] },
      vector: { ...layer, dtype: "float32", axes: ["embedding"] },
    };
    const whole = { ...layer, plane: null, isBoolean: false };
    expect(makeLayers(outputs)).toEqual([
      { ...whole, name: "number", output: "number" },
      { ...whole, name: "count", output: "count" },
      { ...whole, name: "flag", output: "flag", isBoolean: true },
    ]);
    const names = makeLayers(OUTPUTS).map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
  });

  it("hold the values of one plane, or of all", () => {
    const array = { shape: [1, 2, 1, 2], data: Int32Array.of(1, 2, 30, 40) };
    expect([...selectPlane(array, 1)]).toEqual([30, 40]);
    expect([...selectPlane(array, null)]).toEqual([31, 42]);
    const surface = { shape: [1, 1, 2], data: Float32Array.of(0.5, -2) };
    expect([...selectPlane(surface, null)]).toEqual([0.5, -2]);
  });
});

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
    expect(screen.getByText("x 1, y 1").parentElement?.textContent).toContain(
      "not reached by a flow",
    );
    fireEvent.keyDown(cells, { key: "Escape" });
    expect(screen.queryByText("x 1, y 1")).toBeNull();
  });

  it("describes what it shows", () => {
    render(
      <HeatMap values={[1, 2, 3, 4]} width={2} height={2} quantity="energy" title="surface" />,
    );
    expect(
      screen.getByRole("img", { name: "surface: 2 by 2 cells, energy from 1 to 4" }),
    ).toBeDefined();
  });
});

describe("the list of runs", () => {
  it("cancels unfinished runs and deletes ended ones", async () => {
    const server = fakeServer();
    const unfinished: Run = { ...RUN, run_id: "fedcba9876543210", state: "running" };
    server.on("GET /v1/runs", {
      items: [unfinished, RUN],
      next_cursor: "abc",
      previous_cursor: null,
    });
    server.on(`POST /v1/runs/${unfinished.run_id}/cancel`, unfinished);
    server.on(`DELETE /v1/runs/${RUN.run_id}`, () => new Response(null, { status: 204 }));
    vi.stubGlobal("confirm", () => true);
    render(<RunsPage route={readRoute("#/")} />);
    fireEvent.click(await screen.findByRole("button", { name: "Cancel run fedcba98" }));
    fireEvent.click(await screen.findByRole("button", { name: "Delete run 01234567" }));
    await waitFor(() =>
      expect(server.requests.filter(({ method }) => method !== "GET")).toHaveLength(2),
    );
    expect(screen.getByRole("link", { name: "Next" }).getAttribute("href")).toBe("#/?cursor=abc");
  });

  it("links trials to their experiment", async () => {
    const trial: Run = { ...RUN, kind: "trial", experiment: { experiment_id: "e1", trial: 4 } };
    const server = fakeServer();
    server.on("GET /v1/runs", { items: [trial], next_cursor: null });
    render(<RunsPage route={readRoute("#/?kind=trial")} />);
    const link = await screen.findByRole("link", { name: "trial 4" });
    expect(link.getAttribute("href")).toBe("#/experiments/e1");
    expect(screen.queryByRole("button", { name: /^Delete/ })).toBeNull();
    expect(server.requests[0].url.searchParams.get("kind")).toBe("trial");
  });

  it("links two selected runs to their comparison", async () => {
    const server = fakeServer();
    server.on("GET /v1/runs", {
      items: [RUN, { ...RUN, run_id: "b".repeat(16) }],
      next_cursor: null,
    });
    render(<RunsPage route={readRoute("#/")} />);
    for (const box of await screen.findAllByRole("checkbox", { name: /^Select run/ })) {
      fireEvent.click(box);
    }
    const link = await screen.findByRole("link", { name: "Compare 2 runs" });
    const runs = encodeURIComponent(`${RUN.run_id},${"b".repeat(16)}`);
    expect(link.getAttribute("href")).toBe(`#/compare?runs=${runs}`);
  });

  it("shows that the server cannot be reached", async () => {
    vi.stubGlobal("fetch", () => Promise.reject(new TypeError("refused")));
    render(<RunsPage route={readRoute("#/")} />);
    expect((await screen.findByRole("alert")).textContent).toBe(
      "The server cannot be reached. Check that it is running; this page tries again.",
    );
  });
});

describe("arithmetics", () => {
  it("are shown with the version of a run", async () => {
    const server = fakeServer();
    server.on(`GET ${RUN.url}`, RUN);
    render(<RunPage runId={RUN.run_id} route={readRoute("#/")} />);
    expect(await screen.findByText("not known, arithmetic 1")).toBeDefined();
  });

  it("that differ are stated in place of a first difference", async () => {
    const server = fakeServer();
    const other: Run = { ...RUN, run_id: "b", url: "/v1/runs/b", version: "0.2.0", arithmetic: 2 };
    const comparison: Comparison = {
      a: RUN.run_id,
      b: "b",
      note: "run a was computed otherwise",
      metrics: {},
      samples: [],
    };
    server.on("GET /v1/runs", { items: [RUN, other], next_cursor: null });
    server.on(`GET ${RUN.url}`, RUN);
    server.on("GET /v1/runs/b", other);
    server.on(`GET ${RUN.url}/compare/b`, comparison);
    const route = readRoute(`#/compare?a=${RUN.run_id}&b=b`);
    const view = render(<ComparePage route={route} />);
    expect(await screen.findByText(/run a was computed otherwise/)).toBeDefined();
    expect(screen.queryByRole("heading", { name: /First difference/ })).toBeNull();
    view.unmount();
    server.on(`GET ${RUN.url}/compare/b`, { ...comparison, note: null });
    render(<ComparePage route={route} />);
    expect(await screen.findByRole("heading", { name: /First difference/ })).toBeDefined();
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

  it("of one reason are searched page by page", async () => {
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
    const pages = server.requests.filter(({ url }) => url.pathname.endsWith("/trace"));
    const requested = pages.map(({ url }) => url.searchParams.get("kind"));
    expect(requested).toEqual(["terminate", "terminate"]);
    expect(screen.queryByRole("button", { name: "More" })).toBeNull();
  });

  it("of a lineage are requested together", async () => {
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

describe("a trace", () => {
  const counts = { spawn: 0, reflect: 3, terminate: 5 };
  const none = { spawn: 0, reflect: 0, terminate: 0 };

  function show(dropped: typeof counts): void {
    fakeServer().on("GET /v1/runs/0123456789abcdef/trace", { items: [], next_cursor: null });
    const trace = { totals: counts, recorded: counts, dropped };
    render(<TracePanel run={{ ...RUN, trace: trace as Run["trace"] }} sample={0} />);
  }

  it("that is cut has a warning", () => {
    show({ ...none, reflect: 1200, terminate: 34 });
    expect(screen.getByText(/The trace is cut: it lacks 1,234 records/)).toBeTruthy();
  });

  it("that is whole has none", () => {
    show(none);
    expect(screen.queryByText(/The trace is cut/)).toBeNull();
  });
});

describe("the form", () => {
  const model = {
    name: "default",
    trained: false,
    loaded: true,
    coord_version: 2,
    config: { embedding_dim: 8, seed: 0, noise_std: 0.25 },
    sample_url: null,
  };

  it("shows the cost while a run is entered", async () => {
    const server = fakeServer();
    server.on("GET /v1/models", { items: [model], next_cursor: null });
    server.on("POST /v1/simulate", {
      samples: 2,
      flows: 32,
      predicted_bytes: 4096,
      flow_steps_bound: 128,
      queue_wait_ms: 0,
      warnings: ["a warning"],
    });
    render(<TryPage route={readRoute("#/try")} />);
    expect(await screen.findByText("4 KiB")).toBeDefined();
    expect(screen.getByText("a warning")).toBeDefined();
    expect(screen.getByText("2 × 8 numbers drawn at random")).toBeDefined();
  });

  it("shows errors at their fields and cannot be sent", async () => {
    const server = fakeServer();
    server.on("GET /v1/models", { items: [model], next_cursor: null });
    server.on("POST /v1/simulate", () =>
      json(
        {
          title: "Invalid input",
          detail: "",
          errors: [fault(["options", "noise_std"], "must be at most 10")],
        },
        422,
      ),
    );
    render(<TryPage route={readRoute("#/try")} />);
    const field = await screen.findByLabelText("noise std");
    fireEvent.input(field, { target: { value: "11" } });
    const message = await screen.findByText("must be at most 10");
    expect(message.closest(".field")?.contains(field)).toBe(true);
    expect(field.getAttribute("aria-invalid")).toBe("true");
    expect(screen.getByRole<HTMLButtonElement>("button", { name: "Run" }).disabled).toBe(true);
  });
});
