import type { Config } from "../api/types";
import { type EnteredOptions, getModelValue, OPTION_GROUPS, type Option, OPTIONS } from "./options";

interface OptionFieldsProps {
  entered: EnteredOptions;
  onEntered: (entered: EnteredOptions) => void;
  config: Config | null;
  errors: ReadonlyMap<string, string[]>;
}

/** The options of a run, hidden until they are opened or one has an error. */
export function OptionsFold(props: OptionFieldsProps) {
  const wrong = OPTIONS.some(({ name }) => props.errors.has(name));
  const changed = Object.entries(props.entered).filter(([, text]) => text.trim() !== "");
  const summary = changed.map(([name, text]) => `${name} = ${text}`).join(", ");
  return (
    <details class="options" open={wrong || undefined}>
      <summary>
        Options <span class="quiet">{summary || "the model's own"}</span>
      </summary>
      <OptionFields {...props} />
    </details>
  );
}

/** A field for each option. An empty field leaves the value of the model. */
function OptionFields({ entered, onEntered, config, errors }: OptionFieldsProps) {
  const enter = (name: string, text: string): void => onEntered({ ...entered, [name]: text });
  return (
    <div class="option-groups">
      {OPTION_GROUPS.map(({ title, help, options }) => (
        <fieldset key={title} class="panel">
          <legend>{title}</legend>
          {help && <p class="quiet">{help}</p>}
          {options.map((option) => (
            <OptionField
              key={option.name}
              option={option}
              text={entered[option.name] ?? ""}
              inherits={getModelValue(config, option.name)}
              errors={errors.get(option.name) ?? []}
              onText={(text) => enter(option.name, text)}
            />
          ))}
        </fieldset>
      ))}
    </div>
  );
}

interface OptionFieldProps {
  option: Option;
  text: string;
  inherits: string;
  errors: string[];
  onText: (text: string) => void;
}

function OptionField({ option, text, inherits, errors, onText }: OptionFieldProps) {
  const id = `option-${option.name}`;
  const described = {
    id,
    name: option.name,
    "aria-invalid": errors.length > 0,
    "aria-describedby": `${id}-message`,
  };
  const isSelected = option.kind === "choice" || option.kind === "boolean";
  return (
    <div class="field">
      <label for={id}>{option.label}</label>
      {!isSelected ? (
        <input
          {...described}
          type="text"
          inputMode={option.kind === "number" ? "decimal" : "text"}
          autocomplete="off"
          spellcheck={false}
          placeholder={inherits}
          value={text}
          onInput={(event) => onText(event.currentTarget.value)}
        />
      ) : (
        <select
          {...described}
          class={text === "" ? "inherits" : ""}
          value={text}
          onChange={(event) => onText(event.currentTarget.value)}
        >
          <option value="">{inherits}</option>
          {option.choices
            .filter((choice) => choice !== inherits)
            .map((choice) => (
              <option key={choice} value={choice}>
                {choice}
              </option>
            ))}
        </select>
      )}
      <div id={`${id}-message`} class="field-message">
        {errors.map((message) => (
          <p key={message} class="field-error">
            {message}
          </p>
        ))}
        {errors.length === 0 && option.help && <p class="quiet">{option.help}</p>}
      </div>
    </div>
  );
}
