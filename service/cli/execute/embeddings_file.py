"""Reading of embeddings from ``.npy``, ``.safetensors`` and ``.jsonl`` files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from energy_flow.choices import unknown_name
from service.cli.input.failures import EXIT_USAGE, CommandFailed, require_file

# The first of these tensors is read where ``--tensor`` is not given.
USUAL_TENSORS = ("embeddings", "inputs")
# The first of these members of a JSON object is its embedding.
USUAL_MEMBERS = ("embedding", "input", "vector")


@dataclass(frozen=True, slots=True)
class RowRange:
    """Consecutive rows.

    Attributes:
        start: first row, counted from 0.
        stop: row after the last one; ``None`` stands for the end.
    """

    start: int = 0
    stop: int | None = None

    @classmethod
    def parse(cls, text: str | None) -> RowRange:
        """Return the rows that ``A:B``, ``A:``, ``:B`` or ``A`` stands for.

        Raises:
            CommandFailed: the text has another form.
        """
        if text is None:
            return cls()
        start, colon, stop = (part.strip() for part in text.partition(":"))
        if (start and not start.isdecimal()) or (stop and not stop.isdecimal()):
            start = stop = ""
            colon = "no"
        if colon == ":":
            return cls(int(start or 0), int(stop) if stop else None)
        if not start:
            raise CommandFailed(
                f"--rows must be A:B with rows counted from 0, not {text!r}", EXIT_USAGE
            )
        return cls(int(start), int(start) + 1)

    def within(self, rows: int, what: object) -> slice:
        """Return the rows as a slice.

        Args:
            rows: how many rows there are.
            what: what has them, for messages.

        Raises:
            CommandFailed: some of the rows do not exist.
        """
        stop = rows if self.stop is None else self.stop
        if rows == 0:
            raise CommandFailed(f"{what} has no rows; at least one is needed")
        if not 0 <= self.start < stop <= rows:
            wanted = f"{self.start}:{'' if self.stop is None else self.stop}"
            raise CommandFailed(f"{what} has the rows 0:{rows}; --rows {wanted} is not within them")
        return slice(self.start, stop)


@dataclass(frozen=True, slots=True)
class FileRows:
    """Rows of a file.

    Attributes:
        embeddings: [rows, dimension].
        first: index in the file of the first row.
    """

    embeddings: NDArray[Any]
    first: int

    @property
    def sample_keys(self) -> list[int]:
        """The index in the file for each row, so that any part gives the same results."""
        return list(range(self.first, self.first + len(self.embeddings)))


def read_rows(path: Path, rows: RowRange, tensor: str | None = None) -> FileRows:
    """Read rows of a file of embeddings.

    Args:
        path: the file; its suffix decides the format.
        rows: which rows.
        tensor: which tensor of a ``.safetensors`` file.

    Raises:
        CommandFailed: the file does not exist, has another format, or lacks some of the rows.
    """
    require_file(path)
    match path.suffix.lower():
        case ".npy":
            embeddings = _read_npy(path, rows)
        case ".safetensors":
            embeddings = _read_safetensors(path, rows, tensor)
        case ".jsonl" | ".ndjson":
            embeddings = _read_jsonl(path, rows)
        case _:
            raise CommandFailed(
                f"{path}: embeddings must be in a .npy, .safetensors or .jsonl file"
            )
    if embeddings.dtype.kind not in "fiu":
        raise CommandFailed(f"{path} must hold real numbers, not {embeddings.dtype}")
    return FileRows(embeddings, rows.start)


def _read_npy(path: Path, rows: RowRange) -> NDArray[Any]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise CommandFailed(f"{path} is not a .npy file of numbers: {error}") from None
    if not isinstance(array, np.ndarray) or array.ndim != 2:
        raise CommandFailed(f"{path} must hold one array [rows, dimension], not {_describe(array)}")
    return np.array(array[rows.within(len(array), path)])


def _describe(array: object) -> str:
    return f"the shape {list(array.shape)}" if isinstance(array, np.ndarray) else "several"


def _read_safetensors(path: Path, rows: RowRange, tensor: str | None) -> NDArray[Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            names = sorted(file.keys())
            name = _choose_tensor(path, names, tensor)
            view = file.get_slice(name)
            shape = view.get_shape()
            if len(shape) != 2:
                raise CommandFailed(
                    f"{path}: tensor {name} must be [rows, dimension], not {list(shape)}"
                )
            array: NDArray[Any] = view[rows.within(shape[0], path)]
            return array
    except (SafetensorError, OSError) as error:
        raise CommandFailed(f"{path} is not a .safetensors file: {error}") from None
    except (TypeError, ValueError, AttributeError) as error:
        # NumPy lacks some types of the format, such as bfloat16.
        raise CommandFailed(
            f"{path}: the tensor cannot be read as numbers: {error}; store it as float32"
        ) from None


def _choose_tensor(path: Path, names: list[str], wanted: str | None) -> str:
    if wanted is not None:
        if wanted not in names:
            raise CommandFailed(f"{path} has no tensor {wanted!r}; {unknown_name(wanted, names)}")
        return wanted
    if len(names) == 1:
        return names[0]
    for name in USUAL_TENSORS:
        if name in names:
            return name
    raise CommandFailed(
        f"{path} has the tensors {', '.join(names) or 'none'}; choose one with --tensor"
    )


def _read_jsonl(path: Path, rows: RowRange) -> NDArray[Any]:
    selected: list[list[float]] = []
    count = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                # Lines outside the range are counted and not parsed.
                if count >= rows.start and (rows.stop is None or count < rows.stop):
                    selected.append(_parse_row(path, number, line, selected))
                count += 1
    except OSError as error:
        raise CommandFailed(f"{path} cannot be read: {error.strerror}") from None
    rows.within(count, path)
    return np.array(selected, dtype=np.float64)


def _parse_row(path: Path, number: int, line: bytes, before: list[list[float]]) -> list[float]:
    try:
        data = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise CommandFailed(f"{path}, line {number} is not JSON: {error}") from None
    if isinstance(data, dict):
        data = next((data[name] for name in USUAL_MEMBERS if name in data), None)
        if data is None:
            members = ", ".join(USUAL_MEMBERS)
            raise CommandFailed(f"{path}, line {number}: the object needs one of {members}")
    if not isinstance(data, list) or not all(type(value) in (int, float) for value in data):
        raise CommandFailed(f"{path}, line {number}: an embedding must be a list of numbers")
    if before and len(data) != len(before[0]):
        raise CommandFailed(
            f"{path}, line {number} has {len(data)} numbers and the rows before have "
            f"{len(before[0])}; all need the same dimension"
        )
    return data
