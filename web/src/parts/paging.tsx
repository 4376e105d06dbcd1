import { linkTo, setParameters } from "../route";

interface PagingProps {
  /** Parts of the address of the list. */
  path: readonly string[];
  /** Parameters of that address. */
  values?: Record<string, string | null>;
  /** Cursor of the shown part; null for the newest. */
  cursor: string | null;
  next: string | null;
}

/** Links to the other parts of a long list. */
export function Paging({ path, values = {}, cursor, next }: PagingProps) {
  if (cursor === null && next === null) {
    return null;
  }
  return (
    <nav class="paging" aria-label="Pages of the list">
      {cursor !== null && (
        <button type="button" onClick={() => setParameters({ cursor: null })}>
          Newest
        </button>
      )}
      {next !== null && (
        <a class="button" href={linkTo(path, { ...values, cursor: next })}>
          Older
        </a>
      )}
    </nav>
  );
}
