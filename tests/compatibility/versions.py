"""The data directories that were made by earlier versions, each in a folder of its own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.compatibility import answers
from tests.compatibility.archive import unpack
from tests.compatibility.machine import describe_machine

HERE = Path(__file__).resolve().parent
ARCHIVE = "data.tar.xz"
DEFAULT_MODEL = "default.safetensors"
"""The checkpoint of the default model, beside the data directory."""

NOTHING = r"(?!)"
"""Matches no path of :class:`tests.compatibility.difference.Comparison`."""

SENSITIVE = r".*\.digest|.*gradient_norms.*"
"""What has another value on another kind of machine: the digests of weights that are trained there,
and the norms of gradients, whose terms nearly cancel each other."""


@dataclass(frozen=True)
class Version:
    """What a version left.

    Attributes:
        folder: holds the archive of its data directory and what it answered about it.
    """

    folder: Path

    @classmethod
    def all(cls) -> list[Version]:
        """All versions, the oldest first."""
        found = [cls(archive.parent) for archive in sorted(HERE.glob(f"*/{ARCHIVE}"))]
        # Otherwise pytest would leave all tests out.
        assert found, f"no {ARCHIVE} in a folder of {HERE}"
        return found

    def unpack(self, folder: Path) -> None:
        """Put its data directory, and what lies beside it, into a folder."""
        unpack(self.folder / ARCHIVE, folder)

    def read(self, name: str) -> Any:
        """A JSON file that it left."""
        return json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))

    def write(self, name: str, data: Any) -> None:
        """Leave a JSON file."""
        (self.folder / f"{name}.json").write_text(_by_line(data), encoding="utf-8")

    def exchanges(self, name: str) -> list[answers.Exchange]:
        """What it was asked and what it answered."""
        return answers.read(self.folder / f"{name}.jsonl")

    def flags(self) -> list[str]:
        """Flags for a server that has the same default model.

        An untrained model has other weights on another kind of machine, where runs and experiments
        of this one could not go on. There, the server is given the weights.
        """
        made = self.read("made")
        flags: list[str] = made["flags"]
        return [*flags, *(made["sets"] if self.is_same_machine else ("--model", DEFAULT_MODEL))]

    @cached_property
    def is_same_machine(self) -> bool:
        """Whether numbers that are computed here have the same bits as those that it computed."""
        return bool(self.read("made")["machine"] == describe_machine())


def _by_line(data: Any) -> str:
    """JSON text with a line for each member, so that Git shows which one has changed."""
    if isinstance(data, dict):
        lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in data.items()]
        return "{\n" + ",\n".join(lines) + "\n}\n"
    return "[\n" + ",\n".join(json.dumps(value) for value in data) + "\n]\n"
