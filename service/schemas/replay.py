"""Schemas of replays."""

from __future__ import annotations

from pydantic import Field

from energy_flow.choices import Reason
from service.schemas.bodies import AnswerBody, RequestBody
from service.schemas.trace import TraceRecord


class ReplayFields(RequestBody):
    """A request to simulate one sample of a run again."""

    sample: int = Field(ge=0, description="row in the run's request")
    flow: int | None = Field(
        None, ge=0, description="return only this flow, its ancestors and its descendants"
    )


class ReplayDifference(AnswerBody):
    """The first record in which a replay differs from the stored trace."""

    seq: int
    stored: TraceRecord | None
    replayed: TraceRecord | None


class ReplayFlows(AnswerBody):
    """The flows of a replay, as columns sorted by flow."""

    flow: list[int]
    parent: list[int] = Field(description="-1 for an initial flow")
    born_step: list[int] = Field(description="-1 for an initial flow")
    end_step: list[int]
    reason: list[Reason | None]
    plane: list[int] = Field(description="code of the exit plane; -1 if it was not tallied")
    generation: list[int] = Field(description="0 for an initial flow")


class ReplayPath(AnswerBody):
    """The positions of the flows of a replay, as columns sorted by step and flow.

    The first row of a flow is its start: step -1, or the step in which it was spawned.
    """

    step: list[int]
    flow: list[int]
    x: list[float]
    y: list[float]
    z: list[float]
    energy: list[float]
    length: list[float]
    age: list[int]


class ReplayAnswer(AnswerBody):
    """A sample of a run, simulated again."""

    run_id: str
    sample: int
    flow: int | None = Field(description="the flow whose lineage was requested; null for all")
    agrees: bool = Field(description="the replay equals the stored trace and counts")
    difference: ReplayDifference | None
    note: str | None = Field(
        description="instead of a difference: the arithmetic of the run and that of the server, or "
        "the kinds of their workers, if they are not the same"
    )
    flows: ReplayFlows
    path: ReplayPath
