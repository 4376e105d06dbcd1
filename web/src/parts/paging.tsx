import { address, setValues } from "../route";

interface PagingProps {
  /** Parts of the address of the page that shows the list. */
  path: readonly string[];
  /** Values of that address. */
  values?: Record<string, string | null>;
  /** Where the part that is shown begins; null for the newest. */
  cursor: string | null;
  next: string | null;
}

/** Ways to the other parts of a long list. */
export function Paging({ path, values = {}, cursor, next }: PagingProps) {
  if (cursor === null && next === null) {
    return null;
  }
  return (
    <nav class="paging" aria-label="Pages of the list">
      {cursor !== null && (
        <button type="button" onClick={() => setValues({ cursor: null })}>
          Newest
        </button>
      )}
      {next !== null && (
        <a class="button" href={address(path, { ...values, cursor: next })}>
          Older
        </a>
      )}
    </nav>
  );
}
