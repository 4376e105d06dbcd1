"""``Pairs``: embeddings and their targets, and their order; ``TrainingRows``: their split.

Shape legend: R rows, E input width, O target width, B rows of a batch.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from energy_flow.array_likes import as_matrix, one_row_is
from energy_flow.choices import DatasetFormat, MapperKind
from energy_flow.config.flow_config import FlowConfig
from energy_flow.config.messages import describe_width
from energy_flow.errors import DataError, EmbeddingError, Fault
from energy_flow.runtime.safetensors_header import SafetensorsError
from energy_flow.simulation.inputs import MAX_FLOAT32, check_embeddings
from energy_flow.training.config import TrainConfig
from energy_flow.training.retrieval import total_variation

TENSORS = ("inputs", "targets")
MIN_SPREAD = 1e-16
"""Smallest spread of targets for ``losses.r2``: its gradients are about as large as 1 / spread, and
the sum of their squares must remain in the range of float32."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Input embeddings and their targets.

    Attributes:
        inputs: float32 [R, E].
        targets: float32 [R, O].
        rows: index of each row in its file, int64 [R]; the key of its exploration noise.
    """

    inputs: NDArray[np.float32]
    targets: NDArray[np.float32]
    rows: NDArray[np.int64]

    @classmethod
    def of(cls, inputs: object, targets: object) -> Pairs:
        """Return pairs from arrays, tensors, data frames, columns of lists or nested lists.

        Args:
            inputs: [R, E].
            targets: [R, O].

        Raises:
            DataError: they are not matrices of finite numbers, or have different numbers of rows.
        """
        faults: list[Fault] = []
        checked = {}
        for name, values in zip(TENSORS, (inputs, targets), strict=True):
            try:
                array = as_matrix(values)
                if array.ndim != 2:
                    message = f"must have two dimensions, [rows, width], and has {array.ndim}"
                    if array.ndim == 1 and name == "inputs":
                        message = f"{message}; {one_row_is(len(array))}"
                    faults.append(Fault((name,), message, list(array.shape)))
                    continue
                checked[name] = check_embeddings(array, array.shape[1])
            except EmbeddingError as error:
                faults += [Fault((name, *one.loc[1:]), one.msg, one.got) for one in error.faults]
        if not faults and len(checked["inputs"]) != len(checked["targets"]):
            rows = {name: len(array) for name, array in checked.items()}
            faults.append(Fault(TENSORS[1:], "must have as many rows as the inputs", rows))
        if faults:
            raise DataError(*faults)
        return cls(checked["inputs"], checked["targets"], np.arange(len(checked["inputs"])))

    @classmethod
    def read(cls, source: str | Path | IO[bytes], rows: tuple[int, int] | None = None) -> Pairs:
        """Return the pairs of a ``.safetensors`` file with the tensors ``inputs`` and ``targets``.

        Args:
            source: path of the file, or the file, open for reading.
            rows: first row, and row after the last; all rows if none.

        Raises:
            DataError: the file is not such a file, or has fewer rows.
            OSError: the file cannot be read.
        """
        if not isinstance(source, str | Path):
            return cls._read(source, "the file", rows)
        if not Path(source).is_file():
            raise FileNotFoundError(f"there is no file {source}")
        with Path(source).open("rb") as file:
            return cls._read(file, str(source), rows)

    @classmethod
    def _read(cls, opened: IO[bytes], path: str, rows: tuple[int, int] | None) -> Pairs:
        # Here, so that pairs of other files are read without torch.
        from energy_flow.runtime.safetensors_file import SafetensorsFile

        try:
            file = SafetensorsFile(opened)
            names = file.names
            tensors = {name: file.read(name).numpy() for name in TENSORS if name in names}
        except (SafetensorsError, TypeError) as error:
            message = f"{path} cannot be read as .safetensors: {error}"
            if DatasetFormat.of_file(path) not in (None, DatasetFormat.SAFETENSORS):
                message = (
                    f"{path} is no .safetensors file; read it with pandas or NumPy and give its "
                    "columns to Pairs.of, or train with energy-flow train, which reads it"
                )
            raise DataError(Fault((), message)) from None
        missing = [name for name in TENSORS if name not in tensors]
        if missing:
            message = f"{path} has no tensor {' or '.join(missing)}"
            raise DataError(Fault((), message, sorted(names)))
        try:
            pairs = cls.of(tensors["inputs"], tensors["targets"])
        except DataError as error:
            raise DataError(
                *(Fault(fault.loc, f"{path}: {fault.msg}", fault.got) for fault in error.faults)
            ) from None
        if rows is None:
            return pairs
        if rows[1] > len(pairs):
            message = f"must end at {len(pairs)} or before: {path} has {len(pairs)} rows"
            raise DataError(Fault(("rows",), message, list(rows)))
        return pairs.take(np.arange(*rows))

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def width(self) -> int:
        """Number of components of an input."""
        return int(self.inputs.shape[1])

    @property
    def target_width(self) -> int:
        """Number of components of a target."""
        return int(self.targets.shape[1])

    @cached_property
    def target_ids(self) -> NDArray[np.int64]:
        """Numbers that only rows with equal targets share, int64 [R]."""
        return np.unique(self.targets, axis=0, return_inverse=True)[1].reshape(-1)

    @cached_property
    def target_spread(self) -> float:
        """Mean squared distance of a target from the mean target; 0 where all are the same."""
        return total_variation(self.targets) / len(self)

    def take(self, index: NDArray[np.int64]) -> Pairs:
        """Return some of the rows.

        Args:
            index: places of the rows.
        """
        return Pairs(self.inputs[index], self.targets[index], self.rows[index])

    def split(self, share: float, seed: int) -> tuple[Pairs, Pairs]:
        """Return rows to train on and rows that are held out.

        Rows with the same target stay together, so that no held-out target is trained on.

        Args:
            share: about which share of the rows is held out, in [0, 1).
            seed: seed of the draw.
        """
        ids = self.target_ids
        order = np.random.Generator(np.random.Philox(seed)).permutation(ids.max() + 1)
        # Whole groups are held out until their rows make up the share.
        sizes = np.bincount(ids)[order].cumsum()
        chosen = order[: np.searchsorted(sizes, round(share * len(self)), side="right")]
        held_out = np.isin(ids, chosen)
        return self.take(np.flatnonzero(~held_out)), self.take(np.flatnonzero(held_out))

    def digest(self) -> str:
        """Return the SHA-256 of rows, inputs and targets, in hexadecimal."""
        digest = hashlib.sha256()
        for array in (self.rows, self.inputs, self.targets):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def batch_rows(rows: int, size: int, seed: int, step: int) -> NDArray[np.int64]:
    """Return the rows that an optimiser step trains on, int64 [B].

    Every epoch has its own order; rows that do not fill a batch are left out of it.

    Args:
        rows: number of rows to train on.
        size: rows of a batch.
        seed: seed of the training.
        step: number of the step.
    """
    epoch, place = divmod(step, rows // size)
    key = np.array([seed, epoch], dtype=np.uint64)
    order = np.random.Generator(np.random.Philox(key=key)).permutation(rows)
    return order[place * size : (place + 1) * size]


def noise_seed(seed: int, step: int) -> int:
    """Return the seed of the exploration noise of an optimiser step, in [0, 2⁶³).

    Args:
        seed: seed of the training.
        step: number of the step.
    """
    word = np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0]
    return int(word) >> 1


MIN_HELD_OUT = 2
SQUARED = ("cosine", "mse", "r2", "info_nce")
"""Loss terms that square the numbers of targets."""


@dataclass(frozen=True, eq=False, slots=True)
class TrainingRows:
    """The rows of a training.

    Attributes:
        train: rows to train on.
        held_out: rows of validations; none of their targets is trained on.
        val: rows that are measured once, at the end.
        digest: digest of the rows before they were split.
    """

    train: Pairs
    held_out: Pairs
    val: Pairs | None
    digest: str

    @classmethod
    def split(
        cls, config: TrainConfig, pairs: Pairs, val: Pairs | None, model: FlowConfig
    ) -> TrainingRows:
        """Return the rows of a training.

        Args:
            config: config of the training.
            pairs: rows to train on and to hold out.
            val: rows to measure at the end.
            model: config of the model.

        Raises:
            DataError: rows do not suit the model or the config.
        """
        train, held_out = pairs.split(config.data.held_out, config.data.held_out_seed)
        faults = _find_width_faults("train", pairs, model)
        faults += [] if val is None else _find_width_faults("val", val, model)
        if len(train) < config.batch.rows:
            message = (
                f"leaves {len(train)} rows to train on, fewer than batch.rows; lower batch.rows or "
                "give more rows"
            )
            faults.append(Fault(("data", "train"), message, config.batch.rows))
        else:
            faults += _find_target_faults(config, train)
        if config.data.held_out > 0 and len(held_out) < MIN_HELD_OUT:
            message = (
                f"holds out {len(held_out)} of {len(pairs)} rows, and a validation needs "
                f"{MIN_HELD_OUT}; raise it or set it to 0"
            )
            faults.append(Fault(("data", "held_out"), message, config.data.held_out))
        if faults:
            raise DataError(*faults)
        return cls(train, held_out, val, pairs.digest())

    def __len__(self) -> int:
        """Return the number of all rows."""
        return len(self.train) + len(self.held_out) + (0 if self.val is None else len(self.val))


def _find_width_faults(name: str, pairs: Pairs, model: FlowConfig) -> list[Fault]:
    """Return which widths of some rows are not those of a model.

    Args:
        name: field of ``data`` that names the rows.
        pairs: the rows.
        model: config of the model.
    """
    has_identity = model.mapper is MapperKind.IDENTITY
    why = "; with mapper identity it follows from the lattice" if has_identity else ""
    return [
        Fault(
            ("data", name),
            f"{part} must have {describe_width(wanted)}, as the model has{why}",
            given,
        )
        for part, given, wanted in (
            ("inputs", pairs.width, model.embedding_dim),
            ("targets", pairs.target_width, model.output_width),
        )
        if given != wanted
    ]


def _find_target_faults(config: TrainConfig, train: Pairs) -> list[Fault]:
    """Return why loss terms cannot be computed in float32 for the targets of some rows.

    Args:
        config: config of the training.
        train: rows to train on, at least a batch.
    """
    terms = [f"losses.{name}" for name in config.losses.terms if name in SQUARED]
    if not terms:
        return []
    named, spread = " and ".join(terms), train.target_spread
    # With predictions near 0, mse and r2 are means of these squares, and their sum comes first.
    # Where one overflows, cosines are 0 without a gradient.
    squares = np.einsum("ro,ro->r", train.targets, train.targets, dtype=np.float64)
    largest = float(squares.max())
    if largest * config.batch.rows > MAX_FLOAT32:
        message = (
            f"the targets are too large for {named}: their spread, the mean squared distance from "
            f"the mean target, is {spread:.2e}, the largest squared length is {largest:.2e}, and "
            f"batch.rows = {config.batch.rows} of them must add up to at most {MAX_FLOAT32:.2e}, "
            "the range of float32; scale the targets down"
        )
        return [Fault(("data", "train"), message, largest)]
    if config.losses.r2 is None or spread >= MIN_SPREAD:
        return []
    if spread == 0:
        message = (
            "all rows to train on have the same target, so losses.r2 is not defined; use "
            "losses.mse, or other rows"
        )
        return [Fault(("data", "train"), message, len(train))]
    message = (
        "the targets are too near to each other for losses.r2, which divides by their spread, the "
        f"mean squared distance from the mean target: it is {spread:.2e} and must be at least "
        f"{MIN_SPREAD:.0e}, so that gradients remain in the range of float32; scale the targets up"
    )
    return [Fault(("data", "train"), message, spread)]
