import { useState } from "preact/hooks";
import type { Labels, Run } from "../api/types";
import { linkTo } from "../route";
import { assignFaults } from "../try/faults";
import { NO_REFUSAL, type Refusal, RequestErrors, toRefusal } from "../try/request_errors";
import { enterLabels, type LabelEntry, parseLabels } from "./entry";
import { LabelFields } from "./label_fields";
import { Tags } from "./tags";

interface LabelsPanelProps {
  labels: Pick<Run, "name" | "tags" | "note">;
  /** Whether the name can be changed. */
  hasName: boolean;
  /** Parts of the address of the list in which a tag is looked for. */
  list: readonly string[];
  change: (labels: Labels) => Promise<unknown>;
  onChanged: () => void;
}

const OWN_FIELDS = new Set(["name", "tags", "note"]);

/** The tags and the note of a run or an experiment, and a form that changes them and the name. */
export function LabelsPanel({ labels, hasName, list, change, onChanged }: LabelsPanelProps) {
  const [entry, setEntry] = useState<LabelEntry | null>(null);
  const [refusal, setRefusal] = useState<Refusal>(NO_REFUSAL);
  const [sending, setSending] = useState(false);
  const what = hasName ? "name, tags and note" : "tags and note";
  const close = (): void => {
    setEntry(null);
    setRefusal(NO_REFUSAL);
  };
  if (entry === null) {
    return (
      <div class="labels">
        <Tags tags={labels.tags} link={(tag) => linkTo(list, { tag })} />
        {labels.note !== null && <p class="note">{labels.note}</p>}
        <button type="button" class="quiet-button" onClick={() => setEntry(enterLabels(labels))}>
          Edit {what}
        </button>
      </div>
    );
  }
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    setSending(true);
    try {
      const { name, ...rest } = parseLabels(entry);
      await change(hasName ? { name, ...rest } : rest);
      close();
      onChanged();
    } catch (error) {
      setRefusal(toRefusal(error));
    } finally {
      setSending(false);
    }
  };
  const { fields, rest } = assignFaults(refusal.faults, OWN_FIELDS);
  return (
    <form
      class="panel labels-form"
      aria-label={`Edit ${what}`}
      onSubmit={(event) => void submit(event)}
      noValidate
    >
      <LabelFields entry={entry} onEntry={setEntry} hasName={hasName} errors={fields} />
      <RequestErrors refusal={refusal} rest={rest} />
      <div class="actions">
        <button class="button-main" type="submit" disabled={sending}>
          Save
        </button>
        <button type="button" onClick={close}>
          Do not change
        </button>
      </div>
    </form>
  );
}
