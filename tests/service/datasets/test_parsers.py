"""Parser processes: their limits, and what becomes of a file on which one ends."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import psutil
import pyarrow as pa
import pytest

from service.datasets.parsing.messages import ConversionTask
from service.datasets.parsing.parsers import MAX_PROCESSES, Conversion, Parsers
from service.datasets.parsing.process import ParserLimits
from service.problems import Problem
from service.requests.columns import Selection
from tests.support.bodies import npy, parquet
from tests.support.live_server import TINY_FLAGS, live_server
from tests.support.servers import RunningServer, find_leftovers, rows, serving
from tests.support.waits import LIMIT_SECONDS, until

MEBIBYTE = 2**20
PATH = "/v1/datasets/parsed?format=parquet"
SOUND = parquet(pa.table({"inputs": rows(5).tolist(), "targets": [[1.0]] * 5}))
ABORTS = (Path(__file__).parent / "aborts.parquet").read_bytes()
"""A bit of a good file is flipped, and PyArrow 26 throws a C++ exception that nothing catches."""

NO_LIMITS = ParserLimits(LIMIT_SECONDS, 2**30, 2**30)


@pytest.fixture
def parsers() -> Iterator[Parsers]:
    parsers = Parsers(NO_LIMITS)
    yield parsers
    parsers.close()


def task(folder: Path, source: Path) -> ConversionTask:
    results = {name: folder / name for name in ("inputs", "targets")}
    for path in results.values():
        path.write_bytes(b"")
    return ConversionTask(source, "parquet", Selection(), results, 2**30)


def stored(folder: Path, body: bytes) -> Path:
    path = folder / "source.parquet"
    path.write_bytes(body)
    return path


def endless(folder: Path) -> Path:
    """Return a file that nobody writes, so that its reader waits for its first byte."""
    path = folder / "endless"
    os.mkfifo(path)
    return path


class Running:
    """A conversion in a thread, whose parser process waits."""

    def __init__(self, parsers: Parsers, task: ConversionTask) -> None:
        self.conversion: Conversion = parsers.conversion()
        self.problem: Problem | None = None
        self._thread = threading.Thread(target=self._run, args=(task,))
        self._thread.start()

    def _run(self, task: ConversionTask) -> None:
        try:
            self.conversion.run(task)
        except Problem as problem:
            self.problem = problem

    def pid(self) -> int:
        return until(lambda: self.conversion.process).pid

    def end(self) -> Problem:
        self._thread.join(LIMIT_SECONDS)
        assert not self._thread.is_alive()
        assert self.problem is not None
        return self.problem


def children() -> list[psutil.Process]:
    """Return the parser processes of this process."""
    return [
        child
        for child in psutil.Process().children()
        if any("parser_program" in part for part in child.cmdline())
    ]


def test_a_process_converts_one_file_after_the_other(tmp_path: Path, parsers: Parsers) -> None:
    before = len(children())
    source = stored(tmp_path, SOUND)
    pids = set()
    for _ in range(3):
        sent = task(tmp_path, source)
        assert parsers.conversion().run(sent).parts == {"inputs": (5, 8), "targets": (5, 1)}
        assert sent.results["inputs"].read_bytes() == rows(5).tobytes()
        pids |= {child.pid for child in children()}
    assert len(children()) == before + 1
    with pytest.raises(Problem, match="damaged"):
        parsers.conversion().run(task(tmp_path, stored(tmp_path, SOUND[:-30])))
    assert {child.pid for child in children()} == pids
    parsers.close()
    assert len(children()) == before
    with pytest.raises(Problem) as refused:
        parsers.conversion().run(sent)
    assert refused.value.status == 503


def kill(running: Running, parsers: Parsers) -> None:
    os.kill(running.pid(), signal.SIGSEGV)


def cancel(running: Running, parsers: Parsers) -> None:
    running.pid()
    running.conversion.cancel()


def close(running: Running, parsers: Parsers) -> None:
    running.pid()
    parsers.close()


@pytest.mark.parametrize(
    ("end", "status", "reason"),
    [
        (kill, 422, "the file cannot be read: the parser ended on it (signal 11)"),
        (cancel, 499, "the client disconnected"),
        (close, 503, "the server stops"),
    ],
)
def test_a_process_that_ends_early(
    tmp_path: Path,
    parsers: Parsers,
    end: Callable[[Running, Parsers], None],
    status: int,
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    running = Running(parsers, task(tmp_path, endless(tmp_path)))
    pid = running.pid()
    end(running, parsers)
    problem = running.end()
    assert (problem.status, problem.detail) == (status, reason)
    assert not psutil.pid_exists(pid)
    # Only an end that nobody wanted is worth a line.
    assert ["SIGSEGV" in message for message in caplog.messages] == [True] * (end is kill)
    if end is not close:
        converted = parsers.conversion().run(task(tmp_path, stored(tmp_path, SOUND)))
        assert converted.parts["inputs"] == (5, 8)


def test_an_idle_process_that_has_ended_is_replaced(tmp_path: Path, parsers: Parsers) -> None:
    source = stored(tmp_path, SOUND)
    known = {child.pid for child in children()}
    parsers.conversion().run(task(tmp_path, source))
    (idle,) = (child for child in children() if child.pid not in known)
    idle.kill()
    until(lambda: idle.status() == psutil.STATUS_ZOMBIE)
    sent = task(tmp_path, source)
    assert parsers.conversion().run(sent).parts["inputs"] == (5, 8)
    assert sent.results["inputs"].read_bytes() == rows(5).tobytes()


def test_a_file_that_ends_a_used_process_gets_a_new_one(tmp_path: Path, parsers: Parsers) -> None:
    parsers.conversion().run(task(tmp_path, stored(tmp_path, SOUND)))
    running = Running(parsers, task(tmp_path, endless(tmp_path)))
    first = running.pid()
    os.kill(first, signal.SIGSEGV)
    second = until(lambda: (pid := running.pid()) != first and pid)
    os.kill(second, signal.SIGSEGV)
    assert running.end().status == 422


def test_files_wait_for_a_process(tmp_path: Path, parsers: Parsers) -> None:
    waiting = task(tmp_path, endless(tmp_path))
    first = [Running(parsers, waiting) for _ in range(MAX_PROCESSES)]
    pids = {running.pid() for running in first}
    assert len(pids) == MAX_PROCESSES
    later = [Running(parsers, waiting) for _ in range(2)]
    # One that waits needs no process to be cancelled.
    later[0].conversion.cancel()
    assert later[0].end().status == 499
    assert later[1].conversion.process is None
    first[0].conversion.cancel()
    assert later[1].pid() not in pids
    for running in (*first, later[1]):
        running.conversion.cancel()
        assert running.end().status == 499


def test_a_file_has_a_time(tmp_path: Path) -> None:
    parsers = Parsers(ParserLimits(1, 2**30, 2**30))
    with pytest.raises(Problem, match="not ended within 1 s") as refused:
        parsers.conversion().run(task(tmp_path, endless(tmp_path)))
    parsers.close()
    assert refused.value.status == 422


@pytest.mark.slow
def test_a_file_has_memory(tmp_path: Path, parsers: Parsers) -> None:
    column = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(6144 * 2**13, np.float32)), 2**13)
    # Uncompressed, its one page has 192 MiB.
    body = parquet(
        pa.table({"inputs": column}),
        compression="zstd",
        use_dictionary=False,
        data_page_size=2**30,
        write_batch_size=2**30,
    )
    assert len(body) < MEBIBYTE
    sent = task(tmp_path, stored(tmp_path, body))
    little = Parsers(ParserLimits(LIMIT_SECONDS, 256 * MEBIBYTE, 2**30))
    with pytest.raises(Problem, match="bytes of memory") as refused:
        little.conversion().run(sent)
    assert refused.value.status == 413
    assert refused.value.extra == {"limit_bytes": 256 * MEBIBYTE}
    assert "raise the server's --parser-memory-bytes" in refused.value.detail
    own = Parsers(ParserLimits(LIMIT_SECONDS, 256 * MEBIBYTE, 2**30, is_of_server=False))
    with pytest.raises(Problem, match="the limit is one of this command, and is fixed"):
        own.conversion().run(sent)
    own.close()
    # The same process still reads others.
    converted = little.conversion().run(task(tmp_path, stored(tmp_path, SOUND)))
    assert converted.parts["inputs"] == (5, 8)
    little.close()
    # It is no fault of the file.
    sent = task(tmp_path, stored(tmp_path, body))
    assert parsers.conversion().run(sent).parts["inputs"] == (6144, 2**13)


def test_the_program_is_small() -> None:
    heavy = "{'torch', 'pydantic', 'sqlalchemy', 'fastapi', 'numba'}"
    code = f"import sys, service.datasets.parser_program; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_file_that_ends_the_parser_is_refused(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    before = find_leftovers(server.data_dir)
    with caplog.at_level(logging.WARNING):
        answer = server.client.put(PATH, content=ABORTS)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    reason = "the file cannot be read: the parser ended on it (signal 6)"
    assert answer.json()["detail"] == reason
    # A process that has read other files is not blamed on this one, so a new one reads it again.
    assert len(caplog.messages) in (1, 2)
    assert all("SIGABRT" in line for line in caplog.messages)
    assert find_leftovers(server.data_dir) == before
    assert server.client.put(PATH, content=SOUND).status_code == 201
    assert server.client.delete("/v1/datasets/parsed").status_code == 204


def upload_to_stopped_process(server: RunningServer) -> tuple[psutil.Process, httpx.Client]:
    """Make the parser process stand still, and return it with a client."""
    known = {child.pid for child in children()}
    assert server.client.put(PATH, content=SOUND).status_code == 201
    (child,) = (child for child in children() if child.pid not in known)
    child.suspend()
    return child, server.client


def test_a_client_that_disconnects_ends_the_process(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        child, client = upload_to_stopped_process(server)
        before = len(list((tmp_path / "datasets").iterdir()))
        path = "/v1/datasets/left?format=parquet"
        head = f"PUT {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(SOUND)}"
        port = client.base_url.port
        assert port is not None
        with socket.create_connection((client.base_url.host, port)) as connection:
            connection.sendall(head.encode() + b"\r\n\r\n" + SOUND)
            # The file as sent, and the files of its parts.
            until(lambda: len(list((tmp_path / "datasets").iterdir())) == before + 3)
        until(lambda: not child.is_running())
        until(lambda: len(list((tmp_path / "datasets").iterdir())) == before)
        assert client.get("/v1/datasets/left").status_code == 404
        assert client.put(path, content=SOUND).status_code == 201


def test_a_server_that_stops_ends_the_process(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        child, client = upload_to_stopped_process(server)
        answers: list[httpx.Response] = []

        def send() -> None:
            answers.append(client.put("/v1/datasets/late?format=parquet", content=SOUND))

        before = len(list((tmp_path / "datasets").iterdir()))
        thread = threading.Thread(target=send)
        thread.start()
        # The file as sent, and the files of its parts.
        until(lambda: len(list((tmp_path / "datasets").iterdir())) == before + 3)
        server.stop()
        thread.join(LIMIT_SECONDS)
        assert answers[0].status_code == 503
        assert not child.is_running()
        assert len(list((tmp_path / "datasets").iterdir())) == before


@pytest.mark.slow
def test_the_process_does_not_outlive_a_killed_server_and_has_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENERGY_FLOW_KEEP_RUNS_BYTES", "1000")
    with live_server(tmp_path, TINY_FLAGS) as server:
        httpx.put(server.url + PATH, content=SOUND, timeout=LIMIT_SECONDS).raise_for_status()
        (child,) = psutil.Process(server.process.pid).children()
        assert not [name for name in child.environ() if name.startswith("ENERGY_FLOW_")]
        server.process.kill()
        until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_other_formats_need_no_process(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        before = len(children())
        path = "/v1/datasets/array?format=npy"
        assert server.client.put(path, content=npy(rows())).status_code == 201
        assert len(children()) == before
