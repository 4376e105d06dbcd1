import { useEffect, useRef, useState } from "preact/hooks";
import { RUN_STATES } from "../generated/choices";
import { setParameters } from "../route";
import { FILTER_NAMES, isFiltered, type ListFilter } from "./list_state";

interface ListFiltersProps {
  filter: ListFilter;
  /** Names of models to choose from. */
  models: readonly string[];
}

/** A change of the address after the last letter, in milliseconds. */
const PAUSE_MS = 300;

/** Set members of the filter in the address; the list begins again. */
function change(values: Partial<Record<keyof ListFilter, string | null>>): void {
  setParameters({ ...values, cursor: null });
}

/** Fields by which a list is searched and filtered. The address has what is entered. */
export function ListFilters({ filter, models }: ListFiltersProps) {
  const { search, ...rest } = filter;
  const active = Object.entries(rest).filter(([, value]) => value !== "");
  const text = (name: keyof ListFilter, label: string, hint = "", list?: string) => (
    <label>
      {label}
      <EnteredText
        text={filter[name]}
        onText={(value) => change({ [name]: value })}
        hint={hint}
        {...(list !== undefined && { list })}
      />
    </label>
  );
  const day = (name: "from" | "to", label: string) => (
    <label>
      {label}
      <input
        type="date"
        value={filter[name]}
        onChange={(event) => change({ [name]: event.currentTarget.value })}
      />
    </label>
  );
  return (
    <search class="list-filters">
      <label class="list-search">
        <span class="hidden">search</span>
        <EnteredText
          text={search}
          onText={(value) => change({ search: value })}
          hint="Search names, notes, tags, models, ids"
        />
      </label>
      <details class="fold">
        <summary>
          Filters{" "}
          <span class="quiet">{active.map(([name, value]) => `${name} ${value}`).join(", ")}</span>
        </summary>
        <div class="toolbar">
          <label>
            state
            <select
              value={filter.state}
              onChange={(event) => change({ state: event.currentTarget.value })}
            >
              <option value="">any</option>
              {RUN_STATES.map((state) => (
                <option key={state}>{state}</option>
              ))}
            </select>
          </label>
          {text("model", "model", "", "list-models")}
          <datalist id="list-models">
            {models.map((name) => (
              <option key={name} value={name} />
            ))}
          </datalist>
          {text("tag", "tags", "a, b")}
          {text("options", "options", "noise_std=0.1, spawn.mode=off")}
          {day("from", "created from")}
          {day("to", "to")}
        </div>
      </details>
      {isFiltered(filter) && (
        <button
          type="button"
          onClick={() => change(Object.fromEntries(FILTER_NAMES.map((name) => [name, null])))}
        >
          Show all
        </button>
      )}
    </search>
  );
}

interface EnteredTextProps {
  text: string;
  onText: (text: string) => void;
  hint: string;
  list?: string;
}

/** A text that takes effect once no letter has followed for a moment. */
function EnteredText({ text, onText, hint, list }: EnteredTextProps) {
  const [entered, setEntered] = useState(text);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  // The address may change by itself: by a link to a tag, or by "Show all".
  useEffect(() => {
    clearTimeout(timer.current);
    setEntered(text);
  }, [text]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const enter = (value: string): void => {
    setEntered(value);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => onText(value.trim()), PAUSE_MS);
  };
  return (
    <input
      type="text"
      autocomplete="off"
      spellcheck={false}
      placeholder={hint}
      list={list}
      value={entered}
      onInput={(event) => enter(event.currentTarget.value)}
    />
  );
}
