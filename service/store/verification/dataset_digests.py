"""The files of datasets, with the digests of their pieces.

The pieces have digests from the upload on. Those of a dataset of an earlier version are made when
its rows are first read, from a file whose whole digest is right.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from pathlib import Path

from sqlalchemy import select, update

from service.problems import is_storage_fault
from service.store.database import Database
from service.store.tables import DatasetContentRow
from service.store.verification.piece_digests import PieceDigests, digest_whole
from service.store.verification.verified_file import VerifiedFile

log = logging.getLogger(__name__)

ADVICE = "upload the same dataset again, which restores the file"

MAX_HELD = 16
"""Datasets whose digests are kept in memory; those of one gibibyte have half a mebibyte."""


class DatasetDigests:
    """The files of all datasets by their digest. Methods block; any thread may call them.

    Args:
        database: The index.
        folder: Folder of the files.
    """

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._folder = folder
        self._lock = threading.Lock()
        self._held: OrderedDict[str, VerifiedFile] = OrderedDict()

    def path(self, digest: str) -> Path:
        """Return the path of the file with a digest."""
        return self._folder / f"{digest}.safetensors"

    def file(self, digest: str) -> VerifiedFile:
        """Return the file with a digest.

        Args:
            digest: SHA-256 of the whole file, in hexadecimal.

        Raises:
            DamagedFile: Its pieces have no digests yet, and it is damaged.
        """
        with self._lock:
            file = self._held.get(digest)
            if file is None:
                file = self._with(digest, self.find(digest) or self._make(digest))
                self._held[digest] = file
                while len(self._held) > MAX_HELD:
                    self._held.popitem(last=False)
            self._held.move_to_end(digest)
            return file

    def check_whole(self, digest: str) -> PieceDigests:
        """Compare a file with its digest.

        Args:
            digest: SHA-256 of the whole file, in hexadecimal.

        Returns:
            The digests of its pieces.

        Raises:
            DamagedFile: It is damaged.
        """
        file = self._with(digest, None)
        with file.explaining(), file.path.open("rb", buffering=0) as opened:
            found, pieces = digest_whole(opened)
        if found != digest:
            raise file.damage(f"its SHA-256 is {found}")
        return pieces

    def _with(self, digest: str, pieces: PieceDigests | None) -> VerifiedFile:
        return VerifiedFile(self.path(digest), pieces, ADVICE, depth=2)

    def find(self, digest: str) -> PieceDigests | None:
        """Return the digests of the pieces of a file as the index has them, if it does.

        Args:
            digest: SHA-256 of the whole file, in hexadecimal.
        """
        query = select(DatasetContentRow.bytes, DatasetContentRow.pieces).where(
            DatasetContentRow.digest == digest
        )
        with self._database.session() as session:
            found = session.execute(query).one_or_none()
        if found is None or found.pieces is None:
            return None
        pieces = PieceDigests(found.bytes, found.pieces)
        return pieces if pieces.is_complete else None

    def _make(self, digest: str) -> PieceDigests:
        pieces = self.check_whole(digest)
        statement = update(DatasetContentRow).where(DatasetContentRow.digest == digest)
        try:
            with self._database.session() as session:
                session.execute(statement.values(pieces=pieces.digests))
        except Exception as error:
            if not is_storage_fault(error):
                raise
            log.warning("the digests of dataset %s are not stored: %s", digest, error)
        return pieces
