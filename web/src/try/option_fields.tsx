import type { Config } from "../api/types";
import { type Entered, inherited, OPTION_GROUPS, type Option } from "./options";

interface OptionFieldsProps {
  entered: Entered;
  onEntered: (entered: Entered) => void;
  config: Config | null;
  complaints: ReadonlyMap<string, string[]>;
}

/** The options of a run, folded away until they are asked for or complained of. */
export function OptionsFold(props: OptionFieldsProps) {
  const wrong = OPTION_GROUPS.some(({ options }) =>
    options.some(({ name }) => props.complaints.has(name)),
  );
  const changed = Object.entries(props.entered).filter(([, text]) => text.trim() !== "");
  const words = changed.map(([name, text]) => `${name} = ${text}`).join(", ");
  return (
    <details class="options" open={wrong || undefined}>
      <summary>
        Options <span class="quiet">{words || "as the model has them"}</span>
      </summary>
      <OptionFields {...props} />
    </details>
  );
}

/** What is left alone is the model's. */
function OptionFields({ entered, onEntered, config, complaints }: OptionFieldsProps) {
  const enter = (name: string, text: string): void => onEntered({ ...entered, [name]: text });
  return (
    <div class="option-groups">
      {OPTION_GROUPS.map(({ title, options }) => (
        <fieldset key={title} class="panel">
          <legend>{title}</legend>
          {options.map((option) => (
            <OptionField
              key={option.name}
              option={option}
              text={entered[option.name] ?? ""}
              inherits={inherited(config, option.name)}
              complaints={complaints.get(option.name) ?? []}
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
  complaints: string[];
  onText: (text: string) => void;
}

function OptionField({ option, text, inherits, complaints, onText }: OptionFieldProps) {
  const id = `option-${option.name}`;
  const described = {
    id,
    name: option.name,
    "aria-invalid": complaints.length > 0,
    "aria-describedby": `${id}-said`,
  };
  const choices =
    option.kind === "choice" ? option.choices : option.kind === "switch" ? ["true", "false"] : [];
  const named = (value: string) =>
    option.kind === "switch" ? (value === "true" ? "yes" : "no") : value;
  return (
    <div class="field">
      <label for={id}>{option.label}</label>
      {option.kind === "number" ? (
        <input
          {...described}
          type="text"
          inputMode="decimal"
          autocomplete="off"
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
          <option value="">{named(inherits)}</option>
          {choices
            .filter((choice) => choice !== inherits)
            .map((choice) => (
              <option key={choice} value={choice}>
                {named(choice)}
              </option>
            ))}
        </select>
      )}
      <div id={`${id}-said`} class="field-said">
        {complaints.map((words) => (
          <p key={words} class="complaint">
            {words}
          </p>
        ))}
        {complaints.length === 0 && option.help && <p class="quiet">{option.help}</p>}
      </div>
    </div>
  );
}
