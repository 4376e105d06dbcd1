/** An experiment as it was loaded, and what its events have told since. */

import type { ServerEvent } from "../api/event_stream";
import type { Experiment, ExperimentState, ExperimentStep, Trial } from "../api/experiment_types";
import { ENDED } from "../api/types";

export interface Shown {
  experiment: Experiment;
  trials: readonly Trial[];
}

/** What events have told, to be laid over what was loaded. */
export class News {
  #state: Partial<ExperimentState> = {};
  readonly #trials = new Map<number, Partial<Trial>>();

  /**
   * Takes an event in.
   *
   * @returns "over" when it was the last one, "gap" when others were missed.
   */
  learn({ name, data }: ServerEvent): "news" | "gap" | "over" {
    if (name === "gap") {
      return "gap";
    }
    if (name === "state") {
      this.#state = { ...this.#state, ...(data as ExperimentState) };
      const { state } = this.#state;
      return state !== undefined && ENDED.includes(state) ? "over" : "news";
    }
    if (name === "trial") {
      const trial = data as Trial;
      this.#trials.set(trial.trial, trial);
    } else if (name === "progress") {
      const { running, ...rest } = data as ExperimentStep;
      this.#state = { ...this.#state, ...rest };
      for (const { trial, ...done } of running) {
        this.#trials.set(trial, { ...this.#trials.get(trial), ...done });
      }
    }
    return "news";
  }

  over({ experiment, trials }: Shown): Shown {
    return {
      experiment: { ...experiment, ...this.#state },
      trials: this.#trials.size
        ? trials.map((trial) => ({ ...trial, ...this.#trials.get(trial.trial) }))
        : trials,
    };
  }
}
