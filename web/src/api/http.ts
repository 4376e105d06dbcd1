/** Requests to the server these pages came from: the API key, and refusals as exceptions. */

import { askForKey, storedKey } from "./key";
import type { Fault, ProblemDocument } from "./types";

/** The server's refusal (RFC 9457). */
export class Problem extends Error {
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  readonly errors: Fault[];

  constructor(document: ProblemDocument) {
    super(document.detail || document.title);
    this.name = "Problem";
    this.status = document.status;
    this.title = document.title;
    this.detail = document.detail;
    this.errors = document.errors ?? [];
  }
}

/** The exception that an answer of 300 or above stands for. */
export async function readProblem(response: Response): Promise<Problem> {
  const text = await response.text().catch(() => "");
  try {
    const document = JSON.parse(text) as Partial<ProblemDocument>;
    return new Problem({
      title: document.title ?? "Refused",
      detail: document.detail ?? "",
      errors: document.errors ?? [],
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
 * Sends a request; asks for the API key and tries again as long as the server wants another one.
 *
 * @throws Problem the server refused. @throws TypeError it could not be reached.
 */
export async function request(path: string, init: RequestInit = {}): Promise<Response> {
  for (;;) {
    const key = storedKey();
    const headers = new Headers(init.headers);
    if (key !== null) {
      headers.set("Authorization", `Bearer ${key}`);
    }
    const response = await fetch(path, { ...init, headers });
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

/** Sends JSON, reads JSON; `undefined` where the answer is empty. */
export async function sendJson<T>(
  method: "POST" | "DELETE",
  path: string,
  body?: unknown,
  signal?: AbortSignal,
): Promise<T> {
  const response = await request(path, {
    method,
    ...(body !== undefined && {
      body: JSON.stringify(body),
      headers: { "Content-Type": "application/json" },
    }),
    ...(signal && { signal }),
  });
  const text = await response.text();
  return (text ? JSON.parse(text) : undefined) as T;
}

type QueryValue = string | number | null | undefined;

/** `?a=1&b=2` from the values that are there; a list names each of its own. */
export function query(values: Record<string, QueryValue | readonly string[]>): string {
  const pairs = new URLSearchParams();
  for (const [name, given] of Object.entries(values)) {
    for (const value of Array.isArray(given) ? (given as readonly string[]) : [given]) {
      if (value !== null && value !== undefined && value !== "") {
        pairs.append(name, String(value));
      }
    }
  }
  const text = pairs.toString();
  return text && `?${text}`;
}

/** Any failure in words for people. */
export function explain(error: unknown): string {
  if (error instanceof Problem) {
    return error.detail ? `${error.title}: ${error.detail}` : error.title;
  }
  if (error instanceof TypeError) {
    return "The server cannot be reached.";
  }
  return error instanceof Error ? error.message : String(error);
}

export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

/** An Idempotency-Key: the same order sent twice with it is carried out once. */
export function newKey(): string {
  return crypto.randomUUID?.() ?? `pages-${Date.now()}-${Math.random()}`;
}
