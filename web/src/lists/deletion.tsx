import { useState } from "preact/hooks";
import { explain, Problem } from "../api/http";
import type { Deletion, DeletionBody } from "../api/types";
import { Notice } from "../parts/notice";
import { formatCount, shortenId } from "../text/numbers";

/** The server deletes at most as many in one request. */
const MAX_DELETED = 1000;

interface DeletionActionsProps {
  /** What is deleted: one, and several. */
  names: readonly [string, string];
  /** Ids that are selected. */
  selected: readonly string[];
  /** The filter of the list; null where it shows everything. */
  filter: Record<string, unknown> | null;
  send: (body: DeletionBody) => Promise<Deletion>;
  /** Called with the ids that were deleted. */
  onDeleted: (ids: readonly string[]) => void;
}

interface Outcome {
  kept: Deletion["kept"];
  failure: string | null;
}

/** Buttons that delete what is selected, or all that a filter selects, after a confirmation. */
export function DeletionActions(props: DeletionActionsProps) {
  const { names, selected, filter, send, onDeleted } = props;
  const [sending, setSending] = useState(false);
  const [outcome, setOutcome] = useState<Outcome>({ kept: [], failure: null });
  const count = (number: number): string =>
    `${formatCount(number)} ${number === 1 ? names[0] : names[1]}`;
  const isConfirmed = (number: number): boolean =>
    confirm(`Delete ${count(number)} with all files? This cannot be undone.`);
  const remove = async (choose: () => Promise<DeletionBody | null>): Promise<void> => {
    setSending(true);
    try {
      const body = await choose();
      if (body !== null) {
        const { deleted, kept } = await send(body);
        setOutcome({ kept, failure: null });
        onDeleted(deleted);
      }
    } catch (error) {
      setOutcome({ kept: [], failure: explain(error) });
    } finally {
      setSending(false);
    }
  };
  const chooseSelected = async () =>
    Promise.resolve(isConfirmed(selected.length) ? { ids: selected } : null);
  const chooseFiltered = async () => {
    const number = await countFiltered(send, filter ?? {});
    if (number > MAX_DELETED) {
      throw new Error(
        `The filter selects ${count(number)}. At most ${formatCount(MAX_DELETED)} are deleted at once; narrow the filter.`,
      );
    }
    return number > 0 && isConfirmed(number) ? { filter, count: number } : null;
  };
  return (
    <>
      {selected.length > 0 && (
        <button type="button" disabled={sending} onClick={() => void remove(chooseSelected)}>
          Delete {count(selected.length)}
        </button>
      )}
      {selected.length === 0 && filter !== null && (
        <button type="button" disabled={sending} onClick={() => void remove(chooseFiltered)}>
          Delete all that match
        </button>
      )}
      {outcome.failure !== null && <Notice tone="problem">{outcome.failure}</Notice>}
      {outcome.kept.length > 0 && (
        <Notice tone="warning">
          {count(outcome.kept.length)} {outcome.kept.length === 1 ? "was" : "were"} not deleted.
          <ul>
            {outcome.kept.slice(0, 5).map(({ id, error }) => (
              <li key={id}>
                {shortenId(id)}: {error.detail}
              </li>
            ))}
          </ul>
        </Notice>
      )}
    </>
  );
}

/** Return how many a filter selects: a deletion that expects another number deletes nothing. */
async function countFiltered(
  send: (body: DeletionBody) => Promise<Deletion>,
  filter: Record<string, unknown>,
): Promise<number> {
  try {
    await send({ filter, count: 0 });
    return 0;
  } catch (error) {
    if (error instanceof Problem && error.count !== null) {
      return error.count;
    }
    throw error;
  }
}
