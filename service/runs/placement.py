"""``Placement``: the workers on which a run is computed."""

from __future__ import annotations

from typing import Any

from service.store.tables import RunRow


class Placement:
    """The workers of one run.

    Attributes:
        worker: Name of the worker that it was started on last.
        kinds: Kinds of the workers that have computed what is kept of it, in order, each once.
        attempts: Times that a worker has started it.
    """

    def __init__(self) -> None:
        self.worker: str | None = None
        self.kinds: list[str] = []
        self.attempts = 0
        self._assigned: tuple[str, str] | None = None

    @classmethod
    def of_row(cls, row: RunRow) -> Placement:
        """Return the placement of a run that continues.

        Args:
            row: Its row.
        """
        placement = cls()
        placement.worker, placement.kinds = row.worker, list(row.worker_kinds)
        placement.attempts = row.attempts or 0
        return placement

    def assign(self, worker: str, kind: str) -> None:
        """Record which worker gets the run.

        Args:
            worker: Name of the worker.
            kind: Its kind.
        """
        self._assigned = (worker, kind)

    def start(self, *, has_results: bool) -> None:
        """Record that the worker has started the run.

        Args:
            has_results: Whether earlier workers have computed a part of it that is kept.
        """
        if self._assigned is None:
            return
        self.worker, kind = self._assigned
        self.attempts += 1
        kept = self.kinds if has_results else []
        self.kinds = kept if kind in kept else [*kept, kind]

    def columns(self) -> dict[str, Any]:
        """Return the values of a row."""
        return {"worker": self.worker, "worker_kinds": self.kinds, "attempts": self.attempts}
