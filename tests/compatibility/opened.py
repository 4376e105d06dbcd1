"""A server of today on the data directory that an earlier version left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.compatibility.program import Server, serving
from tests.compatibility.versions import Version

RUNS_IN_BFLOAT16 = ("bfloat16", "half", "other")
"""Names of runs in bfloat16."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A version's data directory, unpacked, and a server that has it open.

    Attributes:
        made: what there is, as the version noted it.
        folder: holds the data directory.
        stopped: names and ids of experiments that cannot go on, and ids of their runs; what lists
            state of them, and of what they would have made, is not compared.
    """

    version: Version
    made: dict[str, Any]
    folder: Path
    server: Server
    stopped: tuple[str, ...] = ()

    @property
    def computed_in_bfloat16(self) -> tuple[str, ...]:
        """Ids of runs in bfloat16."""
        return tuple(self.made["runs"][name] for name in RUNS_IN_BFLOAT16)

    @property
    def client(self) -> httpx.Client:
        """Of the server."""
        return self.server.client


@contextmanager
def opening(version: Version, folder: Path) -> Iterator[Opened]:
    """Unpack a version's data directory into a folder, and open it until the block ends."""
    version.unpack(folder)
    with serving(folder, version.flags()) as server:
        yield Opened(version, version.read("made"), folder, server)
