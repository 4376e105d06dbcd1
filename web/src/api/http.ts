/** Requests to the server that serves these pages, with the API key; refusals are exceptions. */

import { askForKey, storedKey } from "./key";
import type { Fault, ProblemDocument } from "./types";

/** A refusal of the server (RFC 9457). */
export class Problem extends Error {
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  readonly errors: Fault[];
  /** Of a refused deletion by a filter: how many the filter selects. */
  readonly count: number | null;

  constructor(document: ProblemDocument) {
    super(document.detail || document.title);
    this.name = "Problem";
    this.status = document.status;
    this.title = document.title;
    this.detail = document.detail;
    this.errors = document.errors ?? [];
    this.count = document.count ?? null;
  }
}

/** Return the problem that an answer with a status of 300 or above describes. */
async function readProblem(response: Response): Promise<Problem> {
  const text = await response.text().catch(() => "");
  try {
    const document = JSON.parse(text) as Partial<ProblemDocument>;
    return new Problem({
      title: document.title ?? "Refused",
      detail: document.detail ?? "",
      errors: document.errors ?? [],
      count: document.count ?? null,
      status: response.status,
    });
  } catch {
    return new Problem({
      title: response.statusText || "Refused",
      detail: text.slice(0, 200) || `the server answered ${response.status}`,
      status: response.status,
    });
  }
}

/**
 * Return the address of a path of the server.
 *
 * It is relative to the folder of the pages, because a proxy may have the server below a path of its own.
 */
export function addressOf(path: string): string {
  return `.${path}`;
}

/**
 * Send a request. While the server refuses the API key, ask for one and retry.
 *
 * @throws Problem the server refused.
 * @throws TypeError the server cannot be reached.
 */
export async function request(path: string, init: RequestInit = {}): Promise<Response> {
  for (;;) {
    const key = storedKey();
    const headers = new Headers(init.headers);
    if (key !== null) {
      headers.set("Authorization", `Bearer ${key}`);
    }
    const response = await fetch(addressOf(path), { ...init, headers });
    if (response.ok) {
      return response;
    }
    if (response.status !== 401) {
      throw await readProblem(response);
    }
    await askForKey(key);
  }
}

export async function getJson<T>(path: string, signal?: AbortSignal): Promise<T> {
  const response = await request(path, {
    headers: { Accept: "application/json" },
    ...(signal && { signal }),
  });
  return (await response.json()) as T;
}

export async function getBytes(path: string, signal?: AbortSignal): Promise<ArrayBuffer> {
  const response = await request(path, signal ? { signal } : {});
  return response.arrayBuffer();
}

/** Send JSON and read JSON; return `undefined` for an empty answer. */
export async function sendJson<T>(
  method: "POST" | "PATCH" | "DELETE",
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<T> {
  const response = await request(path, {
    method,
    headers,
    ...(body !== undefined && {
      body: JSON.stringify(body),
      headers: { ...headers, "Content-Type": "application/json" },
    }),
  });
  const text = await response.text();
  return (text ? JSON.parse(text) : undefined) as T;
}

/** Send a file and read JSON. */
export async function uploadFile<T>(path: string, file: File, signal?: AbortSignal): Promise<T> {
  const response = await request(path, {
    method: "PUT",
    body: file,
    headers: { "Content-Type": "application/octet-stream" },
    ...(signal && { signal }),
  });
  return (await response.json()) as T;
}

type QueryValue = string | number | null | undefined;

/** Parameters of a list: its filter, its order and its place. */
export type ListParameters = Readonly<Record<string, QueryValue>>;

/** Return `?a=1&b=2` without empty values; a list repeats its name. */
export function query(values: Record<string, QueryValue | readonly string[]>): string {
  const pairs = new URLSearchParams();
  for (const [name, entry] of Object.entries(values)) {
    for (const value of Array.isArray(entry) ? (entry as readonly string[]) : [entry]) {
      if (value !== null && value !== undefined && value !== "") {
        pairs.append(name, String(value));
      }
    }
  }
  const text = pairs.toString();
  return text && `?${text}`;
}

/** Return the message of any failure. */
export function explain(error: unknown): string {
  if (error instanceof Problem) {
    return error.detail ? `${error.title}: ${error.detail}` : error.title;
  }
  if (error instanceof TypeError) {
    return "The server cannot be reached. Check that it is running; this page tries again.";
  }
  return error instanceof Error ? error.message : String(error);
}

/** Statuses of a server, or of a proxy in front of it, that is starting. */
const STARTING_STATUSES: readonly number[] = [502, 503, 504];

/** Return whether a server did not answer, so that a later request may succeed. */
export function isUnreachable(error: unknown): boolean {
  return (
    error instanceof TypeError ||
    (error instanceof Problem && STARTING_STATUSES.includes(error.status))
  );
}

export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

/** Return a new Idempotency-Key: a request that is sent twice with it has an effect once. */
export function newKey(): string {
  return crypto.randomUUID?.() ?? `pages-${Date.now()}-${Math.random()}`;
}
