"""The files of a run while its samples are still coming, and how they become a finished folder."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from service.json_encoding import to_json
from service.problems import DamagedFile
from service.store.atomic_files import UNFINISHED, remove_path, write_bytes
from service.store.chunk_log import ChunkLog, DamagedLine
from service.store.descriptions.run import DESCRIPTION
from service.store.npy_file import GrowingArray, RowLayout
from service.store.run_folder import CHUNKS, RunFolder
from service.store.run_summary import RunSummary
from service.store.trace_parts import TRACE, TraceParts, name_part
from service.store.verification.verified_file import VerifiedFile

log = logging.getLogger(__name__)

ADVICE = (
    "restore it from a backup; a run that is ended, or whose experiment is cancelled, keeps all "
    "other files"
)


class UnfinishedRun:
    """The chunks in the folder of one run, which is written by one thread at a time.

    Args:
        folder: The folder.
        layouts: What one sample has in each output, by the name of the output.
    """

    def __init__(self, folder: RunFolder, layouts: Mapping[str, RowLayout]) -> None:
        self._folder = folder
        self._path = folder.path
        self._arrays = [
            GrowingArray(folder.output_path(name), layout) for name, layout in layouts.items()
        ]
        self._chunks = ChunkLog(folder.path / CHUNKS)
        self._trace = TraceParts(folder.path)

    def read_intact_chunks(self) -> list[dict[str, Any]]:
        """Return the lines of the chunks whose outputs are complete.

        After a crash this can be less than there are lines. It ends before a line that is damaged,
        so that a run can go on from there.

        Raises:
            DamagedFile: The file of the lines cannot be read.
            UnusablePath: The system does not let the process read it.
        """
        intact: list[dict[str, Any]] = []
        rows_written = [array.count_rows() for array in self._arrays if array.exists]
        rows = 0
        try:
            with self._file(CHUNKS).explaining():
                for line in self._chunks.read():
                    rows += len(line["samples"])
                    if any(written is not None and written < rows for written in rows_written):
                        break
                    intact.append(line)
        except DamagedLine as error:
            log.warning(
                "%s of run %s: %s; the samples from it on are dropped",
                CHUNKS,
                self._path.name,
                error,
                extra={"run_id": self._path.name},
            )
        return intact

    def rewind(self) -> list[dict[str, Any]]:
        """Drop everything behind the last intact chunk, so that the run can continue.

        Returns:
            The lines of the intact chunks.

        Raises:
            DamagedFile: The file of the lines cannot be read.
            OSError: A file could not be changed.
        """
        intact = self.read_intact_chunks()
        rows = sum(len(line["samples"]) for line in intact)
        for array in self._arrays:
            if array.is_growing:
                array.truncate(rows)
        self._trace.truncate(rows)
        self._chunks.truncate(len(intact))
        return intact

    def find_damages(self, chunks: Sequence[Mapping[str, Any]]) -> Iterator[DamagedFile]:
        """Yield what is wrong with files without which a run cannot continue from its chunks.

        Args:
            chunks: Lines of the intact chunks.
        """
        if not chunks:
            return
        for array in self._arrays:
            damage = array.find_damage()
            if damage is not None:
                yield self._file(f"{array.name}{UNFINISHED}").damage(damage)
        if (self._path / TRACE).exists():
            return
        for line in chunks:
            part = name_part(line["first_sample"])
            if any(line["trace"]["recorded"].values()) and not (self._path / part).exists():
                yield self._file(part).damage("it does not exist")

    def seal(
        self, summary: RunSummary, description: bytes | None = None, *, durable: bool = True
    ) -> list[str]:
        """Complete the folder with the samples of some chunks, which are the first ones.

        Args:
            summary: Summary of the chunks.
            description: Description of the run, if it has a row.
            durable: Whether to wait until all files are on the disk.

        Returns:
            Names of files that are damaged or lost. The others are complete.

        Raises:
            UnusablePath: The folder was removed.
            OSError: The folder could not be written.
        """
        damaged: list[str] = []
        with self._folder.noticing_loss():
            for array in self._arrays:
                if not array.exists:
                    continue
                damage = array.finish(summary.samples_done, durable=durable)
                if damage is not None:
                    log.warning("%s of run %s: %s", array.name, self._path.name, damage)
                    damaged.append(array.name)
            damaged += self._trace.join(summary.records, durable=durable)
            for name, document in summary.documents.items():
                write_bytes(self._path / f"{name}.json", to_json(document), durable=False)
            if description is not None:
                write_bytes(self._path / DESCRIPTION, description, durable=False)
            for leftover in list(self._path.rglob(f"*{UNFINISHED}")):
                remove_path(leftover)
            if durable:
                self._folder.fsync()
        return damaged

    def _file(self, name: str) -> VerifiedFile:
        return VerifiedFile(self._path / name, None, ADVICE, depth=3 + name.count("/"))
