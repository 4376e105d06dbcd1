"""The kinds of the workers that compute runs, and what to state where they differ.

Results of workers of one kind have the same bits; see ``runtime.worker_kind``.
"""

from __future__ import annotations

from collections.abc import Sequence

from service.store.tables import RunRow


def find_mixture_warning(kinds: Sequence[str]) -> str | None:
    """Return the warning of a run whose samples were computed on workers of several kinds.

    Args:
        kinds: Kinds of its workers, each once.
    """
    if len(kinds) < 2:
        return None
    return (
        f"computed on workers of the kinds {join_kinds(kinds)}, so bits can differ from those of a "
        "run on one"
    )


def note_on_replay_kind(row: RunRow, kind: str) -> str | None:
    """Return what to state of a replay, if the run was computed on another kind of worker.

    Args:
        row: Row of the run.
        kind: Kind of the worker that has replayed it.
    """
    kinds = row.worker_kinds
    # Earlier versions did not store the kind.
    if kinds in ([], [kind]):
        return None
    workers = "a worker of the kind" if len(kinds) == 1 else "workers of the kinds"
    return (
        f"computed on {workers} {join_kinds(kinds)}, and replayed on one of the kind {kind}, so "
        "bits can differ"
    )


def join_kinds(kinds: Sequence[str]) -> str:
    """Return kinds for people.

    Args:
        kinds: At least one.
    """
    return " and ".join((", ".join(kinds[:-1]), kinds[-1])) if len(kinds) > 1 else kinds[0]
