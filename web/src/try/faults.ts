/** The server's complaints, sorted to the fields of a form. */

import type { Fault } from "../api/types";
import { OPTION_GROUPS } from "./options";

export interface SortedFaults {
  /** By the field's name: an option's dotted name, or one of the form's own fields. */
  fields: Map<string, string[]>;
  /** Complaints that belong to no field of the form. */
  rest: string[];
}

const OPTIONS = new Set(OPTION_GROUPS.flatMap((group) => group.options.map(({ name }) => name)));

/** @param own names of the form's fields that are no options. */
export function sortFaults(faults: readonly Fault[], own: ReadonlySet<string>): SortedFaults {
  const fields = new Map<string, string[]>();
  const rest: string[] = [];
  for (const { loc, msg } of faults) {
    const names = loc[0] === "sweep" ? [sweptField(loc)] : fieldsOf(loc, own);
    for (const name of names) {
      fields.set(name, [...(fields.get(name) ?? []), placeWords(loc) + msg]);
    }
    if (names.length === 0) {
      rest.push(loc.length ? `${loc.join(".")}: ${msg}` : msg);
    }
  }
  return { fields, rest };
}

/** Which of several a complaint is about. */
function placeWords(loc: readonly (string | number)[]): string {
  const last = loc[loc.length - 1];
  if (loc[0] === "embeddings" && loc.length > 1) {
    return `row ${loc.slice(1).join(", number ")}: `;
  }
  return (loc[0] === "sweep" || loc[0] === "seeds") && typeof last === "number"
    ? `value ${last + 1}: `
    : "";
}

/** `sweep.` and the name of the option that varies, or of the sweep's own member. */
function sweptField(loc: readonly (string | number)[]): string {
  const [, kind, field] = loc;
  const member = field ?? (kind === "grid" || kind === "random" ? undefined : kind);
  return member === undefined ? "sweep" : `sweep.${member}`;
}

/** Fields that a location stands for; a combination names several, each a dotted text. */
function fieldsOf(loc: readonly (string | number)[], own: ReadonlySet<string>): string[] {
  if (own.has(String(loc[0]))) {
    return [String(loc[0])];
  }
  const parts = loc[0] === "options" ? loc.slice(1) : loc;
  const joined = parts.join(".");
  if (OPTIONS.has(joined)) {
    return [joined];
  }
  return parts.map(String).filter((part) => OPTIONS.has(part));
}
