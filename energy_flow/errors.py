"""One tree of exceptions.

::

    EnergyFlowError
    ├── InvalidInput (ValueError)     what a caller sent is wrong; every fault at once
    │   ├── ConfigError               a field, an option or a combination of them
    │   ├── EmbeddingError            dimension, raggedness, NaN, infinity, range
    │   ├── CheckpointError           version, names, shapes, non-finite weights, damage
    │   └── DataError                 a file of training pairs
    ├── CapacityError                 a batch that can never fit in memory
    ├── QueueFull                     try again later
    ├── EngineUnavailable             starting, draining or stopped
    ├── DeadlineExceeded              the run's deadline passed
    ├── RunCancelled                  somebody cancelled the run
    ├── RunPaused                     somebody paused the run; it can go on where it stopped
    ├── NonFiniteError                the network produced NaN or infinity
    ├── TrainingFailed                too many steps in a row gave numbers that are not finite
    ├── DeviceMemoryError             out of memory, also after splitting the work
    └── LedgerError                   the counters do not balance: a bug
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class EnergyFlowError(Exception):
    """Anything this package raises on purpose."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with an input.

    Attributes:
        loc: path to the field or element, e.g. ``("spawn", "threshold")``.
        msg: what would be allowed, in a sentence.
        got: the offending value, or a mapping of values for a combination.
    """

    loc: tuple[str | int, ...]
    msg: str
    got: Any = None

    def __str__(self) -> str:
        where = ".".join(str(part) for part in self.loc)
        return f"{where}: {self.msg} (got {self.got!r})" if where else self.msg


class InvalidInput(EnergyFlowError, ValueError):
    """What a caller sent is wrong.

    Attributes:
        faults: every fault that was found, in a stable order; never empty.
    """

    def __init__(self, *faults: Fault) -> None:
        self.faults = faults
        super().__init__("; ".join(str(fault) for fault in faults))


class ConfigError(InvalidInput):
    """A config or an option, or a combination of them, is refused."""


class EmbeddingError(InvalidInput):
    """A batch of embeddings, sample keys or requested outputs is refused."""


class CheckpointError(InvalidInput):
    """A checkpoint is refused; nothing of it was loaded."""


class DataError(InvalidInput):
    """Pairs to train on are refused: no such tensors, shapes that do not fit, too few rows."""


class CapacityError(EnergyFlowError):
    """A batch can never fit in memory although one sample of it would."""

    def __init__(self, needed_bytes: int, available_bytes: int) -> None:
        self.needed_bytes = needed_bytes
        self.available_bytes = available_bytes
        super().__init__(
            f"the batch needs {needed_bytes:,} bytes and {available_bytes:,} are available; "
            "send fewer samples at once"
        )


class QueueFull(EnergyFlowError):
    """The queue holds as much work as it may; try again later."""

    def __init__(self, retry_after_seconds: float) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(f"the queue is full; try again in {retry_after_seconds:.0f} s")


class ModelNotLoaded(EnergyFlowError):
    """The engine does not have the networks of a run's model; load the model and try again."""

    def __init__(self, digest: str) -> None:
        self.digest = digest
        super().__init__(f"the model with the digest {digest} is not loaded")


class EngineUnavailable(EnergyFlowError):
    """The engine takes no work: it is starting, draining or stopped."""


class DeadlineExceeded(EnergyFlowError):
    """The run's deadline passed before it ended."""


class RunCancelled(EnergyFlowError):
    """The run was cancelled."""


class RunPaused(EnergyFlowError):
    """The run was paused: every chunk of samples that it started has ended, and no other will."""


class NonFiniteError(EnergyFlowError):
    """The network produced a displacement or an energy that is NaN or infinite.

    Attributes:
        sample: row of the run; flow: flow id in the sample; step: step of the sample.
    """

    def __init__(self, sample: int, flow: int, step: int) -> None:
        self.sample = sample
        self.flow = flow
        self.step = step
        super().__init__(
            f"sample {sample}, flow {flow}, step {step}: the network's energy or displacement "
            "is not finite"
        )


class TrainingFailed(EnergyFlowError):
    """A training cannot go on: too many of its steps in a row had to be skipped."""


class DeviceMemoryError(EnergyFlowError):
    """The device ran out of memory, also after the work was split once."""


class LedgerError(EnergyFlowError):
    """The counters of a run do not balance; this is a bug, please report it."""
