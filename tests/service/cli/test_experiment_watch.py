"""Watching an experiment while connections break, the server stops, or the user interrupts."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from energy_flow.client import Experiment, ExperimentEvent, FlowClient, FlowClientError
from tests.support.cutting_proxy import cutting_proxy
from tests.support.live_server import (
    LiveServer,
    energy_flow,
    free_port,
    interrupts_enabled,
    live_server,
    put_dataset,
)
from tests.support.waits import LIMIT_SECONDS, until

pytestmark = pytest.mark.slow

LONG = {"grid": {"noise_std": [place / 1000 for place in range(100)]}}
"""More trials than end before a test reacts."""


@dataclass(frozen=True, slots=True)
class Watching:
    """``energy-flow experiment watch`` in a process of its own."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    def wait_for_line(self, words: str, times: int = 1) -> None:
        """Wait until the words are on stderr a number of times."""
        until(lambda: self.err.read_text().count(words) >= times)

    def end(self) -> int:
        """Wait for the end; return the exit code."""
        return self.process.wait(timeout=LIMIT_SECONDS)


@contextmanager
def watching(folder: Path, name: str, url: str, *flags: str) -> Iterator[Watching]:
    out, err = folder / "out", folder / "err"
    command = energy_flow("experiment", "watch", name, "--url", url, *flags)
    with (
        out.open("wb") as stdout,
        err.open("wb") as stderr,
        interrupts_enabled(),
        subprocess.Popen(command, stdout=stdout, stderr=stderr) as process,
    ):
        try:
            yield Watching(process, out, err)
        finally:
            process.kill()


def paused(client: FlowClient, name: str) -> Experiment:
    """Pause an experiment after some of its trials have ended, and before all have."""
    until(lambda: samples_done(client, name))
    client.experiments.pause(name)
    found = client.experiments.get(name)
    assert 0 < found.progress.fraction < 1
    return found


def samples_done(client: FlowClient, name: str) -> int:
    """Return the number of samples that are done, of all trials."""
    return client.experiments.get(name).progress.samples_done


def test_a_watch_continues_after_a_broken_connection(
    client: FlowClient, server: LiveServer, dataset: str, tmp_path: Path
) -> None:
    client.experiments.create("cut", dataset, sweep=LONG, max_parallel=4)
    paused(client, "cut")
    with (
        cutting_proxy(server.url) as proxy,
        watching(tmp_path, "cut", proxy.url, "--json") as watch,
    ):
        until(lambda: proxy.count_sent("/events"))
        for times in (1, 2):
            proxy.cut()
            watch.wait_for_line("again, after", times)
        client.experiments.resume("cut")
        assert watch.end() == 0
    errors = watch.err.read_text()
    assert errors.count("trying to connect again") == 2
    assert json.loads(watch.out.read_bytes()) == client.experiments.get("cut").data
    assert "100 succeeded of 100" in errors.splitlines()[-1]


def test_events_are_complete_over_a_cut_connection(
    client: FlowClient, server: LiveServer, dataset: str
) -> None:
    client.experiments.create("events", dataset, sweep=LONG)
    events: list[ExperimentEvent] = []
    cuts, pausing = 0, False

    def on_connection(error: FlowClientError | None) -> None:
        nonlocal pausing
        if error is None:
            client.experiments.resume("events")
            pausing = False

    with cutting_proxy(server.url) as proxy, FlowClient(proxy.url) as watcher:
        watch = watcher.experiments.watch("events", last_event_id="0", on_connection=on_connection)
        for event in watch:
            events.append(event)
            if cuts < 2 and not pausing and event.trial is not None and event.trial.ended:
                pausing = True
                client.experiments.pause("events")
            if event.state == "paused":
                cuts += 1
                proxy.cut()
    assert cuts == 2
    now = client.experiments.get("events")
    assert events[-1].state == now.state == "succeeded"
    assert events[-1].trials == now.trials
    assert "gap" not in {event.event for event in events}
    numbers = [int(event.id) for event in events if event.id is not None]
    assert numbers == list(range(numbers[0], numbers[0] + len(events)))
    ended = [event.trial.trial for event in events if event.trial and event.trial.ended]
    assert sorted(ended) == list(range(now.trials.total))


