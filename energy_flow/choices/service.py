"""Names of a server: runs, experiments, and their states and events."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from energy_flow.choices.choice import Choice


class RunKind(Choice):
    """How a run came to be."""

    SIMULATE = "simulate"
    RUN = "run"
    TRIAL = "trial"
    TRAINING = "training"


class ExperimentKind(Choice):
    """What the trials of an experiment do."""

    SIMULATE = "simulate"
    TRAIN = "train"


class RunState(Choice):
    """State of a run, a trial or an experiment."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


TRANSITIONS: Final[Mapping[RunState, tuple[RunState, ...]]] = MappingProxyType(
    {
        RunState.QUEUED: (RunState.RUNNING, RunState.PAUSED, RunState.CANCELLED),
        RunState.RUNNING: (
            RunState.PAUSED,
            RunState.SUCCEEDED,
            RunState.FAILED,
            RunState.CANCELLED,
        ),
        RunState.PAUSED: (
            RunState.RUNNING,
            RunState.SUCCEEDED,
            RunState.FAILED,
            RunState.CANCELLED,
        ),
        RunState.SUCCEEDED: (),
        RunState.FAILED: (),
        RunState.CANCELLED: (),
    }
)
"""To which states an experiment or a trial may change.

A run outside an experiment is never paused, and may also fail before it runs.
"""

ENDED_STATES: Final = tuple(state for state, following in TRANSITIONS.items() if not following)
"""States that are left by nothing but a retry of an experiment."""

UNFINISHED_STATES: Final = tuple(state for state, following in TRANSITIONS.items() if following)
"""All other states."""


class ListOrder(Choice):
    """What a list of runs or experiments is sorted by; with a dash before it, it descends."""

    CREATED = "created"
    NAME = "name"
    STATE = "state"
    DURATION = "duration"


LIST_SORTS: Final = tuple(f"{dash}{order}" for order in ListOrder for dash in ("", "-"))
"""Every order of a list."""


class EventName(Choice):
    """Name of an event that a server sends about a run or an experiment."""

    STATE = "state"
    PROGRESS = "progress"
    STEP = "step"
    TRIAL = "trial"
    GAP = "gap"


class EngineState(Choice):
    """State of the thread that owns the device."""

    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"


class ServerState(Choice):
    """State of a server; one that is standby waits until no other one is active."""

    STARTING = "starting"
    STANDBY = "standby"
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"


class LogFormat(Choice):
    """How a server writes log lines."""

    TEXT = "text"
    JSON = "json"


class KeyRole(Choice):
    """What an API key of a server allows; each role allows what those before it allow.

    Attributes:
        rank: number of the role; a higher one allows more.
    """

    rank: int

    READ = "read", 1
    RUN = "run", 2
    ADMIN = "admin", 3

    def allows(self, needed: KeyRole) -> bool:
        """Return whether a key with this role may be used where another one is needed.

        Args:
            needed: the role that is needed.
        """
        return self.rank >= needed.rank
