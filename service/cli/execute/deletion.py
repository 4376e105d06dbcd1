"""Several runs or experiments of a server are deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.cli.input.failures import CommandFailed
from service.cli.input.terminal import print_text

if TYPE_CHECKING:
    from energy_flow.client import Deletion


def report(deletion: Deletion) -> None:
    """Print what was deleted.

    Args:
        deletion: what was deleted, and what was not.

    Raises:
        CommandFailed: something was not deleted.
    """
    for name in deletion.deleted:
        print_text(f"deleted {name}")
    if deletion.kept:
        reasons = "; ".join(f"{one.id}: {one.problem}" for one in deletion.kept)
        raise CommandFailed(f"{len(deletion.kept)} not deleted: {reasons}")
