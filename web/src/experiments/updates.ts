/** An experiment as it was loaded, with the changes of later events. */

import type { ServerEvent } from "../api/event_stream";
import type { Experiment, ExperimentState, ExperimentStep, Trial } from "../api/types";
import { ENDED_STATES } from "../generated/choices";

export interface ExperimentData {
  experiment: Experiment;
  trials: readonly Trial[];
}

/** Change from events. */
export class ExperimentUpdates {
  #state: Partial<ExperimentState> = {};
  readonly #trials = new Map<number, Partial<Trial>>();

  /**
   * Add the changes of an event.
   *
   * @returns "ended" after the last event, "gap" where events were missed, else "update".
   */
  add({ name, data }: ServerEvent): "update" | "gap" | "ended" {
    if (name === "gap") {
      return "gap";
    }
    if (name === "state") {
      this.#state = { ...this.#state, ...(data as ExperimentState) };
      const { state } = this.#state;
      return state !== undefined && ENDED_STATES.includes(state) ? "ended" : "update";
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
    return "update";
  }

  /** Return the loaded data with the changes. */
  applyTo({ experiment, trials }: ExperimentData): ExperimentData {
    return {
      experiment: { ...experiment, ...this.#state },
      trials: this.#trials.size
        ? trials.map((trial) => ({ ...trial, ...this.#trials.get(trial.trial) }))
        : trials,
    };
  }
}
