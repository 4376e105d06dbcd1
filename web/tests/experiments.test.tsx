import { cleanup, fireEvent, render, screen, waitFor, within } from "@testing-library/preact";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Curves, Experiment, Trial } from "../src/api/types";
import { CurveChart } from "../src/experiments/curve_chart";
import { selectFigures, smooth } from "../src/experiments/curves";
import { ParallelCoordinates } from "../src/experiments/parallel_coordinates";
import { SweepPlot } from "../src/experiments/sweep_plot";
import { DataPage } from "../src/pages/data_page";
import { ExperimentPage } from "../src/pages/experiment_page";
import { ExperimentsPage } from "../src/pages/experiments_page";
import { NewExperimentPage } from "../src/pages/new_experiment_page";
import { readRoute } from "../src/route";
import { DATASET, eventText, EXPERIMENT, MODEL, page, trial } from "./experiment_samples";
import { type FakeServer, fakeServer, json } from "./fake_server";
import { fault } from "./faults";

beforeEach(() => {
  sessionStorage.clear();
  // A hidden page does not poll.
  vi.spyOn(document, "visibilityState", "get").mockReturnValue("hidden");
});
afterEach(cleanup);

const ENDED: Experiment = {
  ...EXPERIMENT,
  state: "succeeded",
  ended_at: "2026-01-01T00:02:01Z",
  trials: { total: 6, queued: 0, running: 0, paused: 0, succeeded: 6, failed: 0, cancelled: 0 },
  progress: { ...EXPERIMENT.progress, fraction: 1, samples_done: 600, seconds_left: null },
};

function changes(server: FakeServer): string[] {
  return server.requests
    .filter(({ method }) => method !== "GET")
    .map(({ method, url }) => `${method} ${url.pathname}`);
}

describe("the list of experiments", () => {
  it("has buttons for the transitions of each state", async () => {
    const server = fakeServer();
    const paused: Experiment = {
      ...EXPERIMENT,
      experiment_id: "e2",
      name: "walls",
      state: "paused",
    };
    const ended: Experiment = { ...ENDED, experiment_id: "e3", name: "depth" };
    const failed: Experiment = { ...ENDED, experiment_id: "e4", name: "luck", state: "failed" };
    server.on("GET /v1/experiments", page([EXPERIMENT, paused, ended, failed]));
    server.on("POST /v1/experiments/e4/retry", EXPERIMENT);
    server.on("POST /v1/experiments/e1/pause", EXPERIMENT);
    server.on("POST /v1/experiments/e2/resume", paused);
    server.on("POST /v1/experiments/e2/cancel", paused);
    server.on("DELETE /v1/experiments/e3", () => new Response(null, { status: 204 }));
    const requested = vi.fn(() => true);
    vi.stubGlobal("confirm", requested);
    render(<ExperimentsPage route={readRoute("#/experiments")} />);
    fireEvent.click(await screen.findByRole("button", { name: "Pause noise" }));
    fireEvent.click(await screen.findByRole("button", { name: "Resume walls" }));
    expect(requested).not.toHaveBeenCalled();
    fireEvent.click(await screen.findByRole("button", { name: "Cancel walls" }));
    fireEvent.click(await screen.findByRole("button", { name: "Delete depth" }));
    fireEvent.click(await screen.findByRole("button", { name: "Retry luck" }));
    expect(requested).toHaveBeenCalledTimes(3);
    await waitFor(() =>
      expect(changes(server).sort()).toEqual([
        "DELETE /v1/experiments/e3",
        "POST /v1/experiments/e1/pause",
        "POST /v1/experiments/e2/cancel",
        "POST /v1/experiments/e2/resume",
        "POST /v1/experiments/e4/retry",
      ]),
    );
    for (const name of [
      "Resume noise",
      "Delete noise",
      "Pause walls",
      "Cancel depth",
      "Retry depth",
    ]) {
      expect(screen.queryByRole("button", { name })).toBeNull();
    }
    const row = screen.getByRole("link", { name: "noise" }).closest("tr") as HTMLElement;
    expect(row.textContent).toContain("2 of 6 trials, 38.3 %");
    expect(row.textContent).toContain("1 min");
  });

  it("deletes nothing without a confirmation, and shows refusals", async () => {
    const server = fakeServer();
    server.on("GET /v1/experiments", page([EXPERIMENT, { ...ENDED, experiment_id: "e3" }]));
    server.on("POST /v1/experiments/e1/pause", () =>
      json({ title: "Conflict", detail: "cannot pause in state 'failed'" }, 409),
    );
    vi.stubGlobal("confirm", () => false);
    render(<ExperimentsPage route={readRoute("#/experiments")} />);
    fireEvent.click(await screen.findByRole("button", { name: "Delete noise" }));
    fireEvent.click(screen.getByRole("button", { name: "Cancel noise" }));
    fireEvent.click(screen.getByRole("button", { name: "Pause noise" }));
    expect((await screen.findByRole("alert")).textContent).toContain("cannot pause");
    expect(changes(server)).toEqual(["POST /v1/experiments/e1/pause"]);
  });
});

