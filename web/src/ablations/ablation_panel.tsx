import { useState } from "preact/hooks";
import { deleteAblation, listAblations } from "../api/ablations";
import type { Ablation, Model } from "../api/types";
import { ABLATIONS, ENDED_STATES } from "../generated/choices";
import { useActions, useWatch } from "../parts/hooks";
import { Notice } from "../parts/notice";
import { StateBadge } from "../parts/state_badge";
import { formatAge, formatCount } from "../text/numbers";
import { AblationFigures } from "./ablation_figures";
import { AblationForm } from "./ablation_form";

const SHOWN = 20;
const PERIOD_MS = 1000;
const AS_IT_IS = "as it is";

/** Measure a model with parts of its flows switched off, and show what changes. */
export function AblationPanel({ model }: { model: Model }) {
  const [isChanging, setChanging] = useState(true);
  const [chosenId, setChosenId] = useState<string | null>(null);
  const listed = useWatch(
    async (signal) => {
      const { items } = await listAblations(model.name, SHOWN, signal);
      setChanging(items.some((each) => !isEnded(each)));
      return items;
    },
    // A new model may have the name of an earlier one.
    [model.name, model.digest],
    PERIOD_MS,
    isChanging,
  );
  const { failure, act } = useActions(listed.reload);
  const ablations = listed.value ?? [];
  const shown = ablations.find((each) => each.ablation_id === chosenId) ?? ablations[0];
  const problem = failure ?? listed.failure;
  return (
    <section class="panel">
      <h2>What do the flows do?</h2>
      <p class="quiet">
        The model predicts the targets of a dataset as it is, and then with parts of its flows
        switched off. A part is of use if the figures are lower without it. Another model can do
        without it nevertheless.
      </p>
      <AblationForm
        model={model}
        onStarted={() => {
          setChosenId(null);
          listed.reload();
        }}
      />
      {problem !== null && <Notice tone="problem">{problem}</Notice>}
      {shown !== undefined && (
        <div class="ablation">
          <div class="toolbar">
            {ablations.length > 1 ? (
              <label>
                shows
                <select
                  value={shown.ablation_id}
                  onChange={(event) => setChosenId(event.currentTarget.value)}
                >
                  {ablations.map((each) => (
                    <option key={each.ablation_id} value={each.ablation_id}>
                      {describeRows(each)}, {each.state}, {formatAge(each.created_at, listed.now)}
                    </option>
                  ))}
                </select>
              </label>
            ) : (
              <span>{describeRows(shown)}</span>
            )}
            <span aria-live="polite">
              <StateBadge state={shown.state} />
            </span>
            <button type="button" onClick={() => void act(deleteAblation(shown))}>
              {isEnded(shown) ? "Remove" : "Cancel"}
            </button>
          </div>
          {!isEnded(shown) && <AblationProgress ablation={shown} />}
          {shown.warnings.map((text) => (
            <Notice key={text} tone="warning">
              {text}
            </Notice>
          ))}
          {shown.error !== null && (
            <Notice tone="problem">
              <b>{shown.error.title}.</b> {shown.error.detail}
            </Notice>
          )}
          {shown.result !== null && <AblationFigures result={shown.result} />}
        </div>
      )}
    </section>
  );
}

function AblationProgress({ ablation }: { ablation: Ablation }) {
  const { done, total } = ablation;
  return (
    <p>
      <span class="progress">
        <progress max={total} value={done} aria-label="Progress of the ablation" />
        <span>{describeProgress(ablation)}</span>
      </span>
    </p>
  );
}

function describeProgress({ state, current, done, total, dataset }: Ablation): string {
  if (state === "queued") {
    return "waits for other ablations";
  }
  if (done === total) {
    return "computing the intervals";
  }
  const rows = dataset.rows[1] - dataset.rows[0];
  const label = current === null ? AS_IT_IS : ABLATIONS[current].label;
  return `${label}: ${formatCount(done % rows)} of ${formatCount(rows)} rows`;
}

function describeRows({ dataset }: Ablation): string {
  const [from, to] = dataset.rows;
  return `${dataset.name}, rows ${formatCount(from)} to ${formatCount(to)}`;
}

function isEnded({ state }: Ablation): boolean {
  return ENDED_STATES.includes(state);
}
