/** What components share in behaviour. */

import { type Inputs, useCallback, useEffect, useRef, useState } from "preact/hooks";
import { pause } from "../api/event_stream";
import { explain, isAbort } from "../api/http";

export interface Loaded<T> {
  value: T | null;
  failure: string | null;
  loading: boolean;
  reload: () => void;
}

/** Loads something whenever `inputs` change; what came before stays until the next is there. */
export function useLoad<T>(load: (signal: AbortSignal) => Promise<T>, inputs: Inputs): Loaded<T> {
  const [value, setValue] = useState<T | null>(null);
  const [failure, setFailure] = useState<string | null>(null);
  const [loading, setLoading] = useState(true);
  const [round, setRound] = useState(0);
  const latest = useRef(load);
  latest.current = load;
  useEffect(() => {
    const controller = new AbortController();
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
        }
      });
    return () => controller.abort();
    // eslint-disable-next-line react-hooks/exhaustive-deps -- the caller names the inputs.
  }, [...inputs, round]);
  const reload = useCallback(() => setRound((number) => number + 1), []);
  return { value, failure, loading, reload };
}

/** Calls something again and again while the page is visible, each time after the last has ended. */
export function useRepeat(act: (signal: AbortSignal) => Promise<void>, periodMs: number): void {
  const latest = useRef(act);
  latest.current = act;
  useEffect(() => {
    const controller = new AbortController();
    const { signal } = controller;
    const loop = async (): Promise<void> => {
      while (!signal.aborted) {
        await pause(periodMs, signal);
        if (!signal.aborted && document.visibilityState === "visible") {
          await latest.current(signal);
        }
      }
    };
    loop().catch(() => {});
    return () => controller.abort();
  }, [periodMs]);
}

export interface Watched<T> extends Loaded<T> {
  /** The time of the last look, for words such as "3 min ago". */
  now: number;
}

/**
 * Loads something whenever `inputs` change, and again and again while the page is visible.
 *
 * @param changing whether it may have changed since.
 */
export function useWatch<T>(
  load: (signal: AbortSignal) => Promise<T>,
  inputs: Inputs,
  periodMs: number,
  changing = true,
): Watched<T> {
  const [fresh, setFresh] = useState<T | null>(null);
  const [lost, setLost] = useState<string | null>(null);
  const [now, setNow] = useState(Date.now);
  const loaded = useLoad(async (signal) => {
    const value = await load(signal);
    setFresh(null);
    setLost(null);
    return value;
  }, inputs);
  useRepeat(async (signal) => {
    if (!changing) {
      return;
    }
    try {
      const value = await load(signal);
      setFresh(() => value);
      setLost(null);
    } catch (error) {
      if (!signal.aborted) {
        setLost(explain(error));
      }
    }
    setNow(Date.now());
  }, periodMs);
  return { ...loaded, value: fresh ?? loaded.value, failure: lost ?? loaded.failure, now };
}

export interface Actions {
  /** Why the last change was refused. */
  failure: string | null;
  /** Waits for a change to be made, and tells whether it was. */
  act: (change: Promise<unknown>) => Promise<boolean>;
}

/** Changes that a person asks for; `after` each of them the page may look again. */
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

export interface Size {
  width: number;
  height: number;
}

/** The size of an element, followed as it changes. */
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

/** Whether a media query holds, followed as it changes. */
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

/** The title of the page, for the window and its history. */
export function useTitle(title: string): void {
  useEffect(() => {
    document.title = `${title} · Energy Flow`;
  }, [title]);
}