/** Return a server with this experiment and its trials. */
function serve(experiment: Experiment, trials: Trial[]): FakeServer {
  const server = fakeServer();
  server.on("GET /v1/experiments/e1", experiment);
  server.on("GET /v1/experiments/e1/trials", page(trials));
  return server;
}

/** Return a stream that stays open, with functions to write to it and to close it. */
function openStream(): { response: Response; write: (text: string) => void; close: () => void } {
  const encoder = new TextEncoder();
  let controller!: ReadableStreamDefaultController<Uint8Array>;
  const stream = new ReadableStream<Uint8Array>({ start: (made) => void (controller = made) });
  return {
    response: new Response(stream),
    write: (text) => controller.enqueue(encoder.encode(text)),
    close: () => controller.close(),
  };
}

describe("an experiment's page", () => {
  const begun = [trial(0, "succeeded", 2), trial(1, "running"), trial(2, "queued")];

  it("follows its trials", async () => {
    const server = serve(EXPERIMENT, begun);
    const events = openStream();
    server.on("GET /v1/experiments/e1/events", () => events.response);
    render(<ExperimentPage id="e1" route={readRoute("#/experiments/e1")} />);
    const cells = async (number: number) =>
      within((await screen.findAllByRole("row"))[number + 1]).getAllByRole("cell");
    expect((await cells(1))[1].textContent).toContain("running");
    events.write(
      eventText(7, "progress", {
        trials: EXPERIMENT.trials,
        progress: { ...EXPERIMENT.progress, fraction: 0.5, seconds_left: 30 },
        running: [{ trial: 1, samples_done: 60, samples: 100 }],
      }),
    );
    expect(await screen.findByText("60 of 100")).toBeDefined();
    expect(screen.getByText("about 30 s left")).toBeDefined();
    const failed = {
      ...trial(1, "failed"),
      error: { title: "Failed", status: 500, detail: "no room" },
    };
    events.write(eventText(8, "trial", failed));
    expect(await screen.findByText("Failed: no room")).toBeDefined();
    expect((await cells(1))[1].textContent).toContain("failed");
    // The data that is loaded at the end replaces that of events.
    server.on("GET /v1/experiments/e1", ENDED);
    events.write(eventText(9, "state", { state: "failed" }));
    expect(await screen.findByRole("button", { name: "Delete noise" })).toBeDefined();
  });

  it("that has another arithmetic is not to be resumed", async () => {
    const detail = "the experiment cannot continue";
    const problem = { type: "", title: "Not allowed", status: 409, detail, errors: [] };
    const paused: Experiment = { ...EXPERIMENT, state: "paused", error: problem };
    serve(paused, begun);
    const view = render(<ExperimentPage id="e1" route={readRoute("#/experiments/e1")} />);
    expect(await screen.findByText(/resume it to continue/)).toBeDefined();
    expect(screen.getByText("0.1.0, arithmetic 1")).toBeDefined();
    view.unmount();
    const other = { ...problem, server_arithmetic: 2 };
    serve({ ...paused, error: other }, begun);
    render(<ExperimentPage id="e1" route={readRoute("#/experiments/e1")} />);
    expect(await screen.findByText(/the experiment cannot continue/)).toBeDefined();
    expect(screen.queryByText(/resume it to continue/)).toBeNull();
  });

  it("reconnects after the last event", async () => {
    const server = serve(EXPERIMENT, begun);
    const streams = [openStream(), openStream()];
    let connections = 0;
    server.on("GET /v1/experiments/e1/events", () => {
      connections += 1;
      // Meanwhile the server is starting.
      return connections === 2
        ? json({ title: "Starting", status: 503 }, 503)
        : streams[connections === 1 ? 0 : 1].response;
    });
    render(<ExperimentPage id="e1" route={readRoute("#/experiments/e1")} />);
    await screen.findByRole("heading", { name: "noise" });
    streams[0].write(eventText(41, "trial", trial(2, "running")));
    await waitFor(() =>
      expect(screen.getAllByText(/running/, { selector: ".badge" })).toHaveLength(3),
    );
    streams[0].close();
    expect(await screen.findByText(/The connection to the server is lost/)).toBeDefined();
    const now = [trial(0, "succeeded"), trial(1, "running"), trial(2, "succeeded")];
    server.on("GET /v1/experiments/e1/trials", page(now));
    streams[1].write(eventText(42, "trial", now[2]));
    await waitFor(() =>
      expect(screen.queryByText(/The connection to the server is lost/)).toBeNull(),
    );
    await waitFor(() =>
      expect(screen.getAllByText(/succeeded/, { selector: ".badge" })).toHaveLength(2),
    );
    const requested = server.requests.filter(({ url }) => url.pathname.endsWith("/events"));
    expect(requested.map(({ headers }) => headers.get("last-event-id"))).toEqual(["6", "41", "41"]);
  });

  it("reloads after a gap", async () => {
    const server = serve(EXPERIMENT, begun);
    const events = openStream();
    server.on("GET /v1/experiments/e1/events", () => events.response);
    render(<ExperimentPage id="e1" route={readRoute("#/experiments/e1")} />);
    await screen.findByRole("heading", { name: "noise" });
    server.on(
      "GET /v1/experiments/e1/trials",
      page([trial(0, "succeeded"), trial(1, "succeeded"), trial(2, "cancelled")]),
    );
    events.write(eventText(900, "gap", { missed: 800 }));
    expect(await screen.findByText(/cancelled/, { selector: ".badge" })).toBeDefined();
    expect(screen.getAllByText(/succeeded/, { selector: ".badge" })).toHaveLength(2);
  });

  it("links trials to their runs, and filters them by state", async () => {
    const many = Array.from({ length: 120 }, (_, number) =>
      trial(number, number === 70 ? "failed" : "succeeded"),
    );
    serve(ENDED, many);
    const view = render(<ExperimentPage id="e1" route={readRoute("#/experiments/e1?page=1")} />);
    const links = within(await screen.findByRole("row", { name: /^50 / })).getAllByRole("link");
    expect(links.map((link) => link.getAttribute("href"))).toEqual([
      "#/runs/r50",
      "#/runs/r50/trace",
      "#/runs/r50/lattice",
    ]);
    expect(screen.getByText("51 to 100 of 120")).toBeDefined();
    view.rerender(<ExperimentPage id="e1" route={readRoute("#/experiments/e1?state=failed")} />);
    expect(within(screen.getByRole("table")).getAllByRole("row")).toHaveLength(2);
    const files = screen.getAllByRole("link", { name: /^(trials|points)\./ });
    expect(files.map((link) => link.getAttribute("href"))).toContain(
      "./v1/experiments/e1/results?format=parquet&of=points",
    );
  });

  it("shows the curves of a training", async () => {
    const training: Experiment = { ...ENDED, kind: "train" };
    const server = serve(training, [trial(0, "succeeded"), trial(1, "succeeded")]);
    const view = render(<ExperimentPage id="e1" route={readRoute("#/experiments/e1")} />);
    await screen.findByRole("heading", { name: "Trials" });
    await waitFor(() =>
      expect(server.requests.some(({ url }) => url.pathname.endsWith("/0/curves"))).toBe(true),
    );
    expect(screen.queryByRole("heading", { name: "Curves" })).toBeNull();
    view.unmount();
    server.on("GET /v1/experiments/e1/trials/0/curves", {
      curves: {
        step: [0, 100, 200, 300],
        "train/loss": [1, 0.5, null, 0.25],
        "train/rate": [0.1, 0.1, null, 0.1],
        "held_out/cosine": [null, 0.3, null, null],
      },
    });
    render(<ExperimentPage id="e1" route={readRoute("#/experiments/e1")} />);
    await screen.findByRole("heading", { name: "Curves" });
    // A curve needs two points.
    expect(screen.queryByRole("img", { name: /cosine/ })).toBeNull();
    const loss = screen.getByRole("group", { name: "train/loss by step" });
    fireEvent.keyDown(loss, { key: "ArrowRight" });
    fireEvent.keyDown(loss, { key: "ArrowRight" });
    fireEvent.keyDown(loss, { key: "ArrowRight" });
    const reading = loss.parentElement?.querySelector("output");
    expect(reading?.textContent).toBe("trial 0, step 300: 0.25");
    expect(
      screen.getByRole("img", { name: "train/loss over 3 steps: trial 0 from 1 to 0.25" }),
    ).toBeDefined();
  });
});

