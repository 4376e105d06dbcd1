import type { Page } from "../api/types";
import { linkTo, type Route } from "../route";

interface PagingProps {
  route: Route;
  /** The shown page; only some lists continue backwards. */
  page: Page<unknown> & { previous_cursor?: string | null };
}

/** Links to the other pages of a list. */
export function Paging({ route, page }: PagingProps) {
  const { previous_cursor: previous = null, next_cursor: next } = page;
  const cursor = route.parameters.get("cursor");
  if (cursor === null && next === null) {
    return null;
  }
  const link = (title: string, to: string | null) => (
    <a
      class="button"
      href={linkTo(route.parts, { ...Object.fromEntries(route.parameters), cursor: to })}
    >
      {title}
    </a>
  );
  return (
    <nav class="paging" aria-label="Pages of the list">
      {cursor !== null && link("First", null)}
      {previous !== null && link("Previous", previous)}
      {next !== null && link("Next", next)}
    </nav>
  );
}
