import { useEffect, useMemo, useReducer, useRef, useState } from "preact/hooks";
import { experimentPath, getExperiment, getTrials } from "../api/experiments";
import { explain } from "../api/http";
import { followShared } from "../api/shared_events";
import { ENDED_STATES } from "../generated/choices";
import { useLoad } from "../parts/hooks";
import { type ExperimentData, ExperimentUpdates } from "./updates";

interface FollowedExperiment {
  data: ExperimentData | null;
  failure: string | null;
  /** Whether there is a connection to the server; without one, the data may be old. */
  isConnected: boolean;
  reload: () => void;
}

/** Events come in bursts, and drawing thousands of trials is slow. */
const REDRAW_MS = { few: 200, many: 1500 };
const MANY_TRIALS = 500;
const RELOAD_MS = 3000;

/** Load an experiment and its trials, and follow their events. */
export function useExperiment(id: string): FollowedExperiment {
  // The updates since the beginning of each load: they may be newer than the data of that load.
  const updates = useRef([new ExperimentUpdates()]);
  const [revision, redraw] = useReducer<number, undefined>((count) => count + 1, 0);
  const [isConnected, setConnected] = useState(true);
  const [followFailure, setFollowFailure] = useState<string | null>(null);
  const loaded = useLoad(
    async (signal) => {
      const since = new ExperimentUpdates();
      updates.current.push(since);
      // In this order: an event between the two requests is newer than the experiment's last event.
      const experiment = await getExperiment(id, signal);
      const trials = await getTrials(id, signal);
      updates.current.splice(0, updates.current.indexOf(since));
      return { experiment, trials };
    },
    [id],
  );
  const data = useMemo(
    () =>
      loaded.value &&
      updates.current.reduce<ExperimentData>((all, part) => part.applyTo(all), loaded.value),
    // eslint-disable-next-line react-hooks/exhaustive-deps -- `revision` counts the updates.
    [loaded.value, revision],
  );
  const { reload } = loaded;
  const state = loaded.value?.experiment.state;
  const hasMany = (loaded.value?.trials.length ?? 0) > MANY_TRIALS;
  const after = useRef(0);
  after.current = loaded.value?.experiment.last_event_id ?? 0;
  const isFollowing = state !== undefined && !ENDED_STATES.includes(state);

  useEffect(() => {
    if (!isFollowing) {
      return undefined;
    }
    const controller = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const { signal } = controller;
    followShared(
      `${experimentPath(id)}/events`,
      (event) => {
        const effect = updates.current[updates.current.length - 1].add(event);
        if (effect !== "update") {
          reload();
        }
        timer ??= setTimeout(
          () => {
            timer = undefined;
            redraw(undefined);
          },
          hasMany ? REDRAW_MS.many : REDRAW_MS.few,
        );
        return effect !== "ended";
      },
      signal,
      (now) => {
        setConnected(now);
        if (now) {
          reload();
        }
      },
      after.current,
    ).catch((error: unknown) => setFollowFailure(explain(error)));
    return () => {
      controller.abort();
      clearTimeout(timer);
    };
  }, [id, isFollowing, hasMany, reload]);

  const isBroken = isFollowing && loaded.failure !== null && !loaded.loading;
  useEffect(() => {
    const timer = isBroken ? setTimeout(reload, RELOAD_MS) : undefined;
    return () => clearTimeout(timer);
  }, [isBroken, reload]);
  return { data, failure: followFailure ?? loaded.failure, isConnected, reload };
}