describe("curves of trials", () => {
  const measured = new Map<number, Curves | null>([
    [0, { step: [0, 10, 100], "held_out/cosine": [1, 2, 3], "train/loss": [4, -1, 1] }],
    [1, { step: [0, 50], "train/loss": [8, 2], "train/single": [1, null] }],
    [2, null],
  ]);
  const draw = (smoothing: number, log: boolean) => {
    const [{ name, curves }] = selectFigures(measured).main;
    const chart = <CurveChart {...{ name, curves, smoothing, log }} paint={String} />;
    const { container } = render(chart);
    return [...container.querySelectorAll("path.curve")].map((path) =>
      (path.getAttribute("d") ?? "")
        .slice(1)
        .split("L")
        .map((pair) => pair.split(" ").map(Number)),
    );
  };

  it("are of one figure each, the loss first", () => {
    const { main, more } = selectFigures(measured);
    expect(main.map(({ name }) => name)).toEqual(["train/loss", "held_out/cosine"]);
    expect(main.map(({ curves }) => curves.map(({ trial }) => trial))).toEqual([[0, 1], [0]]);
    expect(more).toEqual([]);
  });

  it("are drawn at their own steps on one axis", () => {
    const [first, second] = draw(0, false);
    const [[left], [middle], [right]] = first;
    expect((middle - left) / (right - left)).toBeCloseTo(0.1, 3);
    expect((second[1][0] - left) / (right - left)).toBeCloseTo(0.5, 3);
  });

  it("have no points without a logarithm on a logarithmic axis", () => {
    const [first, second] = draw(0, true);
    expect(first).toHaveLength(2);
    // 4 to 1 is as far as 8 to 2.
    expect(first[1][1] - first[0][1]).toBeCloseTo(second[1][1] - second[0][1], 0);
  });

  it("are left out where no value has a logarithm", () => {
    const below = { name: "held_out/cosine", steps: [0, 1], values: [-1, -0.5] };
    const { container } = render(
      <CurveChart
        name="held_out/cosine"
        curves={[
          { ...below, trial: 0 },
          { ...below, trial: 1, values: [0.5, 1] },
        ]}
        smoothing={0}
        log
        paint={String}
      />,
    );
    expect(container.querySelectorAll("path.curve")).toHaveLength(1);
  });

  it("are smoothed without a pull to 0", () => {
    expect(smooth([2, 2, 2], 0.9)).toEqual([2, 2, 2]);
    expect(smooth([0, 1], 0.5)[1]).toBeCloseTo(2 / 3, 12);
    expect(smooth([3, 1], 0)).toEqual([3, 1]);
  });
});

