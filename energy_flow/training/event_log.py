"""``EventLog``: the events of a training as JSON lines, and as curves for TensorBoard."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from energy_flow.choices import TrainingEvent

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter

EVENTS, TENSORBOARD = "events.jsonl", "tensorboard"
CURVE_GROUPS: Mapping[str, str] = {
    TrainingEvent.STEP.value: "train",
    TrainingEvent.VALIDATION.value: "held_out",
    TrainingEvent.END.value: "end",
}
"""Group of the curves of an event, by its kind; ``TrainingEvent.MEASURING`` is not kept."""


class EventLog:
    """The events of a training in a folder.

    Args:
        folder: has, or will have, ``events.jsonl`` and ``tensorboard/``.

    Attributes:
        path: file of the events.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.path = folder / EVENTS
        self._curves: SummaryWriter | None = None

    def exists(self) -> bool:
        """Return whether there are events."""
        return self.path.exists()

    def append(self, event: Mapping[str, Any]) -> None:
        """Add a line, and points to the curves.

        Args:
            event: as ``Trainer.advance`` returns it.

        Raises:
            OSError: the file cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")
        curves = self._writer(event["step"])
        for name, value in _numbers(event):
            curves.add_scalar(f"{CURVE_GROUPS[event['kind']]}/{name}", value, event["step"])
        if event["kind"] == TrainingEvent.END:
            self.close()

    def rewind(self, step: int) -> None:
        """Remove the events after a step, from which the training is resumed.

        Args:
            step: last step whose events are kept.
        """
        if not self.exists():
            return
        end = 0
        with self.path.open("rb") as lines:
            for line in lines:
                # A line that was cut off belongs to a later step.
                if not (line.endswith(b"\n") and _is_kept(json.loads(line), step)):
                    break
                end += len(line)
        # Events are in the order of steps, and this needs no room on a full disk.
        os.truncate(self.path, end)

    def curves(self, max_steps: int) -> dict[str, list[float | None]]:
        """Return the numbers of the events as columns.

        Args:
            max_steps: most optimiser steps, evenly spaced; there are validations besides.

        Returns:
            ``step``, ascending, and columns of the same length under the names that TensorBoard
            shows; ``None`` where an event has no such number.
        """
        events = list(self._read())
        steps = [event["step"] for event in events if event["kind"] == TrainingEvent.STEP]
        stride = max(1, -(-len(steps) // max_steps))
        # Counted from the newest, so that it is always there.
        kept = set(steps[::-stride])
        rows = [
            (
                event["step"],
                {f"{CURVE_GROUPS[event['kind']]}/{name}": v for name, v in _numbers(event)},
            )
            for event in events
            if event["kind"] != TrainingEvent.STEP or event["step"] in kept
        ]
        names = dict.fromkeys(name for _, numbers in rows for name in numbers)
        columns: dict[str, list[float | None]] = {"step": [float(step) for step, _ in rows]}
        return columns | {name: [numbers.get(name) for _, numbers in rows] for name in names}

    def flush(self) -> None:
        """Write the points of the curves that are still in memory."""
        if self._curves is not None:
            self._curves.flush()

    def close(self) -> None:
        """Write what is still in memory, and close the files."""
        if self._curves is not None:
            self._curves.close()
            self._curves = None

    def _read(self) -> Iterator[dict[str, Any]]:
        if self.exists():
            with self.path.open(encoding="utf-8") as lines:
                for line in lines:
                    # The last line may be incomplete.
                    if line.endswith("\n"):
                        yield json.loads(line)

    def _writer(self, step: int) -> SummaryWriter:
        if self._curves is None:
            from tensorboardX import SummaryWriter

            # ``purge_step`` hides points of later steps, from before a training was killed. The
            # suffix keeps a file of the same second from being overwritten.
            self._curves = SummaryWriter(
                str(self._folder / TENSORBOARD), purge_step=step, filename_suffix=f".{step:08d}"
            )
        return self._curves


def _is_kept(event: Mapping[str, Any], step: int) -> bool:
    return bool(event["step"] <= step and event["kind"] != TrainingEvent.END)


def _numbers(event: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    """Return the numbers of an event by name; names of groups are joined with a slash."""
    found: list[tuple[str, float]] = []
    for name, value in event.items():
        if isinstance(value, Mapping):
            found += _numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool) and name != "step":
            found.append((prefix + name, float(value)))
    return found
