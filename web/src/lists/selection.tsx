import { useState } from "preact/hooks";

export interface Selection {
  ids: readonly string[];
  choose: (ids: readonly string[], on: boolean) => void;
}

/** Ids that are selected, on all pages of a list. */
export function useSelection(): Selection {
  const [ids, setIds] = useState<readonly string[]>([]);
  const choose = (changed: readonly string[], on: boolean): void =>
    setIds((before) => [...before.filter((id) => !changed.includes(id)), ...(on ? changed : [])]);
  return { ids, choose };
}

/** The head of the column of the boxes: selects the whole page. */
export function SelectionHeader({ ids, selection }: { ids: string[]; selection: Selection }) {
  return (
    <th scope="col">
      <input
        type="checkbox"
        aria-label="Select all on this page"
        checked={ids.every((id) => selection.ids.includes(id))}
        onChange={(event) => selection.choose(ids, event.currentTarget.checked)}
      />
    </th>
  );
}

interface SelectionCellProps {
  id: string;
  /** What the row shows, such as "run 01234567". */
  what: string;
  selection: Selection;
}

export function SelectionCell({ id, what, selection }: SelectionCellProps) {
  return (
    <td>
      <input
        type="checkbox"
        aria-label={`Select ${what}`}
        checked={selection.ids.includes(id)}
        onChange={(event) => selection.choose([id], event.currentTarget.checked)}
      />
    </td>
  );
}
