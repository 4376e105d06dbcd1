/** Server-sent events over fetch: EventSource cannot send an API key. */

import { isAbort, Problem, request } from "./http";

export interface ServerEvent {
  id: string | null;
  name: string;
  data: unknown;
}

/** Parse a stream of server-sent events (WHATWG HTML standard), given in pieces of any length. */
export class EventParser {
  lastId: string | null = null;
  #unread = "";
  #name = "";
  #data: string[] = [];

  /** Return the events that end in this piece. */
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

const MIN_RETRY_MS = 500;
const MAX_RETRY_MS = 10_000;
/** The server writes at least every 15 s, so a connection that is silent for longer is dead. */
const MAX_SILENCE_MS = 45_000;
/** Too many requests, and a server or a proxy in front of it that is starting. */
const TRANSIENT_STATUSES: readonly number[] = [429, 502, 503, 504];

/**
 * Pass events to `onEvent` until it returns false or the signal aborts. Reconnect after the last
 * event when a connection breaks.
 *
 * @param onConnection is called with false when the connection breaks, with true when it is back.
 * @param after the id of the last known event; null for the beginning.
 * @throws Problem the server refused, and a retry would not help.
 */
export async function follow(
  path: string,
  onEvent: (event: ServerEvent) => boolean,
  signal: AbortSignal,
  onConnection: (isConnected: boolean) => void = () => {},
  after: number | null = null,
): Promise<void> {
  let lastId = after === null ? null : String(after);
  let retryMs = MIN_RETRY_MS;
  let isConnected = true;
  const setConnected = (now: boolean): void => {
    if (now !== isConnected) {
      isConnected = now;
      onConnection(now);
    }
  };
  while (!signal.aborted) {
    const connection = new Connection(signal);
    try {
      const headers: Record<string, string> = { Accept: "text/event-stream" };
      if (lastId !== null) {
        headers["Last-Event-ID"] = lastId;
      }
      connection.restartTimeout();
      const response = await request(path, { headers, signal: connection.signal });
      if (response.body === null) {
        return;
      }
      setConnected(true);
      const parser = new EventParser();
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        connection.restartTimeout();
        const { done, value } = await reader.read();
        if (done) {
          break;
        }
        retryMs = MIN_RETRY_MS;
        for (const event of parser.push(value)) {
          lastId = event.id ?? lastId;
          if (!onEvent(event)) {
            await reader.cancel();
            return;
          }
        }
      }
    } catch (error) {
      if (signal.aborted) {
        return;
      }
      const isTransient = error instanceof Problem && TRANSIENT_STATUSES.includes(error.status);
      if (!isTransient && !isAbort(error) && !(error instanceof TypeError)) {
        throw error;
      }
    } finally {
      connection.close();
    }
    setConnected(false);
    await delay(retryMs, signal);
    retryMs = Math.min(2 * retryMs, MAX_RETRY_MS);
  }
}

/** A connection that aborts with an outer signal, or after too long a silence. */
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

  restartTimeout(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#abort, MAX_SILENCE_MS);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#outer.removeEventListener("abort", this.#abort);
  }
}

/** Resolve after a time, or at once when the signal aborts. */
export function delay(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(finish, milliseconds);
    signal.addEventListener("abort", finish, { once: true });
    function finish() {
      clearTimeout(timer);
      signal.removeEventListener("abort", finish);
      resolve();
    }
  });
}
