import { FieldErrors } from "../parts/field_errors";
import { TextField } from "../try/request_fields";
import type { LabelEntry } from "./entry";

interface LabelFieldsProps {
  entry: LabelEntry;
  onEntry: (entry: LabelEntry) => void;
  /** Whether there is a field for the name. */
  hasName: boolean;
  errors: ReadonlyMap<string, string[]>;
}

/** The fields in a form for something new, hidden until they are opened or one has an error. */
export function LabelsFold(props: LabelFieldsProps) {
  const { entry, hasName, errors } = props;
  const isWrong = [...(hasName ? ["name"] : []), "tags", "note"].some((name) => errors.has(name));
  const entered = [entry.name.trim(), entry.tags.trim(), entry.note.trim() && "a note"];
  return (
    <details class="fold" open={isWrong || undefined}>
      <summary>
        {hasName ? "Name, tags and note" : "Tags and note"}{" "}
        <span class="quiet">{entered.filter(Boolean).join(", ")}</span>
      </summary>
      <LabelFields {...props} />
    </details>
  );
}

/** Fields for the name, the tags and the note of a run or an experiment. */
export function LabelFields({ entry, onEntry, hasName, errors }: LabelFieldsProps) {
  return (
    <>
      {hasName && (
        <TextField
          id="label-name"
          label="name"
          text={entry.name}
          onText={(name) => onEntry({ ...entry, name })}
          errors={errors.get("name")}
        />
      )}
      <TextField
        id="label-tags"
        label="tags"
        text={entry.tags}
        onText={(tags) => onEntry({ ...entry, tags })}
        help="separated by commas"
        errors={errors.get("tags")}
      />
      <div class="field">
        <label for="label-note">note</label>
        <textarea
          id="label-note"
          class="note-entry"
          rows={3}
          value={entry.note}
          aria-invalid={errors.has("note")}
          aria-describedby="label-note-message"
          onInput={(event) => onEntry({ ...entry, note: event.currentTarget.value })}
        />
        <div id="label-note-message" class="field-help">
          <FieldErrors messages={errors.get("note")} />
        </div>
      </div>
    </>
  );
}
