/** What a list shows: filter, order and place, as the address has them and as they are sent. */

import type { ListParameters } from "../api/http";
import { RUN_STATES } from "../generated/choices";
import type { Route } from "../route";
import { parseNumber } from "../text/entries";
import { OPTIONS, parseOption } from "../try/options";

/** Members of the filter by their names in the address; an empty one selects everything. */
export const FILTER_NAMES = ["search", "state", "model", "tag", "options", "from", "to"] as const;

export type ListFilter = Readonly<Record<(typeof FILTER_NAMES)[number], string>>;

export interface ListState {
  filter: ListFilter;
  /** A column, with a dash before it where it descends. */
  sort: string;
  cursor: string | null;
}

export const NEWEST_FIRST = "-created";

export function readListState({ parameters }: Route): ListState {
  const read = (name: string): string => parameters.get(name) ?? "";
  const filter = Object.fromEntries(FILTER_NAMES.map((name) => [name, read(name)])) as ListFilter;
  const isKnown = RUN_STATES.some((state) => state === filter.state);
  return {
    filter: isKnown ? filter : { ...filter, state: "" },
    sort: read("sort") || NEWEST_FIRST,
    cursor: parameters.get("cursor"),
  };
}

export function isFiltered(filter: ListFilter): boolean {
  return FILTER_NAMES.some((name) => filter[name] !== "");
}

/** Return the filter as members of a request that deletes what it selects. */
export function toDeletionFilter(filter: ListFilter): Record<string, unknown> {
  const { search, state, model, tag, options, from, to } = filter;
  const members = {
    search,
    state,
    model,
    tag: splitTags(tag),
    options: parseOptions(options),
    created_after: beginningOf(from, 0),
    created_before: beginningOf(to, 1),
  };
  return Object.fromEntries(
    Object.entries(members).filter(([, value]) => value !== "" && value !== null),
  );
}

/** Return the parameters of the list. */
export function toParameters({ filter, sort, cursor }: ListState): ListParameters {
  const { tag, options, ...rest } = toDeletionFilter(filter) as Record<string, string>;
  return {
    ...rest,
    tag: Array.isArray(tag) ? tag.join(",") : null,
    options: options && JSON.stringify(options),
    sort: sort === NEWEST_FIRST ? null : sort,
    cursor,
  };
}

function splitTags(text: string): string[] | null {
  const tags = text
    .split(",")
    .map((tag) => tag.trim())
    .filter(Boolean);
  return tags.length > 0 ? tags : null;
}

/** Return options from a text such as `noise_std=0.1, spawn.mode=off`; null for none. */
export function parseOptions(text: string): Record<string, unknown> | null {
  const parts = text.split(/[,;]/).filter((part) => part.trim() !== "");
  if (parts.length === 0) {
    return null;
  }
  return Object.fromEntries(
    parts.map((part) => {
      const [name, ...rest] = part.split("=");
      const value = rest.join("=").trim();
      const option = OPTIONS.find((each) => each.name === name.trim());
      return [name.trim(), option === undefined ? parseNumber(value) : parseOption(option, value)];
    }),
  );
}

/** Return when a day of this browser's time zone begins, or a later one; null for no day. */
function beginningOf(day: string, later: number): string | null {
  const moment = new Date(`${day}T00:00`);
  if (Number.isNaN(moment.getTime())) {
    return null;
  }
  moment.setDate(moment.getDate() + later);
  return moment.toISOString();
}
