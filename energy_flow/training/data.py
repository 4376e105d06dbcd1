"""Pairs of embeddings: read, split, put in an order that depends on the seed alone.

Shape legend: R rows, E embedding width.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from energy_flow.errors import DataError, EmbeddingError, Fault
from energy_flow.simulation.inputs import checked_embeddings

TENSORS = ("inputs", "targets")


@dataclass(frozen=True, eq=False)
class Pairs:
    """What is put in and what should come out.

    Attributes:
        inputs, targets: float32 [R, E].
        rows: index of each in the file, int64 [R]; the key of its exploration noise.
    """

    inputs: NDArray[np.float32]
    targets: NDArray[np.float32]
    rows: NDArray[np.int64]

    @classmethod
    def of(cls, inputs: object, targets: object) -> Pairs:
        """Pairs from arrays, tensors or nested lists [R, E].

        Raises:
            DataError: they are no matrices of finite numbers, or of different shapes.
        """
        faults: list[Fault] = []
        checked = {}
        for name, values in zip(TENSORS, (inputs, targets), strict=True):
            width = getattr(values, "shape", (0, 0))[-1] or len(values[0])  # type: ignore[index]
            try:
                checked[name] = checked_embeddings(values, int(width))
            except EmbeddingError as error:
                faults += [Fault((name, *one.loc[1:]), one.msg, one.got) for one in error.faults]
        if not faults and checked["inputs"].shape != checked["targets"].shape:
            shapes = {name: list(array.shape) for name, array in checked.items()}
            faults.append(Fault(TENSORS[1:], "must have the shape of the inputs", shapes))
        if faults:
            raise DataError(*faults)
        return cls(checked["inputs"], checked["targets"], np.arange(len(checked["inputs"])))

    @classmethod
    def read(cls, path: str | Path, rows: tuple[int, int] | None = None) -> Pairs:
        """Pairs out of a ``.safetensors`` file with the tensors ``inputs`` and ``targets``.

        Args:
            rows: from, to before; by default all.

        Raises:
            DataError: it is no such file, or lacks these rows.
            OSError: it cannot be read.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"no such file: {path}")
        try:
            tensors = load_file(path)
        except (SafetensorError, TypeError, KeyError) as error:
            raise DataError(Fault((), f"{path} cannot be read as .safetensors: {error}")) from None
        missing = [name for name in TENSORS if name not in tensors]
        if missing:
            message = f"{path} has no tensor {' or '.join(missing)}"
            raise DataError(Fault((), message, sorted(tensors)))
        try:
            pairs = cls.of(tensors["inputs"], tensors["targets"])
        except DataError as error:
            raise DataError(
                *(Fault(fault.loc, f"{path}: {fault.msg}", fault.got) for fault in error.faults)
            ) from None
        if rows is None:
            return pairs
        if rows[1] > len(pairs):
            raise DataError(Fault(("rows",), f"{path} has the rows 0 to {len(pairs)}", list(rows)))
        return pairs.take(np.arange(*rows))

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def width(self) -> int:
        """E."""
        return int(self.inputs.shape[1])

    @cached_property
    def target_ids(self) -> NDArray[np.int64]:
        """A number for each row that only rows with the very same target share, int64 [R]."""
        return np.unique(self.targets, axis=0, return_inverse=True)[1].reshape(-1)

    def take(self, index: NDArray[np.int64]) -> Pairs:
        """Some rows."""
        return Pairs(self.inputs[index], self.targets[index], self.rows[index])

    def split(self, share: float, seed: int) -> tuple[Pairs, Pairs]:
        """Rows to train on, and about ``share`` of them held out; drawn with ``seed``.

        Rows with the same target stay together, so that none is met in training.
        """
        ids = self.target_ids
        order = np.random.Generator(np.random.Philox(seed)).permutation(ids.max() + 1)
        # Whole groups are held out until their rows make up the share.
        sizes = np.bincount(ids)[order].cumsum()
        chosen = order[: np.searchsorted(sizes, round(share * len(self)), side="right")]
        held_out = np.isin(ids, chosen)
        return self.take(np.flatnonzero(~held_out)), self.take(np.flatnonzero(held_out))

    def digest(self) -> str:
        """SHA-256 of rows, inputs and targets, in hexadecimal."""
        digest = hashlib.sha256()
        for array in (self.rows, self.inputs, self.targets):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def batch_rows(rows: int, size: int, seed: int, step: int) -> NDArray[np.int64]:
    """Which rows an optimiser step trains on: a function of seed and step alone.

    Every epoch has its own order; rows that do not fill a batch are left out of it.
    """
    epoch, place = divmod(step, rows // size)
    key = np.array([seed, epoch], dtype=np.uint64)
    order = np.random.Generator(np.random.Philox(key=key)).permutation(rows)
    return order[place * size : (place + 1) * size]


def noise_seed(seed: int, step: int) -> int:
    """The seed of a step's exploration noise, in [0, 2⁶³)."""
    word = np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0]
    return int(word) >> 1
