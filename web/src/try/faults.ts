/** Faults that the server reports, assigned to the fields of a form. */

import type { Fault } from "../api/types";
import { OPTIONS } from "./options";

interface AssignedFaults {
  /** Messages by field: the dotted name of an option, or a field of the form itself. */
  fields: Map<string, string[]>;
  /** Messages about no field of the form. */
  rest: string[];
}

const NAMES = new Set(OPTIONS.map(({ name }) => name));

/** @param own names of the fields of the form that are not options. */
export function assignFaults(faults: readonly Fault[], own: ReadonlySet<string>): AssignedFaults {
  const fields = new Map<string, string[]>();
  const rest: string[] = [];
  for (const { loc, msg } of faults) {
    const names = loc[0] === "sweep" ? [findSweepField(loc)] : findFields(loc, own);
    for (const name of names) {
      fields.set(name, [...(fields.get(name) ?? []), describePosition(loc) + msg]);
    }
    if (names.length === 0) {
      rest.push(loc.length ? `${loc.join(".")}: ${msg}` : msg);
    }
  }
  return { fields, rest };
}

/** Return the position of the value in its list, as the beginning of a message. */
function describePosition(loc: readonly (string | number)[]): string {
  const last = loc[loc.length - 1];
  if (loc[0] === "embeddings" && loc.length > 1) {
    return `row ${loc.slice(1).join(", number ")}: `;
  }
  return (loc[0] === "sweep" || loc[0] === "seeds") && typeof last === "number"
    ? `value ${last + 1}: `
    : "";
}

/** Return `sweep.` with the name of the swept option, or of a member of the sweep itself. */
function findSweepField(loc: readonly (string | number)[]): string {
  const [, kind, field] = loc;
  const member = field ?? (kind === "grid" || kind === "random" ? undefined : kind);
  return member === undefined ? "sweep" : `sweep.${member}`;
}

/** Return the fields at a location. The location of a combination names several. */
function findFields(loc: readonly (string | number)[], own: ReadonlySet<string>): string[] {
  if (own.has(String(loc[0]))) {
    return [String(loc[0])];
  }
  const parts = loc[0] === "options" ? loc.slice(1) : loc;
  // A location may continue inside the value of an option.
  for (let length = parts.length; length > 0; length--) {
    const joined = parts.slice(0, length).join(".");
    if (NAMES.has(joined)) {
      return [joined];
    }
  }
  return parts.map(String).filter((part) => NAMES.has(part));
}
