/** A server in place of `fetch`: it answers by method and path, and records requests. */

import { vi } from "vitest";

type Answer = (url: URL, init: RequestInit) => Response | Promise<Response>;

export interface FakeServer {
  on: (methodAndPath: string, answer: Answer | object) => void;
  requests: { method: string; url: URL; headers: Headers; body: unknown }[];
}

export function json(value: unknown, status = 200, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(value), {
    status,
    headers: { "Content-Type": "application/json", ...headers },
  });
}

export function fakeServer(): FakeServer {
  const answers = new Map<string, Answer | object>();
  const server: FakeServer = {
    on: (methodAndPath, answer) => answers.set(methodAndPath, answer),
    requests: [],
  };
  vi.stubGlobal("fetch", async (path: string, init: RequestInit = {}) => {
    const url = new URL(path, "http://127.0.0.1");
    const method = init.method ?? "GET";
    server.requests.push({ method, url, headers: new Headers(init.headers), body: init.body });
    const answer = answers.get(`${method} ${url.pathname}`);
    if (answer === undefined) {
      return json({ title: "Not found", detail: `nothing at ${url.pathname}` }, 404);
    }
    return typeof answer === "function" ? (answer as Answer)(url, init) : json(answer);
  });
  return server;
}
