"""``energy-flow embed``: encode the texts of a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from energy_flow.choices import TextFormat
from energy_flow.choices.files import COMPRESSED
from energy_flow.client.text_encoder import DEFAULT_ENCODER, TEXTS_AT_ONCE, TextEncoder
from energy_flow.errors import EmbeddingError, EncoderUnavailable
from service.cli.execute.embeddings_output import check_output, write_embeddings
from service.cli.input.failures import (
    EXIT_USAGE,
    CommandFailed,
    needing_extra,
    require_file,
    require_package,
)
from service.cli.input.file_format import choose_format
from service.cli.input.options import AsJson
from service.cli.input.regular_file import STDIN, describe_path
from service.cli.input.terminal import Activity, activity, print_json, print_text


def embed(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help=f"Texts: {', '.join(known.suffixes[0] for known in TextFormat)}, or - for stdin; "
            "a .txt file has one a line.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="File to write, .npy or .safetensors; by default FILE with the suffix .npy.",
        ),
    ] = None,
    encoder: Annotated[
        str,
        typer.Option(metavar="NAME", help="Name or folder of a model of sentence-transformers."),
    ] = DEFAULT_ENCODER,
    column: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Column or member with the texts, if several could be."),
    ] = None,
    file_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help=f"Format of FILE: {', '.join(TextFormat)}; by default that of its suffix.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    as_json: AsJson = False,
) -> None:
    """Encode texts and write their embeddings, a row for each text.

    The rows are in the order of the texts.
    """
    target = _choose_output(file, out)
    check_output(target, force=force)
    if file != STDIN:
        require_file(file)
    chosen = _choose_format(file, file_format)
    require_package("sentence_transformers", "text", "embed")
    if chosen is TextFormat.PARQUET:
        require_package("pyarrow", "sim", "reading .parquet files")
    try:
        with activity(f"reading {describe_path(file)}") as shown:
            texts = _Texts(file, chosen, column)
            texts.check()
            shown.advance(0, None, f"loading the encoder {encoder}")
            loaded = TextEncoder(encoder)
            loaded.load()
            rows, dim = write_embeddings(target, _encode(texts, loaded, shown))
    except (EmbeddingError, EncoderUnavailable) as error:
        raise CommandFailed(str(error)) from None
    if as_json:
        print_json({"file": str(target), "rows": rows, "dim": dim, "encoder": encoder})
    else:
        print_text(f"{target}: {rows:,} × {dim}, encoded by {encoder}")


class _Texts:
    """The texts of a file, which can be checked before an encoder is loaded.

    Args:
        file: the file, or stdin.
        file_format: its format.
        column: name of the column or member with the texts.

    Attributes:
        progress: how much has been read.
    """

    def __init__(self, file: Path, file_format: TextFormat, column: str | None) -> None:
        self._file = file
        self._format = file_format
        self._column = column
        self._first: list[str] = []
        self._rest: Iterator[str] = iter(())
        self._begin()

    def _begin(self) -> None:
        with needing_extra("server", "embed"):
            from service.datasets.text_file import TextFile
        file = None if self._file == STDIN else self._file
        self.progress = TextFile(file, self._format, self._column)
        self._rest = self.progress.read()

    def check(self) -> None:
        """Read all texts of a file; of stdin, those that are encoded first.

        Raises:
            CommandFailed: the file is refused.
            OSError: the file cannot be read.
        """
        with self._named_faults():
            if self._file == STDIN:
                self._first = list(islice(self._rest, TEXTS_AT_ONCE))
            else:
                for _ in self._rest:
                    pass
                self._begin()

    def read(self) -> Iterator[str]:
        """Yield the texts.

        Raises:
            CommandFailed: the file is refused.
            OSError: the file cannot be read.
        """
        with self._named_faults():
            yield from self._first
            yield from self._rest

    @contextmanager
    def _named_faults(self) -> Iterator[None]:
        from service.datasets.text_file import TextFileError

        try:
            yield
        except TextFileError as error:
            raise CommandFailed(f"{describe_path(self._file)}: {error}") from None


def _encode(texts: _Texts, encoder: TextEncoder, shown: Activity) -> Iterator[NDArray[np.float32]]:
    """Encode the texts of a file and show the progress.

    Raises:
        CommandFailed: the file is refused.
        EmbeddingError: the encoder returns something else than numbers.
        OSError: the file cannot be read.
    """
    count = reported = 0
    for rows in encoder.encode_parts(texts.read()):
        count += len(rows)
        total = texts.progress.total
        # Each report is a line where stderr is no terminal.
        if total is not None or count >= 2 * reported:
            shown.advance(texts.progress.done, total, f"encoded {count:,} texts")
            reported = count
        yield rows


def _choose_output(file: Path, out: Path | None) -> Path:
    if out is not None:
        return out
    if file == STDIN:
        raise CommandFailed("texts from stdin need --out, the file to write", EXIT_USAGE)
    name = file.name.removesuffix(COMPRESSED)
    return file.with_name(name).with_suffix(".npy")


def _choose_format(file: Path, name: str | None) -> TextFormat:
    if name is None and (file == STDIN or not file.suffix):
        return TextFormat.TEXT
    found = choose_format(TextFormat, name, file)
    assert found is not None
    return found
