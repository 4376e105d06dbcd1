import { OPTION_GROUPS, OPTIONS } from "../try/options";

interface ColumnPickerProps {
  chosen: readonly string[];
  onChosen: (names: string[]) => void;
}

/** Choose options that a list of runs shows as columns. */
export function ColumnPicker({ chosen, onChosen }: ColumnPickerProps) {
  const choose = (name: string, on: boolean): void =>
    onChosen(
      OPTIONS.map((option) => option.name).filter((each) =>
        each === name ? on : chosen.includes(each),
      ),
    );
  return (
    <details class="fold column-picker">
      <summary>
        Columns <span class="quiet">{chosen.join(", ")}</span>
      </summary>
      <div class="column-groups">
        {OPTION_GROUPS.map(({ title, options }) => (
          <fieldset key={title}>
            <legend>{title}</legend>
            {options.map(({ name }) => (
              <label key={name} class="check">
                <input
                  type="checkbox"
                  checked={chosen.includes(name)}
                  onChange={(event) => choose(name, event.currentTarget.checked)}
                />
                {name}
              </label>
            ))}
          </fieldset>
        ))}
      </div>
    </details>
  );
}