def test_a_watch_continues_after_a_restart_of_the_server(
    tmp_path: Path, embeddings: NDArray[np.float32]
) -> None:
    port = free_port()
    with live_server(tmp_path, port=port) as first, FlowClient(first.url) as client:
        dataset = put_dataset(first, "words", embeddings)
        client.experiments.create("durable", dataset, sweep=LONG, max_parallel=2)
        before = paused(client, "durable")
        with (
            cutting_proxy(first.url) as proxy,
            watching(tmp_path, "durable", proxy.url, "--json") as watch,
        ):
            until(lambda: proxy.count_sent("/events"))
            kill(first)
            watch.wait_for_line("trying to connect again")
            with live_server(tmp_path, port=port) as second:
                watch.wait_for_line(f"connected to {proxy.url} again, after")
                after = client.experiments.get("durable")
                assert after.state == "paused"
                assert after.progress.samples_done >= before.progress.samples_done
                client.experiments.resume("durable")
                # And once more, whatever it is doing then.
                until(lambda: samples_done(client, "durable") > after.progress.samples_done)
                kill(second)
            with live_server(tmp_path, port=port):
                assert watch.end() == 0, watch.err.read_text()
                now = client.experiments.get("durable")
                results = client.experiments.results("durable")
    assert json.loads(watch.out.read_bytes()) == now.data
    assert now.trials.succeeded == len(results) == 100
    assert now.progress.samples_done == 100 * len(embeddings)
    assert "100 succeeded of 100" in watch.err.read_text().splitlines()[-1]


def kill(server: LiveServer) -> None:
    """Kill the server as a power cut does."""
    server.process.kill()
    server.process.wait(LIMIT_SECONDS)


def test_an_interrupted_watch_does_not_change_the_experiment(
    client: FlowClient, server: LiveServer, dataset: str, tmp_path: Path
) -> None:
    client.experiments.create("left", dataset, sweep=LONG, max_parallel=4)
    before = paused(client, "left")
    with watching(tmp_path, "left", server.url) as watch:
        watch.wait_for_line("left paused")
        watch.process.send_signal(signal.SIGINT)
        assert watch.end() == 130
    last = watch.err.read_text().splitlines()[-1]
    assert last == (
        "stopped watching; experiment left continues. Watch it again with: "
        f"energy-flow experiment watch left --url {server.url}"
    )
    assert watch.out.read_text() == ""
    assert client.experiments.get("left").state == before.state
    client.experiments.resume("left")
    assert client.experiments.wait("left").state == "succeeded"


def test_a_terminal_shows_bars(client: FlowClient, server: LiveServer, dataset: str) -> None:
    client.experiments.create("bars", dataset, sweep=LONG, max_parallel=2)
    here, there = pty.openpty()
    command = energy_flow("experiment", "watch", "bars", "--url", server.url)
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen(command, stdout=there, stderr=there, env=environment) as process:
        os.close(there)
        seen = read_all(here)
        assert process.wait(LIMIT_SECONDS) == 0, seen
    for words in ("bars running", "━", "all trials", "trial ", "noise_std=", "bars succeeded"):
        assert words in seen
    assert "600 of 600 samples" in seen


def read_all(terminal: int) -> str:
    """Return what is written to a terminal until all processes have closed it."""
    seen = b""
    with open(terminal, "rb", buffering=0) as stream:
        while True:
            try:
                piece = stream.read(65536)
            except OSError:  # On Linux, the other side is closed.
                piece = b""
            if not piece:
                return seen.decode(errors="replace")
            seen += piece
