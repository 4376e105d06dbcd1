/** Who is shown, and how: filters, and the lineage of a picked flow. */

import { REASONS, type Reason } from "../api/types";
import type { Journey } from "./journey";

export const HIDDEN = 0;
export const DIM = 1;
export const NORMAL = 2;
export const LIT = 3;

export interface FlowFilter {
  did: "any" | "spawned" | "reflected" | "born";
  reason: Reason | "any";
}

export const NO_FILTER: FlowFilter = { did: "any", reason: "any" };

/** The flow, its ancestors and its descendants. */
export function lineage(journey: Journey, flow: number): Uint8Array {
  const member = new Uint8Array(journey.flow.length);
  for (let at = flow; at >= 0; at = journey.parent[at]) {
    member[at] = 2;
  }
  member[flow] = 1;
  // Children have larger ids than their parents, so one pass reaches all descendants.
  for (let index = flow + 1; index < member.length; index++) {
    if (journey.parent[index] >= 0 && member[journey.parent[index]] === 1) {
      member[index] = 1;
    }
  }
  return member.map((value) => (value ? 1 : 0));
}

export function passes(journey: Journey, flow: number, filter: FlowFilter): boolean {
  if (filter.reason !== "any" && journey.reason[flow] !== REASONS.indexOf(filter.reason)) {
    return false;
  }
  switch (filter.did) {
    case "spawned":
      return journey.hasSpawned[flow] === 1;
    case "reflected":
      return journey.hasReflected[flow] === 1;
    case "born":
      return journey.parent[flow] >= 0;
    default:
      return true;
  }
}

/** How each flow is shown. A picked flow's lineage is lit, whatever the filter. */
export function standings(journey: Journey, filter: FlowFilter, picked: number): Uint8Array {
  const related = picked >= 0 ? lineage(journey, picked) : null;
  const standing = new Uint8Array(journey.flow.length);
  for (let flow = 0; flow < standing.length; flow++) {
    if (related?.[flow]) {
      standing[flow] = LIT;
    } else if (!passes(journey, flow, filter)) {
      standing[flow] = HIDDEN;
    } else {
      standing[flow] = related ? DIM : NORMAL;
    }
  }
  return standing;
}