describe("parallel coordinates", () => {
  it("have a line for each trial that has succeeded", () => {
    const fields = ["noise_std", "max_steps"];
    const lines = [0, 1, 2].map((number) => ({
      ...trial(number, number === 2 ? "failed" : "succeeded"),
      parameters: { noise_std: number, max_steps: 4 },
    }));
    const view = render(
      <ParallelCoordinates
        experiment={{ ...ENDED, fields }}
        trials={lines}
        measure="mean_path_steps"
      />,
    );
    const name = "2 trials as lines through noise_std, max_steps, mean_path_steps";
    expect(screen.getByRole("img", { name })).toBeDefined();
    const keys = screen.getByRole("group", { name: "Trials as lines" });
    fireEvent.keyDown(keys, { key: "ArrowRight" });
    fireEvent.keyDown(keys, { key: "ArrowRight" });
    expect(view.container.querySelector("output")?.textContent).toContain("trial 1: noise_std 1");
  });
});

describe("a plot of a measure", () => {
  const trials = [1, 3, 10, 20, 7].map((path, number) => trial(number, "succeeded", path));
  const plot = (log: boolean, colour: string | null = null) => (
    <SweepPlot
      trials={trials}
      seeds={2}
      measure="mean_path_steps"
      field="noise_std"
      colour={colour}
      log={log}
    />
  );

  it("has every trial, and the mean of each sweep point", () => {
    const { container } = render(plot(true));
    expect(container.querySelectorAll(".plot-trial")).toHaveLength(5);
    const means = [...container.querySelectorAll(".plot-mean")];
    expect(means).toHaveLength(3);
    // A point of one trial has no deviation.
    expect(container.querySelectorAll(".plot-deviation")).toHaveLength(2);
    const [a, b, c] = means.map((mean) => Number(mean.getAttribute("x")));
    expect((b - a) / (c - a)).toBeCloseTo(0.5, 6);
    expect(
      screen.getByRole("img", {
        name: "mean_path_steps by noise_std: 3 sweep points, least 2 at 0.01, most 15 at 0.1",
      }),
    ).toBeDefined();
  });

  it("has a linear axis without log", () => {
    const { container } = render(plot(false));
    const [a, b, c] = [...container.querySelectorAll(".plot-mean")].map((mean) =>
      Number(mean.getAttribute("x")),
    );
    expect((b - a) / (c - a)).toBeCloseTo(0.09 / 0.99, 6);
  });

  it("is read with the arrow keys", () => {
    render(plot(true));
    const marks = screen.getByRole("group", { name: "Sweep points of mean_path_steps" });
    fireEvent.keyDown(marks, { key: "ArrowRight" });
    expect(screen.getByRole("status").textContent).toBe(
      "noise_std 0.01: mean_path_steps 2 ± 1.41 (trials 0, 1)",
    );
    fireEvent.keyDown(marks, { key: "ArrowRight" });
    fireEvent.keyDown(marks, { key: "ArrowRight" });
    fireEvent.keyDown(marks, { key: "ArrowRight" });
    expect(screen.getByRole("status").textContent).toBe("noise_std 1: mean_path_steps 7 (trial 4)");
  });

  it("has colours for another field", () => {
    const { container } = render(plot(true, "seed"));
    expect(screen.getByText("seed 0")).toBeDefined();
    expect(screen.getByText("seed 1")).toBeDefined();
    const paints = [...container.querySelectorAll(".plot-point")].map((each) =>
      each.getAttribute("fill"),
    );
    expect(new Set(paints).size).toBe(2);
    // Each seed is a point of its own.
    expect(container.querySelectorAll(".plot-line")).toHaveLength(2);
  });
});

