"""Terminals, pipes and files with faults: a command ends in one line, never in a traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from energy_flow.client import FlowClient, NotFound
from energy_flow.trace.records import COLUMNS
from tests.support.command_line import (
    Caller,
    assert_interrupted,
    assert_refused,
    open_terminal,
    run,
)
from tests.support.live_server import TINY_FLAGS, LiveServer, energy_flow, interrupts_enabled
from tests.support.waits import LIMIT_SECONDS

ASCII = {"PYTHONIOENCODING": "ascii"}


@pytest.mark.slow
def test_a_terminal_for_ascii_loses_no_run(embeddings_file: Path) -> None:
    done = run("simulate", embeddings_file, *TINY_FLAGS, **ASCII)
    assert done.returncode == 0, done.stderr
    assert "6 ? 4 ? 4" in done.stdout


def test_json_is_utf_8_on_every_terminal(server: LiveServer) -> None:
    done = run("model", "list", "--json", "--url", server.url, **ASCII)
    assert done.returncode == 0, done.stderr
    described = {model["name"]: model["description"] for model in json.loads(done.stdout)}
    assert "10 × 10" in described["spectrometer"]


@pytest.mark.parametrize(
    "words", [("--help",), ("version",), ("model", "list"), ("model", "list", "--json")]
)
def test_a_reader_that_ends_early_is_no_fault(server: LiveServer, words: tuple[str, ...]) -> None:
    with subprocess.Popen(
        energy_flow(*words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "ENERGY_FLOW_URL": server.url},
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        errors = process.stderr.read()
        assert process.wait(LIMIT_SECONDS) == 1
    assert errors == b""


@pytest.mark.parametrize("form", [(), ("--json",)])
@pytest.mark.parametrize(
    ("stream", "code", "words"), [(">&-", 0, ""), (">/dev/full", 1, "No space left on device")]
)
def test_a_stdout_that_cannot_be_written(
    server: LiveServer, form: tuple[str, ...], stream: str, code: int, words: str
) -> None:
    command = energy_flow("model", "list", "--url", server.url, *form)
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {stream}', "sh", *command],
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    assert done.returncode == code
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == (1 if words else 0)


@contextmanager
def pipe_of(content: bytes, path: Path) -> Iterator[Path]:
    """Make a named pipe that gives bytes once, as a shell does for ``<(...)``."""
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(content,))
    writer.start()
    yield path
    writer.join()


def test_a_pipe_can_be_sent(
    call: Caller, client: FlowClient, server: LiveServer, embeddings_file: Path, tmp_path: Path
) -> None:
    at = ("--url", server.url)
    with pipe_of(embeddings_file.read_bytes(), tmp_path / "63") as pipe:
        done = call("dataset", "put", "from-a-pipe", pipe, "--format", "npy", *at)
    assert done.returncode == 0, done.stderr
    other = client.datasets.put("from-a-file", embeddings_file)
    assert client.datasets.get("from-a-pipe").digest == other.digest
    with pipe_of(b'name = "x"', tmp_path / "64") as pipe:
        assert_refused(call("experiment", "create", pipe, *at), "dataset: is required")
    with pipe_of(b"PAR1", tmp_path / "65") as pipe:
        assert_refused(call("trace", pipe), f"{pipe} is not a trace in Parquet")


@pytest.mark.parametrize("is_growing", [True, False])
def test_a_file_that_changes_while_it_is_sent(
    client: FlowClient, tmp_path: Path, is_growing: bool
) -> None:
    rows = np.random.default_rng(0).normal(size=(20_000, 8)).astype(np.float32)
    np.save(tmp_path / "still.npy", rows)
    np.save(tmp_path / "changing.npy", rows)
    size = (tmp_path / "changing.npy").stat().st_size

    def on_progress(sent: int, total: int) -> None:
        with (tmp_path / "changing.npy").open("r+b") as file:
            if is_growing:
                file.seek(0, os.SEEK_END)
                file.write(b"more")
            else:
                file.truncate(size // 2)

    if is_growing:
        sent = client.datasets.put("growing", tmp_path / "changing.npy", on_progress=on_progress)
        assert sent.digest == client.datasets.put("still", tmp_path / "still.npy").digest
    else:
        with pytest.raises(OSError, match=r"changing\.npy became shorter while it was sent"):
            client.datasets.put("shrinking", tmp_path / "changing.npy", on_progress=on_progress)
        with pytest.raises(NotFound):
            client.datasets.get("shrinking")


@pytest.mark.parametrize("values", [["a"], [[1]], [None]], ids=["texts", "lists", "nothing"])
def test_parquet_of_others_is_refused(call: Caller, tmp_path: Path, values: list[object]) -> None:
    path = tmp_path / "other.parquet"
    pq.write_table(pa.table({"animal": ["cat"]}), path)
    assert_refused(call("trace", path), f"{path} is not a trace in Parquet: ")
    pq.write_table(pa.table(dict.fromkeys(COLUMNS, values)), path)
    assert_refused(call("trace", path), f"{path} is not a trace in Parquet: ")


def test_damaged_parquet_is_refused_by_its_name(call: Caller, tmp_path: Path) -> None:
    path = tmp_path / "damaged.parquet"
    path.write_bytes(b"PAR1" + b"\xff" * 100 + b"\x10\0\0\0PAR1")
    assert_refused(call("trace", path), f"{path} is not a trace in Parquet: ")


def test_names_that_are_not_utf_8(
    call: Caller, server: LiveServer, embeddings_file: Path, tmp_path: Path
) -> None:
    name = os.fsdecode(b"\xff")
    refused = call("simulate", embeddings_file, *TINY_FLAGS, "--out", tmp_path / name)
    assert_refused(refused, "must be UTF-8")
    refused = call("dataset", "put", name, embeddings_file, "--url", server.url)
    assert_refused(refused, "not UTF-8")


def test_the_address_of_the_environment(
    call: Caller, server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENERGY_FLOW_URL", server.url)
    assert call("model", "list").returncode == 0
    refused = call("simulate", "--dataset", "no-such-dataset")
    assert_refused(refused, "404", "no-such-dataset")
    absent = "http://127.0.0.1:9"
    # The option wins.
    assert_refused(call("model", "list", "--url", absent), absent, "energy-flow serve")
    monkeypatch.setenv("ENERGY_FLOW_URL", absent)
    assert_refused(call("model", "list"), absent, "energy-flow serve")


def test_a_deletion_is_confirmed_on_a_terminal(
    client: FlowClient, server: LiveServer, embeddings: NDArray[np.float32]
) -> None:
    client.datasets.put("precious", embeddings)
    delete = ("dataset", "delete", "precious", "--url", server.url)
    for answer in ("n\n", "\n"):
        with open_terminal(*delete) as terminal:
            terminal.wait_for("Delete dataset precious")
            terminal.write(answer)
            done = terminal.finish()
        assert done.returncode == 1
        assert "nothing was deleted" in done.stderr
    with interrupts_enabled(), open_terminal(*delete) as terminal:
        terminal.wait_for("Delete dataset precious")
        terminal.process.send_signal(signal.SIGINT)
        assert_interrupted(terminal.finish())
    assert client.datasets.get("precious").name == "precious"
    with open_terminal(*delete) as terminal:
        terminal.wait_for("Delete dataset precious")
        terminal.write("y\n")
        done = terminal.finish()
    assert (done.returncode, done.stdout) == (0, "deleted precious\n")
    client.datasets.put("precious", embeddings)
    with open_terminal(*delete, "--yes") as terminal:
        done = terminal.finish()
    assert (done.returncode, done.stderr) == (0, "")


def test_an_interrupt_ends_a_wait(
    client: FlowClient, server: LiveServer, embeddings: NDArray[np.float32]
) -> None:
    endless = {
        "max_steps": 1_000_000,
        "projection_age": 1_000_000,
        "convergence.enabled": False,
        "spawn.mode": "off",
        "noise_std": 0.001,
        "displacement_scale": 1e-9,
    }
    run_id = client.submit_run(embeddings, options=endless).run_id
    try:
        wait = ("runs", "wait", run_id, "--url", server.url)
        with interrupts_enabled(), open_terminal(*wait) as terminal:
            terminal.wait_for("running: 0 of 6 samples")
            terminal.process.send_signal(signal.SIGINT)
            assert_interrupted(terminal.finish())
    finally:
        client.cancel(run_id)
