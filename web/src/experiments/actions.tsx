import type { Experiment } from "../api/types";
import { ENDED_STATES, type RunState, TRANSITIONS } from "../generated/choices";
import { changeExperiment, deleteExperiment, type Transition } from "../api/experiments";

const ALLOWED: Record<Transition, (state: RunState) => boolean> = {
  retry: (state) => state === "failed",
  pause: (state) => TRANSITIONS[state].includes("paused"),
  resume: (state) => state === "paused",
  cancel: (state) => TRANSITIONS[state].includes("cancelled"),
};
const NAMES: Record<Transition, string> = {
  retry: "Retry",
  pause: "Pause",
  resume: "Resume",
  cancel: "Cancel",
};
const QUESTIONS: Partial<Record<Transition, (name: string) => string>> = {
  cancel: (name) => `Cancel ${name}? Trials that have ended are kept.`,
  retry: (name) =>
    `Start the failed trials of ${name} again? Their runs so far are deleted with their files.`,
};

interface ExperimentActionsProps {
  experiment: Experiment;
  act: (change: Promise<unknown>) => Promise<boolean>;
  onDeleted?: () => void;
}

/** Buttons for the transitions that the state of an experiment allows. */
export function ExperimentActions({ experiment, act, onDeleted }: ExperimentActionsProps) {
  const { experiment_id: id, name, state } = experiment;
  const allowed = (Object.keys(ALLOWED) as Transition[]).filter((transition) =>
    ALLOWED[transition](state),
  );
  const change = (transition: Transition): void => {
    const question = QUESTIONS[transition]?.(name);
    if (question === undefined || confirm(question)) {
      void act(changeExperiment(id, transition));
    }
  };
  return (
    <>
      {allowed.map((transition) => (
        <button
          key={transition}
          type="button"
          aria-label={`${NAMES[transition]} ${name}`}
          onClick={() => change(transition)}
        >
          {NAMES[transition]}
        </button>
      ))}
      {ENDED_STATES.includes(state) && (
        <button
          type="button"
          aria-label={`Delete ${name}`}
          onClick={() => {
            if (confirm(`Delete ${name} with all its trials and their runs?`)) {
              void act(deleteExperiment(id)).then((isDeleted) => {
                if (isDeleted) {
                  onDeleted?.();
                }
              });
            }
          }}
        >
          Delete
        </button>
      )}
    </>
  );
}
