import { cleanup, fireEvent, render, screen, waitFor, within } from "@testing-library/preact";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Problem } from "../src/api/http";
import type { Run } from "../src/api/types";
import { LabelsPanel } from "../src/labels/labels_panel";
import { parseOptions, readListState, toParameters } from "../src/lists/list_state";
import { RunPage } from "../src/pages/run_page";
import { RunsPage } from "../src/pages/runs_page";
import { readRoute } from "../src/route";
import { type FakeServer, fakeServer, json } from "./fake_server";
import { fault } from "./faults";
import { runWith } from "./run_samples";

const RUN: Run = { ...runWith(["surface"], {}), run_id: "0123456789abcdef" };

beforeEach(() => {
  location.hash = "";
  // A hidden page does not poll.
  vi.spyOn(document, "visibilityState", "get").mockReturnValue("hidden");
});
afterEach(cleanup);

function serverWith(items: Run[], cursors: object = {}): FakeServer {
  const server = fakeServer();
  server.on("GET /v1/models", { items: [], next_cursor: null });
  server.on("GET /v1/runs", { items, next_cursor: null, previous_cursor: null, ...cursors });
  return server;
}

describe("the state of a list", () => {
  it("becomes parameters of the server", () => {
    const hash =
      "#/?search=ab&state=failed&model=m&tag=x,%20y&options=noise_std%3D0.10,spawn.mode%3Doff" +
      "&from=2026-05-04&to=2026-05-04&sort=-duration&cursor=c";
    const { created_after, created_before, ...rest } = toParameters(readListState(readRoute(hash)));
    expect(rest).toEqual({
      search: "ab",
      state: "failed",
      model: "m",
      tag: "x,y",
      options: '{"noise_std":0.1,"spawn.mode":"off"}',
      sort: "-duration",
      cursor: "c",
    });
    const hours = (Date.parse(String(created_before)) - Date.parse(String(created_after))) / 36e5;
    expect(Math.abs(hours - 24)).toBeLessThanOrEqual(1);
    expect(new Date(String(created_after)).getHours()).toBe(0);
  });

  it("is the newest first without parameters", () => {
    const parameters = toParameters(readListState(readRoute("#/?state=nonsense")));
    expect(Object.values(parameters).filter(Boolean)).toEqual([]);
  });

  it("reads options by their kinds", () => {
    expect(parseOptions("convergence.enabled = false; max_steps=8, background=null")).toEqual({
      "convergence.enabled": false,
      max_steps: 8,
      background: null,
    });
    expect(parseOptions(" , ")).toBeNull();
  });
});

describe("a list", () => {
  it("is sorted by the heads of its columns", async () => {
    serverWith([RUN]);
    render(<RunsPage route={readRoute("#/?sort=name&cursor=c")} />);
    const head = await screen.findByRole("columnheader", { name: /^run/ });
    expect(head.getAttribute("aria-sort")).toBe("ascending");
    location.hash = "#/?sort=name&cursor=c";
    fireEvent.click(within(head).getByRole("button"));
    expect(location.hash).toBe("#/?sort=-name");
    fireEvent.click(screen.getByRole("button", { name: "time" }));
    expect(location.hash).toBe("#/?sort=-duration");
    fireEvent.click(screen.getByRole("button", { name: "created" }));
    expect(location.hash).toBe("#/");
  });

  it("continues in both directions with its filter", async () => {
    serverWith([RUN], { next_cursor: "n", previous_cursor: "p" });
    render(<RunsPage route={readRoute("#/?state=failed&cursor=c")} />);
    const link = async (name: string) =>
      (await screen.findByRole("link", { name })).getAttribute("href");
    expect(await link("First")).toBe("#/?state=failed");
    expect(await link("Previous")).toBe("#/?state=failed&cursor=p");
    expect(await link("Next")).toBe("#/?state=failed&cursor=n");
  });

  it("deletes all that match once their number is confirmed", async () => {
    const server = serverWith([RUN]);
    const bodies: unknown[] = [];
    server.on("POST /v1/runs:delete", (_: URL, { body }: RequestInit) => {
      const sent = JSON.parse(body as string) as { count: number };
      bodies.push(sent);
      return sent.count === 2
        ? json({
            deleted: [RUN.run_id],
            kept: [{ id: "b", error: { detail: "the run has not ended" } }],
          })
        : json({ title: "Conflict", detail: "the filter selects 2, not 0", count: 2 }, 409);
    });
    const asked = vi.fn(() => false);
    vi.stubGlobal("confirm", asked);
    render(<RunsPage route={readRoute("#/?search=x")} />);
    const button = await screen.findByRole("button", { name: "Delete all that match" });
    fireEvent.click(button);
    await waitFor(() => expect(asked).toHaveBeenCalledTimes(1));
    expect(asked).toHaveBeenCalledWith("Delete 2 runs with all files? This cannot be undone.");
    await waitFor(() => expect(button).toHaveProperty("disabled", false));
    expect(bodies).toHaveLength(1);
    asked.mockReturnValue(true);
    fireEvent.click(button);
    expect(await screen.findByText(/1 run was not deleted/)).toBeDefined();
    expect(screen.getByText("b: the run has not ended")).toBeDefined();
    const filter = { search: "x", kind: ["simulate", "run"] };
    expect(bodies.at(-1)).toEqual({ filter, count: 2 });
  });
});

describe("name, tags and note", () => {
  it("of a run are its title, links and a text", async () => {
    const server = fakeServer();
    server.on("GET /v1/runs/r1", { ...runWith([], {}), name: "first", tags: ["a b"], note: "n" });
    render(<RunPage runId="r1" route={readRoute("#/runs/r1")} />);
    expect(await screen.findByRole("heading", { level: 1, name: "first" })).toBeDefined();
    const tag = screen.getByRole("link", { name: "tag a b" });
    expect(tag.getAttribute("href")).toBe("#/?tag=a+b");
    expect(screen.getByText("n")).toBeDefined();
  });

  it("are changed, and faults are shown at their fields", async () => {
    const change = vi.fn().mockRejectedValueOnce(
      new Problem({
        title: "Invalid input",
        detail: "",
        status: 422,
        errors: [fault(["tags", 0], "is too long")],
      }),
    );
    const changed = vi.fn();
    const labels = { name: "first", tags: ["a"], note: null };
    render(<LabelsPanel labels={labels} hasName list={[]} change={change} onChanged={changed} />);
    fireEvent.click(screen.getByRole("button", { name: "Edit name, tags and note" }));
    fireEvent.input(screen.getByLabelText("name"), { target: { value: " second " } });
    fireEvent.input(screen.getByLabelText("tags"), { target: { value: "x,, y z ," } });
    fireEvent.click(screen.getByRole("button", { name: "Save" }));
    expect(await screen.findByText("is too long")).toBeDefined();
    expect(screen.getByLabelText("tags").getAttribute("aria-invalid")).toBe("true");
    change.mockResolvedValueOnce({});
    fireEvent.click(screen.getByRole("button", { name: "Save" }));
    await waitFor(() => expect(changed).toHaveBeenCalledTimes(1));
    expect(change).toHaveBeenLastCalledWith({ name: "second", tags: ["x", "y z"], note: "" });
  });
});
