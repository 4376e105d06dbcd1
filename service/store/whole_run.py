"""The files of a run that ended before anything of it was written, all in one go.

Most runs that a caller waits for are one chunk that is there within moments. Such a run needs no
files that grow, and none that get their names late: until it has a row its folder counts for
nothing, and a crash leaves a leftover that the next start removes.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from energy_flow.trace.formats import HasColumns, write_parquet
from service.store.atomic_files import npy_header
from service.store.run_folder import CHUNKS, INPUTS, SAMPLE_KEYS, TRACE, RunFolder

Buffers = tuple[bytes | memoryview, ...]


@dataclass(frozen=True, slots=True)
class WholeRun:
    """What the folder of a run holds besides its documents.

    Attributes:
        inputs: the embeddings, unless they are a dataset's.
        sample_keys: those that the caller gave, if any.
        line: JSON data about the one chunk.
    """

    inputs: NDArray[np.float32] | None
    sample_keys: NDArray[np.int64] | None
    outputs: Mapping[str, NDArray[Any]]
    trace: HasColumns
    line: Mapping[str, Any]

    def write(self, folder: RunFolder, documents: Mapping[str, Any], *, safe: bool = True) -> int:
        """Makes the folder as :meth:`RunFolder.seal` leaves it.

        Args:
            documents: kept as ``NAME.json``.
            safe: wait until all of it is safely on the disk.

        Returns:
            bytes that the folder takes.

        Raises:
            OSError: it could not be written; nothing is left of it.
        """
        path, size = folder.path, 0
        try:
            path.mkdir()
            for name, buffers in self._files(documents):
                with (path / name).open("xb") as file:
                    for buffer in buffers:
                        size += file.write(buffer)
            if safe:
                folder.make_safe()
        except BaseException:
            folder.remove()
            raise
        return size

    def _files(self, documents: Mapping[str, Any]) -> Iterator[tuple[str, Buffers]]:
        if self.inputs is not None:
            yield INPUTS, _npy(self.inputs)
        if self.sample_keys is not None:
            yield SAMPLE_KEYS, _npy(self.sample_keys)
        for name, array in self.outputs.items():
            yield f"{name}.npy", _npy(array)
        if len(self.trace.columns["seq"]):
            written = io.BytesIO()
            write_parquet(self.trace, written)
            yield TRACE, (written.getbuffer(),)
        yield CHUNKS, (_json(self.line), b"\n")
        for name, document in documents.items():
            yield f"{name}.json", (_json(document),)


def _npy(array: NDArray[Any]) -> Buffers:
    return npy_header(array.dtype, array.shape), np.ascontiguousarray(array).data


def _json(document: Any) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
