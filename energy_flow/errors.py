"""The tree of exceptions.

::

    EnergyFlowError
    ├── InvalidInput (ValueError)     an input is refused; lists every fault
    │   ├── ConfigError               a field, an option or a combination of them
    │   ├── EmbeddingError            dimension, raggedness, NaN, infinity, range
    │   ├── CheckpointError           version, names, shapes, non-finite weights, damage
    │   │   └── DamagedTrainingError  a file from which a training is resumed
    │   └── DataError                 a file of training pairs
    ├── EncoderUnavailable            a text encoder that cannot be loaded
    ├── CapacityError                 a batch or a model that can never fit in memory
    ├── QueueFull                     too much work is waiting; retry later
    │   └── MemoryInUse               other work leaves no room in memory; retry later
    ├── ModelNotLoaded                the networks of a model are not in the engine
    ├── EngineUnavailable             the engine is starting, draining, stopped or failed
    ├── EngineFailed                  the engine could not continue the run; not a fault of the run
    ├── DeadlineExceeded              the run's deadline passed
    ├── RunCancelled                  the run was cancelled
    ├── RunPaused                     the run was paused and can be resumed
    ├── NonFiniteError                the network produced NaN or infinity
    ├── TrainingFailed                too many steps in a row, or all, were skipped
    ├── DeviceMemoryError             out of memory, even after splitting the work
    └── LedgerError                   the counters do not balance: a bug
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


class EnergyFlowError(Exception):
    """Base of all exceptions that this package defines; they can be pickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Their arguments are not those of the message, with which they would be made again.
        return _restore, (type(self), self.args, self.__dict__)


def _restore(
    kind: type[EnergyFlowError], args: tuple[Any, ...], attributes: dict[str, Any]
) -> EnergyFlowError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with an input.

    Attributes:
        loc: path to the field or element, such as ``("spawn", "threshold")``.
        msg: what would be allowed.
        got: the value, or for a combination the values by field.
    """

    loc: tuple[str | int, ...]
    msg: str
    got: Any = None

    def __str__(self) -> str:
        where = ".".join(str(part) for part in self.loc)
        return f"{where}: {self.msg} (got {self.got!r})" if where else self.msg


class InvalidInput(EnergyFlowError, ValueError):
    """An input is refused.

    Args:
        *faults: every fault that was found, at least one.

    Attributes:
        faults: the same, in a stable order.
    """

    def __init__(self, *faults: Fault) -> None:
        self.faults = faults
        super().__init__("; ".join(str(fault) for fault in faults))


class ConfigError(InvalidInput):
    """A config or an option, or a combination of them, is refused."""


class EmbeddingError(InvalidInput):
    """A batch of embeddings, texts, sample keys or requested outputs is refused."""


class CheckpointError(InvalidInput):
    """A checkpoint is refused; nothing of it was loaded."""


class DamagedTrainingError(CheckpointError):
    """A file from which a training is resumed, or its best model, is damaged or lost.

    Args:
        path: the file.
        why: what is wrong with it.
        advice: what to do.

    Attributes:
        path: the file.
        why: what is wrong with it.
        advice: what to do.
    """

    def __init__(self, path: Path, why: str, advice: str) -> None:
        self.path = path
        self.why = why
        self.advice = advice
        super().__init__(Fault((), f"{path} is damaged: {why}; {advice}"))


class DataError(InvalidInput):
    """Training pairs are refused: a tensor is missing, shapes do not match, or rows are too few."""


class EncoderUnavailable(EnergyFlowError):
    """A text encoder cannot be loaded; the message states why and what to do."""


class CapacityError(EnergyFlowError):
    """A batch can never fit in memory, although one of its samples can; or a model cannot.

    Args:
        needed_bytes: predicted bytes.
        available_bytes: bytes that may be used.
        what: what needs them.
        advice: what to do instead.
    """

    def __init__(
        self,
        needed_bytes: int,
        available_bytes: int,
        what: str = "the batch",
        advice: str = "send fewer samples at once",
    ) -> None:
        self.needed_bytes = needed_bytes
        self.available_bytes = available_bytes
        super().__init__(
            f"{what} needs {needed_bytes:,} bytes, but only {available_bytes:,} are available; "
            f"{advice}"
        )


class QueueFull(EnergyFlowError):
    """Too much work is waiting.

    Args:
        retry_after_seconds: when there is probably room.
        message: what is full; by default the queue.
    """

    def __init__(self, retry_after_seconds: float, message: str = "the queue is full") -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(f"{message}; retry in {retry_after_seconds:.0f} s")


class MemoryInUse(QueueFull):
    """Other work leaves no room in memory now; there is enough without it.

    Args:
        needed_bytes: predicted bytes.
        available_bytes: bytes that are free now.
        what: what needs them.
    """

    def __init__(self, needed_bytes: int, available_bytes: int, what: str) -> None:
        self.needed_bytes = needed_bytes
        self.available_bytes = available_bytes
        super().__init__(
            1.0,
            f"{what} needs {needed_bytes:,} bytes, but other work leaves {available_bytes:,}",
        )


class ModelNotLoaded(EnergyFlowError):
    """The networks of a run's model are not in the engine.

    Args:
        digest: of the model's weights.
    """

    def __init__(self, digest: str) -> None:
        self.digest = digest
        super().__init__(f"the model with the digest {digest} is not loaded; load it and retry")


class EngineUnavailable(EnergyFlowError):
    """The engine accepts no work, because it is starting, draining, stopped or failed."""


class EngineFailed(EnergyFlowError):
    """The engine could not continue a run, because the device was lost or the engine has a bug."""


class DeadlineExceeded(EnergyFlowError):
    """The run's deadline passed before it ended."""


class RunCancelled(EnergyFlowError):
    """The run was cancelled."""


class RunPaused(EnergyFlowError):
    """The run was paused: the chunks of samples that it started have ended, no others start."""


class NonFiniteError(EnergyFlowError):
    """The networks produced a displacement that is NaN or infinite, or an energy likewise.

    An energy beyond ``rules.termination.MAX_ENERGY`` counts as one that is infinite.

    Args:
        sample: row of the run.
        flow: id of the flow in the sample.
        step: of the sample.
    """

    def __init__(self, sample: int, flow: int, step: int) -> None:
        self.sample = sample
        self.flow = flow
        self.step = step
        super().__init__(
            f"sample {sample}, flow {flow}, step {step}: the networks gave an energy or a "
            "displacement that is not finite or far too large; check the model's weights and the "
            "embeddings"
        )


class TrainingFailed(EnergyFlowError):
    """A training ended because too many steps in a row, or all of them, were skipped."""


class DeviceMemoryError(EnergyFlowError):
    """The device ran out of memory, even after the work was split."""


class LedgerError(EnergyFlowError):
    """The counters of a run do not balance; this is a bug, please report it."""
