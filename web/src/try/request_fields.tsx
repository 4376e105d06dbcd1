/** Fields that the forms for runs and experiments share. */

import type { Model } from "../api/types";
import { type Output, OUTPUTS } from "../generated/choices";
import { FieldErrors } from "../parts/field_errors";

const NAMES = Object.keys(OUTPUTS) as Output[];

interface ModelFieldProps {
  models: readonly Model[];
  model: string;
  onModel: (name: string) => void;
  errors: string[] | undefined;
}

export function ModelField({ models, model, onModel, errors }: ModelFieldProps) {
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
      <FieldErrors messages={errors} />
    </div>
  );
}

interface OutputsFieldProps {
  outputs: readonly Output[];
  onOutputs: (outputs: Output[]) => void;
  errors: string[] | undefined;
}

export function OutputsField({ outputs, onOutputs, errors }: OutputsFieldProps) {
  return (
    <fieldset class="outputs">
      <legend>outputs</legend>
      {NAMES.map((name) => (
        <label key={name} class="check" title={OUTPUTS[name].description}>
          <input
            type="checkbox"
            checked={outputs.includes(name)}
            onChange={(event) =>
              onOutputs(
                NAMES.filter((other) =>
                  other === name ? event.currentTarget.checked : outputs.includes(other),
                ),
              )
            }
          />
          {name}
        </label>
      ))}
      <FieldErrors messages={errors} />
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
  errors: string[] | undefined;
}

/** A text field with its errors, or else a help text, below it. */
export function TextField({ id, label, text, onText, hint, help, errors }: TextFieldProps) {
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <input
        id={id}
        autocomplete="off"
        spellcheck={false}
        placeholder={hint}
        value={text}
        aria-invalid={errors !== undefined}
        aria-describedby={`${id}-message`}
        onInput={(event) => onText(event.currentTarget.value)}
      />
      <div id={`${id}-message`} class="field-help">
        <FieldErrors messages={errors} />
        {errors === undefined && help !== undefined && <p class="quiet">{help}</p>}
      </div>
    </div>
  );
}
