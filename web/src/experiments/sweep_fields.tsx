import type { Config } from "../api/types";
import { FieldComplaints } from "../parts/field_complaints";
import { inherited, OPTION_GROUPS, type Option } from "../try/options";
import { newRow, type SweepEntry, type SweepKind, type SweepRow } from "./sweep";

interface SweepFieldsProps {
  sweep: SweepEntry;
  onSweep: (sweep: SweepEntry) => void;
  config: Config | null;
  complaints: ReadonlyMap<string, string[]>;
}

const KINDS: readonly [SweepKind, string][] = [
  ["none", "Nothing"],
  ["grid", "Every combination"],
  ["random", "Drawn at random"],
];

const OPTIONS = OPTION_GROUPS.flatMap(({ options }) => options);

/** Which options vary from trial to trial, and how. */
export function SweepFields({ sweep, onSweep, config, complaints }: SweepFieldsProps) {
  const { kind, rows } = sweep;
  const used = rows.map(({ field }) => field);
  const unused = OPTIONS.map(({ name }) => name).filter((name) => !used.includes(name));
  const change = (index: number, row: Partial<SweepRow>): void =>
    onSweep({ ...sweep, rows: rows.map((old, at) => (at === index ? { ...old, ...row } : old)) });
  const choose = (next: SweepKind): void =>
    onSweep({ ...sweep, kind: next, rows: rows.length ? rows : [newRow("noise_std")] });
  return (
    <fieldset class="panel">
      <legend>What varies</legend>
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
        <p class="quiet">All trials have the same options; only their seeds differ.</p>
      )}
      {kind !== "none" &&
        rows.map((row, index) => (
          <SweepRowFields
            key={index}
            row={row}
            random={kind === "random"}
            choices={[row.field, ...unused]}
            inherits={inherited(config, row.field)}
            complaints={complaints.get(`sweep.${row.field}`)}
            onRow={(changed) => change(index, changed)}
            onRemove={() => onSweep({ ...sweep, rows: rows.filter((_, at) => at !== index) })}
          />
        ))}
      <FieldComplaints words={complaints.get("sweep")} />
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
                complaints={complaints.get("sweep.count")}
                onText={(count) => onSweep({ ...sweep, count })}
              />
              <NumberField
                name="seed"
                label="drawn with seed"
                text={sweep.seed}
                complaints={complaints.get("sweep.seed")}
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
  complaints: string[] | undefined;
  onRow: (changed: Partial<SweepRow>) => void;
  onRemove: () => void;
}

function SweepRowFields(props: SweepRowFieldsProps) {
  const { row, random, choices, inherits, complaints, onRow, onRemove } = props;
  const option = OPTIONS.find(({ name }) => name === row.field);
  const numeric = option?.kind === "number";
  const range = random && row.range && numeric;
  const wrong = complaints !== undefined;
  const said = `sweep-${row.field}-said`;
  const text = (name: "low" | "high" | "values", label: string, hint: string) => (
    <input
      class={`sweep-${name}`}
      aria-label={`${label} of ${row.field}`}
      aria-invalid={wrong}
      aria-describedby={said}
      autocomplete="off"
      placeholder={hint}
      value={row[name]}
      onInput={(event) => onRow({ [name]: event.currentTarget.value })}
    />
  );
  return (
    <div class="sweep-row">
      <select
        aria-label="Field that varies"
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
      <button type="button" aria-label={`Leave ${row.field} as it is`} onClick={onRemove}>
        ✕
      </button>
      <div id={said} class="sweep-said">
        <FieldComplaints words={complaints} />
      </div>
    </div>
  );
}

function hintOf(option: Option | undefined, inherits: string): string {
  if (option?.kind === "choice") {
    return option.choices.join(", ");
  }
  if (option?.kind === "switch") {
    return "true, false";
  }
  return inherits ? `values, such as ${inherits}, …` : "values, with commas";
}

interface NumberFieldProps {
  name: string;
  label: string;
  text: string;
  complaints: string[] | undefined;
  onText: (text: string) => void;
}

function NumberField({ name, label, text, complaints, onText }: NumberFieldProps) {
  return (
    <span>
      <label>
        {label}
        <input
          class="short"
          name={`sweep-${name}`}
          inputMode="numeric"
          autocomplete="off"
          aria-invalid={complaints !== undefined}
          value={text}
          onInput={(event) => onText(event.currentTarget.value)}
        />
      </label>
      <FieldComplaints words={complaints} />
    </span>
  );
}
