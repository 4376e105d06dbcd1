import { useEffect, useMemo, useReducer, useRef, useState } from "preact/hooks";
import { follow } from "../api/event_stream";
import { experimentPath, getExperiment, getTrials } from "../api/experiments";
import { explain } from "../api/http";
import { ENDED } from "../api/types";
import { useLoad } from "../parts/hooks";
import { News, type Shown } from "./live";

interface Followed {
  shown: Shown | null;
  failure: string | null;
  /** Whether the server is heard; what is shown may be old while it is not. */
  linked: boolean;
  reload: () => void;
}

/** Events come in bursts; drawing thousands of trials anew takes a while. */
const REDRAW_MS = { few: 200, many: 1500 };
const MANY_TRIALS = 500;
const RELOAD_MS = 3000;

/** An experiment and its trials, as they are loaded and then followed by their events. */
export function useExperiment(id: string): Followed {
  // By the load since whose beginning it was told: it may be newer than what that load brings.
  const news = useRef([new News()]);
  const [told, redraw] = useReducer<number, undefined>((count) => count + 1, 0);
  const [linked, setLinked] = useState(true);
  const [lost, setLost] = useState<string | null>(null);
  const loaded = useLoad(
    async (signal) => {
      const since = new News();
      news.current.push(since);
      // In this order: what happens between the two is told after the experiment's last event.
      const experiment = await getExperiment(id, signal);
      const trials = await getTrials(id, signal);
      news.current.splice(0, news.current.indexOf(since));
      return { experiment, trials };
    },
    [id],
  );
  const shown = useMemo(
    () => loaded.value && news.current.reduce<Shown>((all, part) => part.over(all), loaded.value),
    // eslint-disable-next-line react-hooks/exhaustive-deps -- `told` counts what news brought.
    [loaded.value, told],
  );
  const { reload } = loaded;
  const state = loaded.value?.experiment.state;
  const many = (loaded.value?.trials.length ?? 0) > MANY_TRIALS;
  const after = useRef(0);
  after.current = loaded.value?.experiment.last_event_id ?? 0;
  const following = state !== undefined && !ENDED.includes(state);

  useEffect(() => {
    if (!following) {
      return undefined;
    }
    const controller = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const { signal } = controller;
    follow(
      `${experimentPath(id)}/events`,
      (event) => {
        const heard = news.current[news.current.length - 1].learn(event);
        if (heard !== "news") {
          reload();
        }
        timer ??= setTimeout(
          () => {
            timer = undefined;
            redraw(undefined);
          },
          many ? REDRAW_MS.many : REDRAW_MS.few,
        );
        return heard !== "over";
      },
      signal,
      (now) => {
        setLinked(now);
        if (now) {
          reload();
        }
      },
      after.current,
    ).catch((error: unknown) => setLost(explain(error)));
    return () => {
      controller.abort();
      clearTimeout(timer);
    };
  }, [id, following, many, reload]);

  const broken = following && loaded.failure !== null && !loaded.loading;
  useEffect(() => {
    const timer = broken ? setTimeout(reload, RELOAD_MS) : undefined;
    return () => clearTimeout(timer);
  }, [broken, reload]);
  return { shown, failure: lost ?? loaded.failure, linked, reload };
}
