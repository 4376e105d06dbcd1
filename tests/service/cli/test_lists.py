"""Lists of commands: what is left out is said, and they fit a terminal."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from collections.abc import Iterator

import numpy as np
import pytest

from energy_flow.client import FlowClient
from service.cli.execute.outcome import describe_time
from tests.support.command_line import Caller
from tests.support.live_server import LiveServer, energy_flow
from tests.support.waits import LIMIT_SECONDS

ANSI = re.compile(r"\x1b\[[0-9;]*m")
"""Codes of colours."""

NAMES = ("cut-a", "cut-b", "cut-c")


@pytest.fixture
def datasets(client: FlowClient) -> Iterator[None]:
    for number, name in enumerate(NAMES):
        client.datasets.put(name, np.full((2, 8), number, np.float32))
    yield
    for name in NAMES:
        client.datasets.delete(name)


def show(*words: str, columns: int) -> str:
    """Return what a terminal of a width shows."""
    screen, theirs = pty.openpty()
    try:
        subprocess.run(
            energy_flow(*words),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            timeout=LIMIT_SECONDS,
            check=True,
            env={**os.environ, "TERM": "xterm", "COLUMNS": str(columns)},
        )
        return ANSI.sub("", os.read(screen, 65536).decode())
    finally:
        os.close(theirs)
        os.close(screen)


@pytest.mark.usefixtures("datasets")
def test_a_list_that_is_cut_says_so(call: Caller, server: LiveServer) -> None:
    for flags in ((), ("--json",)):
        cut = call("dataset", "list", "--limit", "2", "--url", server.url, *flags)
        assert "only the first 2 are listed; --limit N lists more" in cut.stderr
        assert "cut-c" in cut.stdout
        assert "cut-a" not in cut.stdout
        whole = call("dataset", "list", "--limit", "1000", "--url", server.url, *flags)
        assert whole.stderr == ""


def test_lists_of_runs_and_experiments_say_so(
    call: Caller, server: LiveServer, client: FlowClient
) -> None:
    run_ids = [client.simulate(np.ones((1, 8), np.float32)).run_id for _ in range(2)]
    assert "--limit N" in call("runs", "list", "--limit", "1", "--url", server.url).stderr
    for run_id in run_ids:
        assert run_id is not None
        client.delete_run(run_id)


def test_a_list_of_models_fits_the_terminal(call: Caller, server: LiveServer) -> None:
    whole = call("model", "list", "--url", server.url).stdout
    description = "Predicts the embedding of a word from that of its definition"
    assert description in whole
    shown = show("model", "list", "--url", server.url, columns=90)
    table, _, note = shown.partition("note: ")
    assert max(map(len, table.splitlines())) <= 90
    assert "dictionary" in table
    assert "description" in note
    cut = show("model", "list", "--url", server.url, columns=130)
    assert max(map(len, cut.splitlines())) <= 130
    assert "Predicts the emb" in cut
    assert "…" in cut


def test_preparation_is_told_from_the_time_of_a_run() -> None:
    timing = {"compute_ms": 50_000.0, "preparation_ms": 49_000.0, "flow_steps_per_second": 3200.0}
    assert describe_time(timing, {"flow_steps": 3200}) == (
        "50.00 s, of which 49.00 s preparation that later runs do not need, for 3,200 flow-steps, "
        "3,200 a second"
    )
    del timing["preparation_ms"]
    assert "preparation" not in describe_time(timing, {"flow_steps": 3200})
