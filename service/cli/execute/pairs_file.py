"""Reading of files of pairs: embeddings and their targets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from energy_flow.choices import DatasetFormat
from energy_flow.training.data import Pairs
from service.cli.execute.embeddings_file import EmbeddingsFile, RowRange
from service.cli.input.failures import CommandFailed
from service.requests.columns import NAMES


def read_pairs(path: Path, rows: RowRange, column: str | None) -> Pairs:
    """Return pairs of a file, with the index of each row in it.

    Args:
        path: the file. One without a known suffix is read as ``.safetensors``, as ever.
        rows: which rows.
        column: column of the embeddings; by default one of the usual names.

    Raises:
        CommandFailed: the file does not exist, has another format, lacks targets or some of the
            rows.
    """
    is_known = DatasetFormat.of_file(path.name) is not None
    file = EmbeddingsFile(path, column, None if is_known else DatasetFormat.SAFETENSORS)
    read = file.read(rows, with_targets=True)
    if read.targets is None:
        raise CommandFailed(
            f"{path} has no targets; it needs numbers called {' or '.join(NAMES['targets'])}"
        )
    pairs = Pairs.of(read.embeddings, read.targets)
    return replace(pairs, rows=np.arange(read.first, read.first + len(pairs)))
