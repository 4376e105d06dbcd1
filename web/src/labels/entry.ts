/** Name, tags and note as they are entered, and as they are sent. */

import type { Labels, Run } from "../api/types";

export interface LabelEntry {
  name: string;
  /** Tags separated by commas. */
  tags: string;
  note: string;
}

export const NO_LABELS: LabelEntry = { name: "", tags: "", note: "" };

export function enterLabels({ name, tags, note }: Pick<Run, "name" | "tags" | "note">): LabelEntry {
  return { name: name ?? "", tags: tags.join(", "), note: note ?? "" };
}

/** Return the members to send. An empty one removes what there was. */
export function parseLabels({ name, tags, note }: LabelEntry) {
  const parts = tags.split(",").map((tag) => tag.trim());
  return { name: name.trim(), tags: parts.filter((tag) => tag !== ""), note } satisfies Labels;
}

/** Return the members that a new run has; none where nothing is entered. */
export function collectLabels(entry: LabelEntry): Labels {
  const { name, tags, note } = parseLabels(entry);
  return {
    ...(name !== "" && { name }),
    ...(tags.length > 0 && { tags }),
    ...(note.trim() !== "" && { note }),
  };
}

/** Return labels as query parameters. */
export function toParameters({ tags, ...rest }: Labels): Record<string, string> {
  return {
    ...(rest as Record<string, string>),
    ...(Array.isArray(tags) && { tags: tags.join(",") }),
  };
}
