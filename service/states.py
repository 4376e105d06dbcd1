"""The states of experiments and trials, and the one table of how they may change."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from service.problems import Problem


class State(StrEnum):
    """Where an experiment or a trial is."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


TRANSITIONS: Mapping[State, tuple[State, ...]] = MappingProxyType(
    {
        State.QUEUED: (State.RUNNING, State.PAUSED, State.CANCELLED),
        State.RUNNING: (State.PAUSED, State.SUCCEEDED, State.FAILED, State.CANCELLED),
        State.PAUSED: (State.RUNNING, State.CANCELLED),
        State.SUCCEEDED: (),
        State.FAILED: (),
        State.CANCELLED: (),
    }
)
"""To which states each may change, the same for experiments and trials."""

ENDED = tuple(state for state, following in TRANSITIONS.items() if not following)
UNFINISHED = tuple(state for state, following in TRANSITIONS.items() if following)


def changed(current: str, target: State) -> State:
    """The state after a change.

    Raises:
        ValueError: the table has no such change.
    """
    if target not in TRANSITIONS[State(current)]:
        raise ValueError(f"no transition from {current} to {target}")
    return target


def refusal(action: str, current: str, allowed: tuple[State, ...]) -> Problem:
    """409 for an action that the table does not allow now.

    Args:
        action: such as ``pause an experiment``.
        allowed: the states in which it is.
    """
    following = [str(state) for state in TRANSITIONS[State(current)]]
    leads = f"leads to {', '.join(following)}" if following else "is final"
    return Problem(
        409,
        f"cannot {action} in state '{current}', which {leads}; it can be done in "
        f"{', '.join(allowed)}",
        extra={
            "state": str(current),
            "allowed": [str(state) for state in allowed],
            "transitions": following,
        },
    )


def states_before(target: State) -> tuple[State, ...]:
    """The states from which the table leads to one."""
    return tuple(state for state, following in TRANSITIONS.items() if target in following)
