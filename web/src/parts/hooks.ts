/** Hooks that several components use. */

import { type Inputs, useCallback, useEffect, useRef, useState } from "preact/hooks";
import { delay } from "../api/event_stream";
import { explain, isAbort, isUnreachable } from "../api/http";

interface Loaded<T> {
  value: T | null;
  failure: string | null;
  loading: boolean;
  reload: () => void;
}

/** After this time, a value is loaded again that a lost server did not send. */
const RETRY_MS = 2000;

/**
 * Load a value whenever `inputs` change, and again while the server cannot be reached. The old value
 * stays until the new one is loaded.
 */
export function useLoad<T>(load: (signal: AbortSignal) => Promise<T>, inputs: Inputs): Loaded<T> {
  const [value, setValue] = useState<T | null>(null);
  const [failure, setFailure] = useState<string | null>(null);
  const [loading, setLoading] = useState(true);
  const [round, setRound] = useState(0);
  const latest = useRef(load);
  latest.current = load;
  useEffect(() => {
    const controller = new AbortController();
    let retry: ReturnType<typeof setTimeout> | undefined;
    setLoading(true);
    latest
      .current(controller.signal)
      .then((loaded) => {
        if (!controller.signal.aborted) {
          setValue(() => loaded);
          setFailure(null);
          setLoading(false);
        }
      })
      .catch((error: unknown) => {
        if (!controller.signal.aborted && !isAbort(error)) {
          setFailure(explain(error));
          setLoading(false);
          if (isUnreachable(error)) {
            retry = setTimeout(() => setRound((number) => number + 1), RETRY_MS);
          }
        }
      });
    return () => {
      clearTimeout(retry);
      controller.abort();
    };
    // eslint-disable-next-line react-hooks/exhaustive-deps -- the caller names the inputs.
  }, [...inputs, round]);
  const reload = useCallback(() => setRound((number) => number + 1), []);
  return { value, failure, loading, reload };
}

/** Call `act` repeatedly while the page is visible; each call waits for the end of the last one. */
function usePolling(act: (signal: AbortSignal) => Promise<void>, periodMs: number): void {
  const latest = useRef(act);
  latest.current = act;
  useEffect(() => {
    const controller = new AbortController();
    const { signal } = controller;
    const loop = async (): Promise<void> => {
      while (!signal.aborted) {
        await delay(periodMs, signal);
        if (!signal.aborted && document.visibilityState === "visible") {
          await latest.current(signal);
        }
      }
    };
    loop().catch(() => {});
    return () => controller.abort();
  }, [periodMs]);
}

interface Watched<T> extends Loaded<T> {
  /** The time of the last load, for texts such as "3 min ago". */
  now: number;
}

/**
 * Load a value whenever `inputs` change, and repeatedly while the page is visible.
 *
 * @param isChanging whether the value may have changed since the last load.
 */
export function useWatch<T>(
  load: (signal: AbortSignal) => Promise<T>,
  inputs: Inputs,
  periodMs: number,
  isChanging = true,
): Watched<T> {
  const [polled, setPolled] = useState<T | null>(null);
  const [pollFailure, setPollFailure] = useState<string | null>(null);
  const [now, setNow] = useState(Date.now);
  const loaded = useLoad(async (signal) => {
    const value = await load(signal);
    setPolled(null);
    setPollFailure(null);
    return value;
  }, inputs);
  usePolling(async (signal) => {
    if (!isChanging) {
      return;
    }
    try {
      const value = await load(signal);
      setPolled(() => value);
      setPollFailure(null);
    } catch (error) {
      if (!signal.aborted) {
        setPollFailure(explain(error));
      }
    }
    setNow(Date.now());
  }, periodMs);
  return { ...loaded, value: polled ?? loaded.value, failure: pollFailure ?? loaded.failure, now };
}

interface Actions {
  /** Why the server refused the last change. */
  failure: string | null;
  /** Wait for a change; return whether it succeeded. */
  act: (change: Promise<unknown>) => Promise<boolean>;
}

/** Run changes that the user makes; `after` is called after each. */
export function useActions(after: () => void = () => {}): Actions {
  const [failure, setFailure] = useState<string | null>(null);
  const act = async (change: Promise<unknown>): Promise<boolean> => {
    try {
      await change;
      setFailure(null);
      return true;
    } catch (error) {
      setFailure(explain(error));
      return false;
    } finally {
      after();
    }
  };
  return { failure, act };
}

interface Size {
  width: number;
  height: number;
}

/** Return the size of an element, and update it when it changes. */
export function useSize(): [(element: Element | null) => void, Size] {
  const [size, setSize] = useState<Size>({ width: 0, height: 0 });
  const observer = useRef<ResizeObserver | null>(null);
  const attach = useCallback((element: Element | null) => {
    observer.current?.disconnect();
    observer.current = null;
    if (element) {
      observer.current = new ResizeObserver(([entry]) => {
        const { width, height } = entry.contentRect;
        setSize({ width: Math.round(width), height: Math.round(height) });
      });
      observer.current.observe(element);
    }
  }, []);
  return [attach, size];
}

/** Return whether a media query matches, and update it when that changes. */
export function useMedia(text: string): boolean {
  const [holds, setHolds] = useState(() => matchMedia(text).matches);
  useEffect(() => {
    const media = matchMedia(text);
    const changed = () => setHolds(media.matches);
    media.addEventListener("change", changed);
    changed();
    return () => media.removeEventListener("change", changed);
  }, [text]);
  return holds;
}

/** Set the title of the page. */
export function useTitle(title: string): void {
  useEffect(() => {
    document.title = `${title} · Energy Flow`;
  }, [title]);
}
