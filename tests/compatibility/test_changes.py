"""Unfinished work of an earlier version is completed as by that version, and can be removed."""

from __future__ import annotations

import re
from typing import Any

from tests.compatibility.difference import Comparison
from tests.compatibility.finishing import KINDS_IN_BFLOAT16, check_asks_for_restart
from tests.compatibility.kept import results_of
from tests.compatibility.make_experiments import finished, look
from tests.compatibility.opened import Opened
from tests.compatibility.versions import NOTHING, SENSITIVE


def test_experiments_that_were_cut_off_are_finished(opened: Opened) -> None:
    for kind, name in opened.made["killed"].items():
        if kind in KINDS_IN_BFLOAT16:
            check_asks_for_restart(look(opened.client, name))
            continue
        assert look(opened.client, name)["state"] == "succeeded"
        _check_as_if_undisturbed(opened, kind, name)


def test_experiments_that_were_paused_wait_and_go_on(changed: Opened) -> None:
    client = changed.client
    for kind, name in changed.made["paused"].items():
        experiment = look(client, name)
        assert experiment["state"] == "paused"
        assert 0 < experiment["trials"]["succeeded"] < experiment["trials"]["total"]
        resumed = client.post(f"/v1/experiments/{name}/resume")
        if kind in KINDS_IN_BFLOAT16:
            assert resumed.status_code == 409
            check_asks_for_restart(look(client, name))
            continue
        assert resumed.status_code == 200
        ended = finished(client, name)
        assert ended["state"] == "succeeded", ended
        _check_as_if_undisturbed(changed, kind, name)


def test_what_is_there_can_be_removed(changed: Opened) -> None:
    client = changed.client
    (trial,) = client.get("/v1/experiments/random/trials?limit=1").json()["items"]
    removed = (
        f"/v1/runs/{changed.made['runs']['lossless']}",
        f"/v1/runs/{changed.made['runs']['half']}",
        "/v1/experiments/random",
        "/v1/models/half",
        "/v1/datasets/again",
    )
    for path in removed:
        assert client.delete(path).status_code == 204, path
    for path in (*removed, trial["run_url"]):
        assert client.get(path).status_code == 404, path
    assert client.get("/v1/datasets/trials?format=safetensors").status_code == 200


def _check_as_if_undisturbed(opened: Opened, kind: str, name: str) -> None:
    undisturbed: dict[str, Any] = opened.version.read("undisturbed")[kind]
    is_exact = opened.version.is_same_machine
    comparison = Comparison(is_exact, re.compile(NOTHING if is_exact else SENSITIVE))
    found = list(comparison.differences(undisturbed, results_of(opened.client, name)))
    assert not found, "\n".join(found)
