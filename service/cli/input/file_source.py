"""What was read of a file of embeddings, in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from service.cli.input.terminal import count_things

if TYPE_CHECKING:
    from service.requests.columns import FileSource, PartSource

_MAX_NAME: Final = 60


def describe_rows(
    file: str, shape: tuple[int, int], targets_dim: int | None, source: FileSource | None
) -> str:
    """Return what was read of a file, for stderr; with a warning if a column is unlike the others.

    Args:
        file: the file, as it was given.
        shape: number of rows, and numbers in a row.
        targets_dim: numbers in a row of the targets; ``None`` where none were read.
        source: where they came from; ``None`` where that is not known, or there is no choice.
    """
    rows, width = shape
    text = f"read {file}: {count_things(rows, 'row')} of {count_things(width, 'number')}"
    if source is not None:
        text += f" from {_describe_part(source.kind, source.parts['inputs'])}"
    if targets_dim is not None:
        text += f", with targets of {count_things(targets_dim, 'number')}"
        if source is not None and "targets" in source.parts:
            text += f" from {_describe_part(source.kind, source.parts['targets'])}"
    if source is not None and source.left_out_count:
        names = ", ".join(map(_quote, source.left_out))
        more = source.left_out_count - len(source.left_out)
        text += f"; not read: {names}" + (f" and {more:,} more" if more else "")
    unlike = () if source is None else source.parts["inputs"].unlike
    if unlike:
        names = ", ".join(map(_quote, unlike))
        text += (
            f"\nwarning: {names}: {'are' if len(unlike) > 1 else 'is'} not named as the other "
            "columns of the embedding; if this is no part of it, write a file without it"
        )
    return text


def _describe_part(kind: str, part: PartSource) -> str:
    if part.count == 1:
        return f"{kind} {_quote(part.first)}"
    return f"{part.count:,} {kind}s {_quote(part.first)} to {_quote(part.last)}"


def _quote(name: str) -> str:
    """Return a name in quotes, without characters that a terminal would obey."""
    return repr(name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 1]}…")
