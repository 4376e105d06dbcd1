"""Reading of files of pairs: embeddings and their targets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from energy_flow.choices import DatasetFormat
from energy_flow.training.data import Pairs
from service.cli.execute.embeddings_file import EmbeddingsFile, RowRange
from service.cli.input.failures import CommandFailed
from service.cli.input.regular_file import STDIN, describe_path
from service.requests.columns import NAMES


@dataclass(frozen=True, slots=True)
class PairsOptions:
    """How files of pairs are read.

    Attributes:
        column: column of the embeddings; by default one of the usual names.
        target_column: column of the targets; by default one of the usual names.
        format_name: a :class:`DatasetFormat`, of files whose suffix belongs to none.
        is_quiet: whether it is not printed what was read.
    """

    column: str | None = None
    target_column: str | None = None
    format_name: str | None = None
    is_quiet: bool = False


def read_pairs(path: Path, rows: RowRange, options: PairsOptions) -> Pairs:
    """Return pairs of a file, with the index of each row in it, and print what was read.

    Args:
        path: the file, a pipe, or ``-`` for stdin. A file or a pipe without a known suffix is read
            as ``.safetensors``, as ever, unless the options name a format.
        rows: which rows.
        options: how it is read.

    Raises:
        CommandFailed: the file does not exist, has another format, lacks targets or some of the
            rows.
    """
    format_name = options.format_name
    if DatasetFormat.of_file(path.name) is not None:
        format_name = None
    elif format_name is None and path != STDIN:
        format_name = DatasetFormat.SAFETENSORS
    file = EmbeddingsFile(path, options.column, format_name, options.target_column)
    read = file.read(rows, with_targets=True, is_quiet=options.is_quiet)
    if read.targets is None:
        raise CommandFailed(
            f"{describe_path(path)} has no targets; it needs numbers called "
            f"{' or '.join(NAMES['targets'])}, or --target-column NAME"
        )
    pairs = Pairs.of(read.embeddings, read.targets)
    return replace(pairs, rows=np.arange(read.first, read.first + len(pairs)))
