/** Server-sent events over fetch, because EventSource cannot send an API key. */

import { isAbort, Problem, request } from "./http";

export interface ServerEvent {
  id: string | null;
  name: string;
  data: unknown;
}

/** Turns text as it arrives into events, as the WHATWG standard says. */
export class EventParser {
  lastId: string | null = null;
  #unread = "";
  #name = "";
  #data: string[] = [];

  push(text: string): ServerEvent[] {
    const events: ServerEvent[] = [];
    this.#unread += text;
    // A carriage return at the very end may be the first half of a line end, so it waits.
    const lines = this.#unread.split(/\r\n|\n|\r(?!$)/);
    this.#unread = lines.pop() ?? "";
    for (const line of lines) {
      if (line === "") {
        if (this.#data.length) {
          events.push({
            id: this.lastId,
            name: this.#name || "message",
            data: JSON.parse(this.#data.join("\n")) as unknown,
          });
        }
        this.#name = "";
        this.#data = [];
        continue;
      }
      const colon = line.indexOf(":");
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (field === "event") {
        this.#name = value;
      } else if (field === "data") {
        this.#data.push(value);
      } else if (field === "id" && !value.includes("\0")) {
        this.lastId = value;
      }
    }
    return events;
  }
}

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;
/** The server writes at least every 15 s; a connection on which nothing comes for so long is dead. */
const LONGEST_SILENCE_MS = 45_000;
/** Refusals that pass: too many requests, and a server or what stands before it being restarted. */
const PASSING: readonly number[] = [429, 502, 503, 504];

/**
 * Hands over events until `take` returns false or the signal ends it; a broken connection is taken
 * up again after the last event.
 *
 * @param onLink told false when the connection broke, true once events come again.
 * @param after the last event that is known already; null for the beginning.
 * @throws Problem the server refused for good.
 */
export async function follow(
  path: string,
  take: (event: ServerEvent) => boolean,
  signal: AbortSignal,
  onLink: (linked: boolean) => void = () => {},
  after: number | null = null,
): Promise<void> {
  let lastId = after === null ? null : String(after);
  let wait = FIRST_WAIT_MS;
  let linked = true;
  const link = (now: boolean): void => {
    if (now !== linked) {
      linked = now;
      onLink(now);
    }
  };
  while (!signal.aborted) {
    const connection = new Connection(signal);
    try {
      const headers: Record<string, string> = { Accept: "text/event-stream" };
      if (lastId !== null) {
        headers["Last-Event-ID"] = lastId;
      }
      connection.heard();
      const response = await request(path, { headers, signal: connection.signal });
      if (response.body === null) {
        return;
      }
      link(true);
      const parser = new EventParser();
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        connection.heard();
        const { done, value } = await reader.read();
        if (done) {
          break;
        }
        wait = FIRST_WAIT_MS;
        for (const event of parser.push(value)) {
          lastId = event.id ?? lastId;
          if (!take(event)) {
            await reader.cancel();
            return;
          }
        }
      }
    } catch (error) {
      if (signal.aborted) {
        return;
      }
      const passes = error instanceof Problem && PASSING.includes(error.status);
      if (!passes && !isAbort(error) && !(error instanceof TypeError)) {
        throw error;
      }
    } finally {
      connection.close();
    }
    link(false);
    await pause(wait, signal);
    wait = Math.min(2 * wait, LONGEST_WAIT_MS);
  }
}

/** One connection: ends with the signal of its user, or when nothing has come for too long. */
class Connection {
  readonly #controller = new AbortController();
  readonly #outer: AbortSignal;
  readonly #abort = () => this.#controller.abort();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(outer: AbortSignal) {
    this.#outer = outer;
    outer.addEventListener("abort", this.#abort);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  heard(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#abort, LONGEST_SILENCE_MS);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#outer.removeEventListener("abort", this.#abort);
  }
}

/** Resolves after a while, or at once when the signal ends it. */
export function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener("abort", done, { once: true });
    function done() {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    }
  });
}
