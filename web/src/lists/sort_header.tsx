import type { ListOrder } from "../generated/choices";
import { setParameters } from "../route";
import { NEWEST_FIRST } from "./list_state";

interface SortHeaderProps {
  order: ListOrder;
  /** Title of the column. */
  children: string;
  /** The order of the list, with a dash before it where it descends. */
  sort: string;
  isNumber?: boolean;
}

/** The head of a column by which the list is sorted at a click, and reversed at the next one. */
export function SortHeader({ order, children, sort, isNumber = false }: SortHeaderProps) {
  const isSorted = sort.replace(/^-/, "") === order;
  const descends = sort.startsWith("-");
  // Times are more useful from the newest and the longest on.
  const begins = order === "created" || order === "duration" ? `-${order}` : order;
  const next = !isSorted ? begins : descends ? order : `-${order}`;
  return (
    <th
      scope="col"
      class={isNumber ? "number" : ""}
      aria-sort={isSorted ? (descends ? "descending" : "ascending") : undefined}
    >
      <button
        type="button"
        class="sort"
        onClick={() => setParameters({ sort: next === NEWEST_FIRST ? null : next, cursor: null })}
      >
        {children}
        <span aria-hidden="true">{isSorted ? (descends ? " ↓" : " ↑") : ""}</span>
      </button>
    </th>
  );
}
