"""Ids of runs in commands: printed whole, and given by their beginning."""

from __future__ import annotations

import os
import pty
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from energy_flow.client import FlowClient
from tests.support.command_line import Caller, assert_refused
from tests.support.live_server import LiveServer, energy_flow
from tests.support.servers import queue, serving, wait_until_ended
from tests.support.waits import LIMIT_SECONDS


def test_a_narrow_terminal_shows_whole_ids(
    server: LiveServer, client: FlowClient, embeddings: NDArray[np.float32]
) -> None:
    run_id = client.simulate(embeddings).run_id
    assert run_id is not None
    screen, theirs = pty.openpty()
    try:
        subprocess.run(
            energy_flow("runs", "list", "--limit", "1", "--url", server.url),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            timeout=LIMIT_SECONDS,
            check=True,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "40"},
        )
        shown = os.read(screen, 65536).decode()
    finally:
        os.close(theirs)
        os.close(screen)
    assert run_id in shown
    assert "succeeded" in shown
    assert "…" not in shown


def test_the_beginning_of_an_id_is_enough(
    call: Caller,
    server: LiveServer,
    client: FlowClient,
    embeddings: NDArray[np.float32],
    tmp_path: Path,
) -> None:
    at = ("--url", server.url)
    run_id = client.simulate(embeddings, options={"trace.capacity": 100}).run_id
    assert run_id is not None
    prefix = run_id[:6]
    for command in (("runs", "show", prefix), ("runs", "wait", prefix)):
        assert run_id in call(*command, *at).stdout
    assert call("trace", prefix, "--out", tmp_path / "t.csv", *at).returncode == 0
    assert call("runs", "delete", prefix, *at).returncode == 0
    assert_refused(call("runs", "show", run_id, *at), "404")


def test_an_ambiguous_beginning_names_the_ids(call: Caller, tmp_path: Path) -> None:
    with serving(tmp_path) as running:
        first, second = (queue(running.client, 1) for _ in range(2))
        for run_id in (first, second):
            wait_until_ended(running.client, run_id)
        alike = first[:8] + second[8:]
        with closing(sqlite3.connect(tmp_path / "index.sqlite3")) as index, index:
            index.execute("UPDATE runs SET run_id = ? WHERE run_id = ?", (alike, second))
        done = call("runs", "show", first[:6], "--url", str(running.client.base_url))
        assert_refused(done, first, alike)
        assert done.returncode == 2
