"""What a server does first with a directory in which another one was killed."""

from __future__ import annotations

from typing import Any

import httpx

from tests.compatibility.make_experiments import finished
from tests.compatibility.make_runs import ended


def finish(client: httpx.Client, made: dict[str, Any]) -> None:
    """Wait until a server has done what its predecessor left, but for what was paused.

    Only then everything stays as it is, and can be asked about in any order.

    Args:
        made: what there is in the directory, as it was noted when it was made.
    """
    run = ended(client, made["runs"]["waiting"])
    assert run["state"] == "succeeded", run["error"]
    for name in made["killed"].values():
        experiment = finished(client, name)
        assert experiment["state"] == "succeeded", experiment["error"]
