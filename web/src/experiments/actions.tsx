import type { Experiment } from "../api/experiment_types";
import { changeExperiment, deleteExperiment, type Transition } from "../api/experiments";
import { ENDED, type RunState } from "../api/types";

/** States from which each transition is allowed. */
const ALLOWED: Record<Transition, readonly RunState[]> = {
  pause: ["queued", "running"],
  resume: ["paused"],
  cancel: ["queued", "running", "paused"],
};
const NAMES: Record<Transition, string> = { pause: "Pause", resume: "Resume", cancel: "Cancel" };

interface ExperimentActionsProps {
  experiment: Experiment;
  act: (change: Promise<unknown>) => Promise<boolean>;
  onDeleted?: () => void;
}

/** What may be done with an experiment in its state. */
export function ExperimentActions({ experiment, act, onDeleted }: ExperimentActionsProps) {
  const { experiment_id: id, name, state } = experiment;
  const allowed = (Object.keys(ALLOWED) as Transition[]).filter((transition) =>
    ALLOWED[transition].includes(state),
  );
  const change = (transition: Transition): void => {
    if (transition !== "cancel" || confirm(`Cancel ${name}? What has ended stays.`)) {
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
      {ENDED.includes(state) && (
        <button
          type="button"
          aria-label={`Delete ${name}`}
          onClick={() => {
            if (confirm(`Delete ${name} with all its trials and their runs?`)) {
              void act(deleteExperiment(id)).then((gone) => {
                if (gone) {
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
