/** Which flows are shown, and how: filters, and the lineage of a selected flow. */

import { REASONS, type Reason } from "../generated/choices";
import type { FlowPaths } from "./flow_paths";

export const HIDDEN = 0;
export const DIM = 1;
export const NORMAL = 2;
export const HIGHLIGHTED = 3;

export interface FlowFilter {
  did: "any" | "spawned" | "reflected" | "born";
  reason: Reason | "any";
}

export const NO_FILTER: FlowFilter = { did: "any", reason: "any" };

/** Mark a flow, its ancestors and its descendants with 1, and all others with 0. */
export function findLineage(paths: FlowPaths, flow: number): Uint8Array {
  const member = new Uint8Array(paths.flow.length);
  for (let at = flow; at >= 0; at = paths.parent[at]) {
    member[at] = 2;
  }
  member[flow] = 1;
  // A child has a larger index than its parent, so one pass reaches all descendants.
  for (let index = flow + 1; index < member.length; index++) {
    if (paths.parent[index] >= 0 && member[paths.parent[index]] === 1) {
      member[index] = 1;
    }
  }
  return member.map((value) => (value ? 1 : 0));
}

function isShown(paths: FlowPaths, flow: number, filter: FlowFilter): boolean {
  if (filter.reason !== "any" && paths.reason[flow] !== REASONS.indexOf(filter.reason)) {
    return false;
  }
  switch (filter.did) {
    case "spawned":
      return paths.hasSpawned[flow] === 1;
    case "reflected":
      return paths.hasReflected[flow] === 1;
    case "born":
      return paths.parent[flow] >= 0;
    default:
      return true;
  }
}

/** Return how each flow is shown. The lineage of a selected flow is highlighted, whatever the filter. */
export function computeEmphasis(
  paths: FlowPaths,
  filter: FlowFilter,
  selected: number,
): Uint8Array {
  const related = selected >= 0 ? findLineage(paths, selected) : null;
  const emphasis = new Uint8Array(paths.flow.length);
  for (let flow = 0; flow < emphasis.length; flow++) {
    if (related?.[flow]) {
      emphasis[flow] = HIGHLIGHTED;
    } else if (!isShown(paths, flow, filter)) {
      emphasis[flow] = HIDDEN;
    } else {
      emphasis[flow] = related ? DIM : NORMAL;
    }
  }
  return emphasis;
}
