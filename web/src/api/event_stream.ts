/** Server-sent events over fetch, because EventSource cannot send an API key. */

import { isAbort, request } from "./http";

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

/**
 * Hands over events until `take` returns false or the signal ends it; a broken connection is taken
 * up again after the last event.
 */
export async function follow(
  path: string,
  take: (event: ServerEvent) => boolean,
  signal: AbortSignal,
): Promise<void> {
  let lastId: string | null = null;
  let wait = FIRST_WAIT_MS;
  while (!signal.aborted) {
    try {
      const headers: Record<string, string> = { Accept: "text/event-stream" };
      if (lastId !== null) {
        headers["Last-Event-ID"] = lastId;
      }
      const response = await request(path, { headers, signal });
      if (response.body === null) {
        return;
      }
      const parser = new EventParser();
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
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
      if (isAbort(error) || !(error instanceof TypeError)) {
        if (!isAbort(error)) {
          throw error;
        }
        return;
      }
    }
    await pause(wait, signal);
    wait = Math.min(2 * wait, LONGEST_WAIT_MS);
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
