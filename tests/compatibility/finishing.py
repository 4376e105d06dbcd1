"""What a server does first with a directory in which another one was killed."""

from __future__ import annotations

from typing import Any

import httpx

from tests.compatibility.make_experiments import finished
from tests.compatibility.make_runs import ended

KINDS_IN_BFLOAT16 = ("training",)
"""Kinds of unfinished experiments that compute in bfloat16, whose arithmetic has changed since."""


def finish(client: httpx.Client, made: dict[str, Any]) -> tuple[str, ...]:
    """Wait until a server has done what its predecessor left, but for what was paused.

    Only then everything stays as it is, and can be asked about in any order.

    Args:
        made: what there is in the directory, as it was noted when it was made.

    Returns:
        Names and ids of the experiments that cannot go on, because their arithmetic has changed,
        and the ids of their runs.
    """
    run = ended(client, made["runs"]["waiting"])
    assert run["state"] == "succeeded", run["error"]
    stopped: list[str] = []
    for kind, name in (*made["killed"].items(), *made["paused"].items()):
        if kind in KINDS_IN_BFLOAT16:
            experiment = finished(client, name)
            check_asks_for_restart(experiment)
            trials = client.get(f"/v1/experiments/{name}/trials?limit=1000").json()["items"]
            stopped += (name, experiment["experiment_id"], *(one["run_id"] for one in trials))
        elif name in made["killed"].values():
            experiment = finished(client, name)
            assert experiment["state"] == "succeeded", experiment["error"]
    return tuple(stopped)


def check_asks_for_restart(experiment: dict[str, Any]) -> None:
    """Check that an experiment is paused, and states why and what to do.

    Args:
        experiment: of a version with arithmetic 1.
    """
    assert experiment["state"] == "paused"
    detail = experiment["error"]["detail"]
    assert "it was started by an unknown version, arithmetic 1" in detail
    assert "computes with arithmetic 2; cancel it, and start it again" in detail
