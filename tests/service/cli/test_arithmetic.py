"""What commands and the client show of runs and experiments of another arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from energy_flow.choices import Precision, arithmetic_of
from energy_flow.client import Conflict, FlowClient
from tests.support.command_line import Caller
from tests.support.experiments import put_dataset, start_experiment, wait_until_ended
from tests.support.servers import queue, serving
from tests.support.servers import wait_until_ended as wait_until_run_ended
from tests.support.stored_rows import change_rows

OWN = arithmetic_of(Precision.FLOAT32)
"""Arithmetic of the tiny model in this version."""
OTHER = OWN + 1
INSTALLED = version("energy-flow")


@pytest.fixture(scope="module")
def run_id_and_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Return the id of a run of another version, and the address of a server that has it.

    The server also has the experiments ``unfinished`` and ``ended`` of the other version, and
    ``current`` of this one.
    """
    data_dir = tmp_path_factory.mktemp("upgraded")
    with serving(data_dir) as first:
        put_dataset(first.client, "some", 4)
        run_id = queue(first.client, 2)
        wait_until_run_ended(first.client, run_id)
        start_experiment(first.client, name="ended", dataset="some")
        wait_until_ended(first.client, "ended")
        with first.engine_held():
            start_experiment(first.client, name="unfinished", dataset="some")
            first.stop_while_held()
    for table in ("runs", "experiments"):
        change_rows(data_dir, table, version="9.8.7", arithmetic=OTHER)
    with serving(data_dir) as second:
        start_experiment(second.client, name="current", dataset="some")
        wait_until_ended(second.client, "current")
        yield run_id, str(second.client.base_url)


def test_commands_show_version_and_arithmetic(
    call: Caller, run_id_and_url: tuple[str, str], tmp_path: Path
) -> None:
    run_id, url = run_id_and_url
    at = ("--url", url)
    assert f"9.8.7, arithmetic {OTHER}" in call("runs", "show", run_id, *at).stdout
    assert f"9.8.7, arithmetic {OTHER}" in call("experiment", "show", "ended", *at).stdout
    assert f"{INSTALLED}, arithmetic {OWN}" in call("experiment", "show", "current", *at).stdout
    unfinished = " ".join(call("experiment", "show", "unfinished", *at).stdout.split())
    assert "start it again as a new experiment" in unfinished
    refused = call("experiment", "resume", "unfinished", *at)
    assert refused.returncode == 1
    assert f"version 9.8.7, arithmetic {OTHER}" in refused.stderr
    compared = call("experiment", "compare", "ended", "current", *at)
    assert f"the experiments differ in arithmetic: {OTHER} and {OWN}" in compared.stdout
    drawn = call("trace", run_id, "--picture", tmp_path / "paths.png", *at)
    assert drawn.returncode == 0, drawn.stderr
    assert f"computed by version 9.8.7, arithmetic {OTHER}; this server" in drawn.stderr


def test_the_client_has_version_arithmetic_and_notes(run_id_and_url: tuple[str, str]) -> None:
    run_id, url = run_id_and_url
    with FlowClient(url) as client:
        run = client.run(run_id)
        assert (run.version, run.arithmetic) == ("9.8.7", OTHER)
        experiment = client.experiments.get("current")
        assert (experiment.version, experiment.arithmetic) == (INSTALLED, OWN)
        other = client.experiments.trial("current", 0).run_id
        assert other is not None
        note = client.replay(run_id, 0).note
        assert note is not None
        assert f"arithmetic {OTHER}" in note
        assert client.replay(other, 0).note is None
        assert client.compare(run_id, run_id).note is None
        assert client.compare(run_id, other).note is not None
        with pytest.raises(Conflict, match="start it again as a new experiment"):
            client.experiments.resume("unfinished")
