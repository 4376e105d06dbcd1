"""How long a server is busy with a request, seen by a prober that asks it whether it is alive."""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

PERIOD_SECONDS = 0.01
"""Time between an answer to a probe and the next probe."""
TIMEOUT_SECONDS = 300

_TICKS = os.sysconf("SC_CLK_TCK")
_PROBE = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


@dataclass(frozen=True, slots=True)
class Probed:
    """What was seen while a server had a request.

    Attributes:
        status: status of the answer to the request; 0 if the connection was closed without one.
        answer: the answer, with its headers.
        seconds: time until the answer.
        delay_seconds: longest time from a probe to its answer.
        busy_seconds: longest time that the server was busy between two answers to probes: the
            processor time that it used between them, but at most the time that passed.
    """

    status: int
    answer: bytes
    seconds: float
    delay_seconds: float
    busy_seconds: float


def probe_during(url: str, pid: int, request: bytes) -> Probed:
    """Send a request, and probe the server every :data:`PERIOD_SECONDS` until it has answered.

    Args:
        url: address of the server.
        pid: id of its process.
        request: bytes of the request, which asks for the connection to be closed.
    """
    prober = _Prober(url, pid)
    with prober.running():
        started = time.perf_counter()
        answer = exchange(url, request)
        seconds = time.perf_counter() - started
    found = _STATUS.match(answer)
    status = int(found[1]) if found else 0
    return Probed(status, answer, seconds, prober.delay_seconds, prober.busy_seconds)


def exchange(url: str, request: bytes) -> bytes:
    """Send a request on a connection of its own, and return the answer until its end.

    Args:
        url: address of the server.
        request: bytes of the request.
    """
    answer = bytearray()
    with _connect(url) as connection:
        sending = threading.Thread(target=_send, args=(connection, request))
        sending.start()
        # A connection that the server closes with unread data is reset.
        with suppress(ConnectionError):
            while part := connection.recv(2**16):
                answer += part
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        sending.join()
    return bytes(answer)


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used, in steps of a hundredth of a second.

    Args:
        pid: id of the process.
    """
    # The name of the program, in brackets, may have spaces.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _connect(url: str) -> socket.socket:
    address = urlsplit(url)
    assert address.hostname is not None
    return socket.create_connection((address.hostname, address.port or 80), TIMEOUT_SECONDS)


def _send(connection: socket.socket, request: bytes) -> None:
    with suppress(OSError):
        connection.sendall(request)


class _Prober:
    def __init__(self, url: str, pid: int) -> None:
        self._url = url
        self._pid = pid
        self._is_over = threading.Event()
        self._has_begun = threading.Event()
        self.delay_seconds = 0.0
        self.busy_seconds = 0.0

    def running(self) -> _Running:
        return _Running(self._probe, self._has_begun, self._is_over)

    def _probe(self) -> None:
        with _connect(self._url) as connection:
            last_answer, last_cpu = self._ask(connection)
            self._has_begun.set()
            is_last = False
            while not is_last:
                # The last probe begins after the answer, so that nothing before it is missed.
                is_last = self._is_over.wait(PERIOD_SECONDS)
                asked = time.perf_counter()
                answered, cpu = self._ask(connection)
                busy = min(cpu - last_cpu, answered - last_answer)
                self.delay_seconds = max(self.delay_seconds, answered - asked)
                self.busy_seconds = max(self.busy_seconds, busy)
                last_answer, last_cpu = answered, cpu

    def _ask(self, connection: socket.socket) -> tuple[float, float]:
        connection.sendall(_PROBE)
        answer = b""
        while b"alive" not in answer:
            part = connection.recv(4096)
            if not part:
                raise ConnectionError("the server has closed the connection of the prober")
            answer += part
        return time.perf_counter(), cpu_seconds(self._pid)


class _Running:
    """A thread that runs in a block."""

    def __init__(self, target: object, begun: threading.Event, over: threading.Event) -> None:
        assert callable(target)
        self._thread = threading.Thread(target=target)
        self._begun = begun
        self._over = over

    def __enter__(self) -> None:
        self._thread.start()
        assert self._begun.wait(TIMEOUT_SECONDS)

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