describe("the form for an experiment", () => {
  function form(): FakeServer {
    const server = fakeServer();
    server.on("GET /v1/models", page([MODEL]));
    server.on("GET /v1/datasets", page([DATASET]));
    render(<NewExperimentPage />);
    return server;
  }
  const fill = (label: string | RegExp, value: string) =>
    fireEvent.input(screen.getByLabelText(label), { target: { value } });

  it("shows the number of trials, and sends the experiment", async () => {
    const server = form();
    server.on("POST /v1/experiments", () => json(EXPERIMENT, 201));
    await screen.findByRole("option", { name: "words (100 × 8)" });
    fill("name", "noise");
    fireEvent.click(screen.getByLabelText("Every combination"));
    fill("Values of noise_std", "0.01, 0.1, 1");
    fill("seeds", "0-3");
    fill("to", "50");
    const preview = screen.getByRole("region", { name: "Trials" });
    expect(preview.textContent).toContain("12 trials");
    expect(preview.textContent).toContain("3 noise_std × 4 seeds, each of 50 rows");
    fireEvent.click(screen.getByRole("button", { name: "Start" }));
    await waitFor(() => expect(location.hash).toBe("#/experiments/e1"));
    const [{ body, headers }] = server.requests.filter(({ method }) => method === "POST");
    expect(JSON.parse(body as string)).toEqual({
      name: "noise",
      model: "default",
      dataset: "words",
      rows: [0, 50],
      options: {},
      outputs: ["surface"],
      sweep: { grid: { noise_std: [0.01, 0.1, 1] } },
      seeds: [0, 1, 2, 3],
      max_parallel: 1,
      fail_fast: false,
    });
    expect(headers.get("idempotency-key")).not.toBeNull();
  });

  it("shows errors at their fields", async () => {
    const server = form();
    server.on("POST /v1/experiments", () =>
      json(
        {
          title: "Invalid input",
          errors: [
            fault(["name"], "must be a name"),
            fault(["sweep", "random", "noise_std", "low"], "must be a finite number"),
            fault(["options", "spawn", "threshold"], "must be above 0"),
          ],
        },
        422,
      ),
    );
    await screen.findByRole("option", { name: "words (100 × 8)" });
    fireEvent.click(screen.getByLabelText("Random points"));
    fireEvent.click(screen.getByRole("button", { name: "Add a field" }));
    fireEvent.click(screen.getByRole("button", { name: "Start" }));
    expect(
      await screen.findByText("3 values are not valid; see the messages at the fields."),
    ).toBeDefined();
    const beside = (words: string, field: Element, around: string) =>
      expect(screen.getByText(words).closest(around)?.contains(field)).toBe(true);
    beside("must be a name", screen.getByLabelText("name"), ".field");
    const low = screen.getByLabelText("Low end of noise_std");
    beside("must be a finite number", low, ".sweep-row");
    expect(low.getAttribute("aria-invalid")).toBe("true");
    const threshold = document.getElementById("option-spawn.threshold") as HTMLElement;
    beside("must be above 0", threshold, ".field");
  });

  it("uploads a file where there is no dataset", async () => {
    const server = fakeServer();
    server.on("GET /v1/models", page([MODEL]));
    server.on("GET /v1/datasets", page([]));
    server.on("PUT /v1/datasets/rows", () => json({ ...DATASET, name: "rows" }, 201));
    render(<NewExperimentPage />);
    const input = await screen.findByLabelText(/Rows of numbers/);
    expect(screen.getByText("Upload a dataset first.")).toBeDefined();
    fireEvent.change(input, { target: { files: [new File(["[1]"], "rows.jsonl")] } });
    server.on("GET /v1/datasets", page([{ ...DATASET, name: "rows" }]));
    fireEvent.click(screen.getByRole("button", { name: "Upload" }));
    expect(await screen.findByRole("option", { name: "rows (100 × 8)" })).toBeDefined();
    const [{ url }] = server.requests.filter(({ method }) => method === "PUT");
    expect(url.searchParams.get("format")).toBe("jsonl");
  });
});

