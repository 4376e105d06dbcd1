/** The server's complaints, sorted to the fields of the form. */

import type { Fault } from "../api/types";
import { OPTION_GROUPS } from "./options";

export interface SortedFaults {
  /** By the field's name: an option's dotted name, `embeddings`, `seed` or `model`. */
  fields: Map<string, string[]>;
  /** Complaints that belong to no field of the form. */
  rest: string[];
}

const OWN = new Set(["embeddings", "seed", "model", "outputs"]);
const OPTIONS = new Set(OPTION_GROUPS.flatMap((group) => group.options.map(({ name }) => name)));

export function sortFaults(faults: readonly Fault[]): SortedFaults {
  const fields = new Map<string, string[]>();
  const rest: string[] = [];
  for (const { loc, msg } of faults) {
    const names = fieldsOf(loc);
    const place =
      loc.length > 1 && loc[0] === "embeddings" ? `row ${loc.slice(1).join(", number ")}: ` : "";
    for (const name of names) {
      fields.set(name, [...(fields.get(name) ?? []), place + msg]);
    }
    if (names.length === 0) {
      rest.push(loc.length ? `${loc.join(".")}: ${msg}` : msg);
    }
  }
  return { fields, rest };
}

/** Fields that a location stands for; a combination names several, each a dotted text. */
function fieldsOf(loc: readonly (string | number)[]): string[] {
  if (OWN.has(String(loc[0]))) {
    return [String(loc[0])];
  }
  const parts = loc[0] === "options" ? loc.slice(1) : loc;
  const joined = parts.join(".");
  if (OPTIONS.has(joined)) {
    return [joined];
  }
  return parts.map(String).filter((part) => OPTIONS.has(part));
}
