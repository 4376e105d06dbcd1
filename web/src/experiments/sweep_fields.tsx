import type { Config } from "../api/types";
import { FieldErrors } from "../parts/field_errors";
import { getModelValue, OPTION_GROUPS, type Option, OPTIONS } from "../try/options";
import { newRow, type SweepEntry, type SweepKind, type SweepRow } from "./sweep";

interface SweepFieldsProps {
  sweep: SweepEntry;
  onSweep: (sweep: SweepEntry) => void;
  config: Config | null;
  errors: ReadonlyMap<string, string[]>;
}

const KINDS: readonly [SweepKind, string][] = [
  ["none", "No sweep"],
  ["grid", "Every combination"],
  ["random", "Random points"],
];

/** Fields that can be swept; a value that is itself a list cannot be entered. */
const SWEPT = OPTIONS.filter(({ kind }) => kind !== "list").map(({ name }) => name);

/** The field that is swept by default. */
const FIRST = "noise_std" satisfies keyof Config;

/** Choose the swept options and their values. */
export function SweepFields({ sweep, onSweep, config, errors }: SweepFieldsProps) {
  const { kind, rows } = sweep;
  const used = rows.map(({ field }) => field);
  const unused = SWEPT.filter((name) => !used.includes(name));
  const change = (index: number, row: Partial<SweepRow>): void =>
    onSweep({ ...sweep, rows: rows.map((old, at) => (at === index ? { ...old, ...row } : old)) });
  const choose = (next: SweepKind): void =>
    onSweep({ ...sweep, kind: next, rows: rows.length ? rows : [newRow(FIRST)] });
  return (
    <fieldset class="panel">
      <legend>Sweep</legend>
      <div class="tabs">
        {KINDS.map(([value, label]) => (
          <label key={value} class="tab">
            <input
              type="radio"
              name="sweep"
              value={value}
              checked={kind === value}
              onChange={() => choose(value)}
            />
            <span>{label}</span>
          </label>
        ))}
      </div>
      {kind === "none" && (
        <p class="quiet">All trials have the same options and differ in their seeds alone.</p>
      )}
      {kind !== "none" &&
        rows.map((row, index) => (
          <SweepRowFields
            key={index}
            row={row}
            random={kind === "random"}
            choices={[row.field, ...unused]}
            inherits={getModelValue(config, row.field)}
            errors={errors.get(`sweep.${row.field}`)}
            onRow={(changed) => change(index, changed)}
            onRemove={() => onSweep({ ...sweep, rows: rows.filter((_, at) => at !== index) })}
          />
        ))}
      <FieldErrors messages={errors.get("sweep")} />
      {kind !== "none" && (
        <div class="toolbar sweep-foot">
          <button
            type="button"
            disabled={unused.length === 0}
            onClick={() => onSweep({ ...sweep, rows: [...rows, newRow(unused[0])] })}
          >
            Add a field
          </button>
          {kind === "random" && (
            <>
              <NumberField
                name="count"
                label="points"
                text={sweep.count}
                errors={errors.get("sweep.count")}
                onText={(count) => onSweep({ ...sweep, count })}
              />
              <NumberField
                name="seed"
                label="seed of the sweep"
                text={sweep.seed}
                errors={errors.get("sweep.seed")}
                onText={(seed) => onSweep({ ...sweep, seed })}
              />
            </>
          )}
        </div>
      )}
    </fieldset>
  );
}

interface SweepRowFieldsProps {
  row: SweepRow;
  random: boolean;
  choices: string[];
  inherits: string;
  errors: string[] | undefined;
  onRow: (changed: Partial<SweepRow>) => void;
  onRemove: () => void;
}

function SweepRowFields(props: SweepRowFieldsProps) {
  const { row, random, choices, inherits, errors, onRow, onRemove } = props;
  const option = OPTIONS.find(({ name }) => name === row.field);
  const numeric = option?.kind === "number";
  const range = random && row.range && numeric;
  const isInvalid = errors !== undefined;
  const message = `sweep-${row.field}-message`;
  const text = (name: "low" | "high" | "values", label: string, hint: string) => (
    <input
      class={`sweep-${name}`}
      aria-label={`${label} of ${row.field}`}
      aria-invalid={isInvalid}
      aria-describedby={message}
      autocomplete="off"
      placeholder={hint}
      value={row[name]}
      onInput={(event) => onRow({ [name]: event.currentTarget.value })}
    />
  );
  return (
    <div class="sweep-row">
      <select
        aria-label="Swept field"
        value={row.field}
        onChange={(event) => {
          const field = event.currentTarget.value;
          onRow({
            ...newRow(field),
            range: OPTIONS.find(({ name }) => name === field)?.kind === "number",
          });
        }}
      >
        {OPTION_GROUPS.map(({ title, options }) => (
          <optgroup key={title} label={title}>
            {options
              .filter(({ name }) => choices.includes(name))
              .map(({ name }) => (
                <option key={name}>{name}</option>
              ))}
          </optgroup>
        ))}
      </select>
      {random && numeric && (
        <select
          aria-label={`How ${row.field} is drawn`}
          value={row.range ? "range" : "list"}
          onChange={(event) => onRow({ range: event.currentTarget.value === "range" })}
        >
          <option value="range">from a range</option>
          <option value="list">from a list</option>
        </select>
      )}
      {range ? (
        <span class="sweep-range">
          {text("low", "Low end", "low")} to {text("high", "High end", "high")}
          <label class="check">
            <input
              type="checkbox"
              checked={row.log}
              onChange={(event) => onRow({ log: event.currentTarget.checked })}
            />
            log
          </label>
        </span>
      ) : (
        text("values", "Values", hintOf(option, inherits))
      )}
      <button type="button" aria-label={`Remove ${row.field}`} onClick={onRemove}>
        ✕
      </button>
      <div id={message} class="sweep-message">
        <FieldErrors messages={errors} />
      </div>
    </div>
  );
}

function hintOf(option: Option | undefined, inherits: string): string {
  if (option !== undefined && option.choices.length > 0) {
    return option.choices.join(", ");
  }
  return inherits ? `values, such as ${inherits}, …` : "values, separated by commas";
}

interface NumberFieldProps {
  name: string;
  label: string;
  text: string;
  errors: string[] | undefined;
  onText: (text: string) => void;
}

function NumberField({ name, label, text, errors, onText }: NumberFieldProps) {
  return (
    <span>
      <label>
        {label}
        <input
          class="short"
          name={`sweep-${name}`}
          inputMode="numeric"
          autocomplete="off"
          aria-invalid={errors !== undefined}
          value={text}
          onInput={(event) => onText(event.currentTarget.value)}
        />
      </label>
      <FieldErrors messages={errors} />
    </span>
  );
}
