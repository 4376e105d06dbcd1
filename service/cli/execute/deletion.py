"""What commands delete on a server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from service.cli.input.failures import CommandFailed
from service.cli.input.terminal import confirm_deletion, print_text

if TYPE_CHECKING:
    from energy_flow.client import Deletion


def delete_named(
    kind: str,
    names: Sequence[str],
    find: Callable[[str], object],
    delete: Callable[[str], object],
    url: str,
    is_confirmed: bool,
) -> None:
    """Delete what has names, after a question on a terminal, if all of it exists.

    Args:
        kind: what it is, such as ``dataset``.
        names: its names.
        find: raises if there is none of a name.
        delete: deletes one.
        url: address of the server.
        is_confirmed: whether ``--yes`` is given.

    Raises:
        CommandFailed: the answer is no.
        FlowClientError: one does not exist, or cannot be deleted.
    """
    chosen = list(dict.fromkeys(names))
    for name in chosen:
        find(name)
    plural = "" if len(chosen) == 1 else "s"
    confirm_deletion(f"{kind}{plural} {', '.join(chosen)} on {url}", is_confirmed=is_confirmed)
    for name in chosen:
        delete(name)
        print_text(f"deleted {name}")


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
