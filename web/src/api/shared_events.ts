/** Events over one connection for all tabs: a browser opens six to a server, for all of them. */

import { follow, type ServerEvent } from "./event_stream";
import { addressOf } from "./http";

/**
 * Pass events to `onEvent` as `follow` does. Of the tabs that follow the same events, one has the
 * connection and passes them on; the next one continues after it. A tab that becomes hidden leaves.
 *
 * @param onConnection is also called with true where events may have been missed before: when this
 *   tab joins others, so that it loads again what it follows.
 * @throws Problem the server refused, and a retry would not help.
 */
export async function followShared(
  path: string,
  onEvent: (event: ServerEvent) => boolean,
  signal: AbortSignal,
  onConnection: (isConnected: boolean) => void,
  after: number | null,
): Promise<void> {
  let lastId = after;
  const take = (event: ServerEvent): boolean => {
    lastId = event.id === null ? lastId : Number(event.id);
    return onEvent(event);
  };
  while (!signal.aborted) {
    const hidden = new AbortController();
    const leave = (): void => {
      if (document.visibilityState === "hidden") {
        hidden.abort();
      }
    };
    document.addEventListener("visibilitychange", leave);
    try {
      const stay = AbortSignal.any([signal, hidden.signal]);
      await takePart({ path, take, signal: stay, onConnection, lastId: () => lastId });
    } finally {
      document.removeEventListener("visibilitychange", leave);
    }
    if (!hidden.signal.aborted) {
      return;
    }
    await becomeVisible(signal);
  }
}

interface Part {
  path: string;
  take: (event: ServerEvent) => boolean;
  signal: AbortSignal;
  onConnection: (isConnected: boolean) => void;
  /** Returns the id of the last event that this tab has; null for none. */
  lastId: () => number | null;
}

/** Follow until the last event, or until the signal aborts. */
async function takePart({ path, take, signal, onConnection, lastId }: Part): Promise<void> {
  // Pages that are neither of HTTPS nor of this machine have no locks.
  const locks = navigator.locks as LockManager | null | undefined;
  if (!locks) {
    return follow(path, take, signal, onConnection, lastId());
  }
  const name = new URL(addressOf(path), location.href).href;
  const channel = new BroadcastChannel(name);
  const over = new AbortController();
  const connect = (): Promise<void> =>
    follow(
      path,
      (event) => {
        channel.postMessage(event);
        return take(event);
      },
      signal,
      (isConnected) => {
        channel.postMessage(isConnected);
        onConnection(isConnected);
      },
      lastId(),
    );
  channel.onmessage = ({ data }: MessageEvent<ServerEvent | boolean>): void => {
    if (typeof data === "boolean") {
      onConnection(data);
    } else if (!take(data)) {
      over.abort();
    }
  };
  try {
    const wasFirst = await locks.request(name, { ifAvailable: true }, async (lock) => {
      if (lock !== null) {
        await connect();
      }
      return lock !== null;
    });
    if (!wasFirst && !signal.aborted && !over.signal.aborted) {
      onConnection(true);
      const waiting = AbortSignal.any([signal, over.signal]);
      await locks.request(name, { signal: waiting }, connect);
    }
  } catch (error) {
    if (!signal.aborted && !over.signal.aborted) {
      throw error;
    }
  } finally {
    channel.close();
  }
}

/** Resolve when the tab is shown, or when the signal aborts. */
function becomeVisible(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const check = (): void => {
      if (signal.aborted || document.visibilityState === "visible") {
        document.removeEventListener("visibilitychange", check);
        signal.removeEventListener("abort", check);
        resolve();
      }
    };
    document.addEventListener("visibilitychange", check);
    signal.addEventListener("abort", check);
    check();
  });
}
