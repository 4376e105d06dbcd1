import { beforeEach, describe, expect, it, vi } from "vitest";
import { EventParser, follow } from "../src/api/event_stream";
import { explain, getJson, Problem, query, sendJson } from "../src/api/http";
import { onKeyNeeded } from "../src/api/key";
import { readHeader, readNpy } from "../src/api/npy";
import { submitRun } from "../src/api/submit";
import { fakeServer, json } from "./fake_server";
import { npy } from "./npy_files";

beforeEach(() => sessionStorage.clear());

describe("requests", () => {
  it("send the API key after the user has entered it", async () => {
    const server = fakeServer();
    server.on("GET /v1/system", (_url, init) =>
      new Headers(init.headers).get("authorization") === "Bearer right"
        ? json({ device: "cpu" })
        : json({ title: "Not authenticated", detail: "send the API key" }, 401),
    );
    const prompt = vi
      .fn()
      .mockResolvedValueOnce({ key: "wrong", isKept: false })
      .mockResolvedValueOnce({ key: "right", isKept: false });
    onKeyNeeded(prompt);
    const both = await Promise.all([getJson("/v1/system"), getJson("/v1/system")]);
    expect(both).toEqual([{ device: "cpu" }, { device: "cpu" }]);
    expect(prompt.mock.calls).toEqual([[false], [true]]);
    await getJson("/v1/system");
    expect(prompt).toHaveBeenCalledTimes(2);
  });

  it("throw the problem of a refusal", async () => {
    const server = fakeServer();
    const errors = [{ loc: ["options", "noise_std"], msg: "must be at most 10", got: 11 }];
    server.on("POST /v1/runs", () =>
      json({ title: "Invalid input", detail: "noise_std", status: 422, errors }, 422),
    );
    const refused = await sendJson("POST", "/v1/runs", {}).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(Problem);
    expect((refused as Problem).errors).toEqual(errors);
    expect(explain(refused)).toBe("Invalid input: noise_std");
  });

  it("throw a problem when a proxy answers", async () => {
    fakeServer().on("GET /v1/runs", () => new Response("<html>gateway</html>", { status: 502 }));
    const refused = await getJson("/v1/runs").catch((error: unknown) => error);
    expect((refused as Problem).status).toBe(502);
    expect((refused as Problem).detail).toContain("gateway");
  });

  it("leave empty values out of a query", () => {
    expect(query({ a: 1, b: null, c: undefined, d: "", e: "x y" })).toBe("?a=1&e=x+y");
    expect(query({ kind: ["run", "trial"], none: [] })).toBe("?kind=run&kind=trial");
    expect(query({})).toBe("");
  });
});

describe("requests for runs", () => {
  const rest = {
    model: "default",
    seed: "7",
    outputs: ["surface" as const],
    options: { noise_std: 0 },
    labels: { name: "first", tags: ["a", "b"] },
  };

  it("are sent as JSON", async () => {
    const server = fakeServer();
    server.on("POST /v1/runs", { run_id: "r" });
    await submitRun({ ...rest, embeddings: { kind: "rows", rows: [[1]], summary: "" } }, "k");
    const [{ body, headers }] = server.requests;
    const { labels, ...request } = rest;
    expect(JSON.parse(body as string)).toEqual({
      ...request,
      ...labels,
      seed: 7,
      embeddings: [[1]],
    });
    expect(headers.get("idempotency-key")).toBe("k");
  });

  it("are sent as a file with query parameters", async () => {
    const server = fakeServer();
    server.on("POST /v1/runs", { run_id: "r" });
    const file = new File(["1,2"], "rows.csv");
    const embeddings = {
      kind: "file",
      file,
      mediaType: "text/csv",
      column: "",
      summary: "",
    } as const;
    await submitRun({ ...rest, embeddings }, "k");
    await submitRun({ ...rest, embeddings: { ...embeddings, column: "mine" } }, "k");
    expect(server.requests[1].url.searchParams.get("column")).toBe("mine");
    const [{ url, body, headers }] = server.requests;
    expect(body).toBe(file);
    expect(headers.get("content-type")).toBe("text/csv");
    expect(Object.fromEntries(url.searchParams)).toEqual({
      name: "first",
      tags: "a,b",
      model: "default",
      seed: "7",
      outputs: "surface",
      options: '{"noise_std":0}',
    });
  });
});

describe("event streams", () => {
  it("are parsed from pieces of any length", () => {
    const text =
      'retry: 1000\n\nid: 1\nevent: state\ndata: {"state":"running"}\r\n\r\n: idle\n\nid: 2\nevent: step\ndata: {"step":\ndata: 0}\n\n';
    for (const size of [1, 2, 3, 7, text.length]) {
      const parser = new EventParser();
      const events = [];
      for (let at = 0; at < text.length; at += size) {
        events.push(...parser.push(text.slice(at, at + size)));
      }
      expect(events).toEqual([
        { id: "1", name: "state", data: { state: "running" } },
        { id: "2", name: "step", data: { step: 0 } },
      ]);
    }
  });

  it("reconnect after the last event", async () => {
    const server = fakeServer();
    let answered = 0;
    server.on("GET /v1/runs/r/events", () => {
      answered += 1;
      const id = answered;
      return new Response(`id: ${id}\nevent: step\ndata: {"step":${id}}\n\n`);
    });
    const seen: unknown[] = [];
    await follow(
      "/v1/runs/r/events",
      (event) => {
        seen.push(event.data);
        return seen.length < 2;
      },
      new AbortController().signal,
    );
    expect(seen).toEqual([{ step: 1 }, { step: 2 }]);
    expect(server.requests.map(({ headers }) => headers.get("last-event-id"))).toEqual([null, "1"]);
  });
});

describe(".npy files", () => {
  it.each([1, 2])("are read, version %i", (version) => {
    const { shape, data } = readNpy(
      npy("<f4", [2, 3], new Float32Array([1, 2, 3, 4, 5, 6]), version),
    );
    expect(shape).toEqual([2, 3]);
    expect([...data]).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it("keep whole numbers, and shapes of one axis", () => {
    const { shape, data } = readNpy(npy("<i4", [3], new Int32Array([7, -8, 9])));
    expect(shape).toEqual([3]);
    expect(data).toBeInstanceOf(Int32Array);
    expect([...data]).toEqual([7, -8, 9]);
  });

  it("of booleans are zeros and ones", () => {
    const { data } = readNpy(npy("|b1", [2, 2], new Uint8Array([0, 1, 1, 0])));
    expect([...data]).toEqual([0, 1, 1, 0]);
  });

  it("are refused if they are invalid, too short or of another dtype", () => {
    expect(() => readHeader(new TextEncoder().encode("PK, not numpy at all").buffer)).toThrow(
      "not a .npy",
    );
    const file = npy("<f4", [4], new Float32Array(4));
    expect(() => readNpy(file.slice(0, -4))).toThrow("too short");
    expect(() => readNpy(npy("|O", [1], new Uint8Array(1)))).toThrow("cannot be shown");
  });
});
