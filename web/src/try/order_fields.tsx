/** Fields of a form that orders runs or experiments. */

import type { Model, OutputName } from "../api/types";
import { FieldComplaints } from "../parts/field_complaints";

const OUTPUTS: readonly OutputName[] = ["surface", "planes", "hits", "embedding"];

interface ModelFieldProps {
  models: readonly Model[];
  model: string;
  onModel: (name: string) => void;
  complaints: string[] | undefined;
}

export function ModelField({ models, model, onModel, complaints }: ModelFieldProps) {
  return (
    <div class="field">
      <label for="model">model</label>
      <select id="model" value={model} onChange={(event) => onModel(event.currentTarget.value)}>
        {models.map(({ name, trained }) => (
          <option key={name} value={name}>
            {name}
            {!trained && " (untrained)"}
          </option>
        ))}
      </select>
      <FieldComplaints words={complaints} />
    </div>
  );
}

interface OutputsFieldProps {
  outputs: readonly OutputName[];
  onOutputs: (outputs: OutputName[]) => void;
  complaints: string[] | undefined;
}

export function OutputsField({ outputs, onOutputs, complaints }: OutputsFieldProps) {
  return (
    <fieldset class="outputs">
      <legend>outputs</legend>
      {OUTPUTS.map((name) => (
        <label key={name} class="check">
          <input
            type="checkbox"
            checked={outputs.includes(name)}
            onChange={(event) =>
              onOutputs(
                OUTPUTS.filter((other) =>
                  other === name ? event.currentTarget.checked : outputs.includes(other),
                ),
              )
            }
          />
          {name}
        </label>
      ))}
      <FieldComplaints words={complaints} />
    </fieldset>
  );
}

interface TextFieldProps {
  id: string;
  label: string;
  text: string;
  onText: (text: string) => void;
  hint?: string;
  help?: string;
  complaints: string[] | undefined;
}

/** A text in one line, with its complaints or else some help below it. */
export function TextField({ id, label, text, onText, hint, help, complaints }: TextFieldProps) {
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <input
        id={id}
        autocomplete="off"
        spellcheck={false}
        placeholder={hint}
        value={text}
        aria-invalid={complaints !== undefined}
        aria-describedby={`${id}-said`}
        onInput={(event) => onText(event.currentTarget.value)}
      />
      <div id={`${id}-said`} class="field-help">
        <FieldComplaints words={complaints} />
        {complaints === undefined && help !== undefined && <p class="quiet">{help}</p>}
      </div>
    </div>
  );
}
