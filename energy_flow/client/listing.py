"""Filters of lists, changes of names, tags and notes, and deletions of several at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from energy_flow.client import calls
from energy_flow.client.errors import ProblemError
from energy_flow.client.exchange import Request, problem_of

MAX_DELETED: Final = 1000
"""Most ids of one request."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A run or an experiment that was not deleted.

    Attributes:
        id: its id or name, as it was given.
        error: why not, as the server states it.
    """

    id: str
    error: Mapping[str, Any]

    @property
    def problem(self) -> ProblemError | None:
        """Return why it was not deleted."""
        return problem_of({"error": self.error})


@dataclass(frozen=True, slots=True)
class Deletion:
    """What was deleted, and what was not.

    Attributes:
        deleted: ids or names, as they were given.
        kept: what was not deleted, and why.
    """

    deleted: tuple[str, ...]
    kept: tuple[Kept, ...]


def list_filters(
    *, created_after: str | datetime | None, created_before: str | datetime | None, **others: Any
) -> dict[str, Any]:
    """Return the query parameters of a list.

    Args:
        created_after: a time; one without a time zone is UTC.
        created_before: likewise.
        others: parameters that are sent as they are.
    """
    moments = {"created_after": created_after, "created_before": created_before}
    texts = {
        name: moment.isoformat() if isinstance(moment, datetime) else moment
        for name, moment in moments.items()
    }
    return {**others, **texts}


def change_labels(path: str, **labels: Any) -> Request:
    """Return a request to change a name, tags or a note.

    Args:
        path: of the run or the experiment.
        labels: new values; those that are ``None`` stay.
    """
    return calls.patch(path, labels)


def deletions(path: str, ids: Iterable[str]) -> Iterator[Request]:
    """Yield requests that together delete several runs or experiments.

    Args:
        path: of the list.
        ids: ids or names.
    """
    given = list(ids)
    for first in range(0, len(given), MAX_DELETED):
        yield calls.post(f"{path}:delete", {"ids": given[first : first + MAX_DELETED]})


def join_deletions(parts: Sequence[Deletion]) -> Deletion:
    """Return what several requests have deleted together."""
    return Deletion(
        tuple(one for part in parts for one in part.deleted),
        tuple(one for part in parts for one in part.kept),
    )
