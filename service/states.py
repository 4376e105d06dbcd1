"""Transitions between the states of experiments and trials, and the refusals of other changes."""

from __future__ import annotations

from energy_flow.choices import TRANSITIONS, RunState
from service.problems import Problem


def transition(current: str, target: RunState) -> RunState:
    """Return the state after a change.

    Args:
        current: State before the change.
        target: State after the change.

    Raises:
        ValueError: The table of transitions has no such change.
    """
    if target not in TRANSITIONS[RunState(current)]:
        raise ValueError(f"no transition from '{current}' to '{target}'")
    return target


def refusal(action: str, current: str, allowed: tuple[RunState, ...]) -> Problem:
    """Return the 409 for an action that is not allowed in a state.

    Args:
        action: What was asked for, such as ``pause an experiment``.
        current: The state.
        allowed: States in which the action is allowed.
    """
    following = [str(state) for state in TRANSITIONS[RunState(current)]]
    leads = f"leads to {', '.join(following)}" if following else "is final"
    return Problem(
        409,
        f"cannot {action} in state '{current}', which {leads}; this is allowed in "
        f"{', '.join(allowed)}",
        extra={
            "state": str(current),
            "allowed": [str(state) for state in allowed],
            "transitions": following,
        },
    )


def states_before(target: RunState) -> tuple[RunState, ...]:
    """Return the states from which a state can be reached in one change."""
    return tuple(state for state, following in TRANSITIONS.items() if target in following)
