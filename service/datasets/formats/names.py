"""Names of the embeddings and the targets in files; other names are ignored."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from energy_flow.errors import Fault

Part = Literal["inputs", "targets"]

NAMES: dict[Part, tuple[str, ...]] = {
    "inputs": ("embeddings", "embedding", "inputs", "input"),
    "targets": ("targets", "target"),
}


def choose_names(present: Iterable[str]) -> tuple[dict[Part, str], list[Fault]]:
    """Choose the names that hold the inputs and the targets.

    Args:
        present: All names in a file.

    Returns:
        A name for each part that is there, and the faults.
    """
    present = list(present)
    chosen: dict[Part, str] = {}
    faults: list[Fault] = []
    for part, names in NAMES.items():
        found = [name for name in present if name in names]
        if found:
            chosen[part] = found[0]
        if len(found) > 1:
            message = f"is there several times, as {', '.join(found)}; keep one of them"
            faults.append(Fault((found[0],), message, found))
        elif not found and part == "inputs":
            message = f"is required; its name can be {', '.join(names)}"
            faults.append(Fault((names[0],), message, sorted(present)[:10]))
    return chosen, faults