describe("datasets and models", () => {
  it("are listed, deleted, loaded and unloaded", async () => {
    const server = fakeServer();
    const other = { ...MODEL, name: "other", loaded: false, trained: true };
    server.on("GET /v1/datasets", page([DATASET]));
    const third = { ...MODEL, name: "third", loaded: true };
    server.on("GET /v1/models", page([other, third, MODEL]));
    server.on("DELETE /v1/datasets/words", () => new Response(null, { status: 204 }));
    server.on("POST /v1/models/other/load", other);
    server.on("POST /v1/models/third/unload", third);
    vi.stubGlobal("confirm", () => true);
    render(<DataPage route={readRoute("#/data")} />);
    const dataset = await screen.findByRole("row", { name: /^words 100 8 – 3.13 KiB/ });
    expect(within(dataset).getByRole("link").getAttribute("href")).toBe(
      "./v1/datasets/words?format=safetensors",
    );
    fireEvent.click(screen.getByRole("button", { name: "Delete words" }));
    fireEvent.click(await screen.findByRole("button", { name: "Load other" }));
    fireEvent.click(screen.getByRole("button", { name: "Unload third" }));
    for (const what of ["Unload", "Delete"]) {
      expect(screen.queryByRole("button", { name: `${what} default` })).toBeNull();
    }
    await waitFor(() =>
      expect(changes(server).sort()).toEqual([
        "DELETE /v1/datasets/words",
        "POST /v1/models/other/load",
        "POST /v1/models/third/unload",
      ]),
    );
  });

  it("are not uploaded if they are larger than the server accepts", async () => {
    const server = fakeServer();
    server.on("GET /v1/datasets", page([]));
    server.on("GET /v1/models", page([MODEL]));
    server.on("GET /v1/system", { limits: { max_upload_bytes: 3 } });
    render(<DataPage route={readRoute("#/data")} />);
    const input = await screen.findByLabelText(/Rows of numbers/);
    fireEvent.change(input, { target: { files: [new File(["[1, 2]"], "rows.jsonl")] } });
    expect((await screen.findByRole("alert")).textContent).toContain("at most 3 B");
    const [button] = screen.getAllByRole<HTMLButtonElement>("button", { name: "Upload" });
    expect(button.disabled).toBe(true);
  });

  it("are uploaded with a name from that of the file, and refusals are shown", async () => {
    const server = fakeServer();
    server.on("GET /v1/datasets", page([]));
    server.on("GET /v1/models", page([MODEL]));
    server.on("PUT /v1/models/my-net", () =>
      json({ title: "Invalid input", detail: "the file is cut short" }, 422),
    );
    render(<DataPage route={readRoute("#/data")} />);
    const input = await screen.findByLabelText(/A checkpoint/);
    fireEvent.change(input, { target: { files: [new File(["…"], "my net.safetensors")] } });
    expect(screen.getByLabelText<HTMLInputElement>("name of the model").value).toBe("my-net");
    fireEvent.click(screen.getAllByRole("button", { name: "Upload" })[1]);
    expect((await screen.findByRole("alert")).textContent).toContain("the file is cut short");
  });
});
