"""``energy-flow embed``: encode the texts of a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from energy_flow.choices import TextFormat
from energy_flow.choices.files import COMPRESSED
from energy_flow.client.text_encoder import DEFAULT_ENCODER, TextEncoder
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
from service.cli.input.regular_file import STDIN
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
        with activity(f"loading the encoder {encoder}") as shown:
            loaded = TextEncoder(encoder)
            loaded.load()
            rows, dim = write_embeddings(target, _encode(file, chosen, column, loaded, shown))
    except (EmbeddingError, EncoderUnavailable) as error:
        raise CommandFailed(str(error)) from None
    if as_json:
        print_json({"file": str(target), "rows": rows, "dim": dim, "encoder": encoder})
    else:
        print_text(f"{target}: {rows:,} × {dim}, encoded by {encoder}")


def _encode(
    file: Path, file_format: TextFormat, column: str | None, encoder: TextEncoder, shown: Activity
) -> Iterator[NDArray[np.float32]]:
    """Encode the texts of a file and show the progress.

    Raises:
        CommandFailed: the file is refused.
        EmbeddingError: the encoder returns something else than numbers.
        OSError: the file cannot be read.
    """
    with needing_extra("server", "embed"):
        from service.datasets.text_file import TextFile, TextFileError
    texts = TextFile(None if file == STDIN else file, file_format, column)
    count = reported = 0
    try:
        for rows in encoder.encode_parts(texts.read()):
            count += len(rows)
            # Each report is a line where stderr is no terminal.
            if texts.total is not None or count >= 2 * reported:
                shown.advance(texts.done, texts.total, f"encoded {count:,} texts")
                reported = count
            yield rows
    except TextFileError as error:
        raise CommandFailed(f"{'stdin' if file == STDIN else file}: {error}") from None


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
