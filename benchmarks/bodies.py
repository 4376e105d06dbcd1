"""``bodies``: large bodies sent at once to a server in a small control group.

Measures, by size and form of the bodies and by how many arrive at once: the answers, whether the
kernel ended the server, and the largest memory of the group. Unit: answers by status, bytes.
Baseline: none; no server may end, and no answer may be 500. It takes a machine that allows control
groups.
"""

from __future__ import annotations

import http.client
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from benchmarks.body_forms import FORMS, WIDTH, Form
from benchmarks.control_group import memory_group, read_peak, reset_peak
from benchmarks.options import Findings, Options
from benchmarks.server_process import RunningServer, running
from benchmarks.tables import print_line, show
from energy_flow.testing import TINY_FIELDS

MEGABYTE = 10**6
GIBIBYTE = 2**30
SIZES = (10, 63)
LONG_SIZES = (10, 30, 63)
COUNTS = (1, 4, 16)
LIMITS = (GIBIBYTE,)
LONG_LIMITS = (GIBIBYTE, 2 * GIBIBYTE)
WAIT_SECONDS = 300.0
LOST = "lost"
"""A request whose connection ended before its answer: the server ended, or reads no more of it."""
END_SECONDS = 2.0
"""Time in which a server that the kernel ends has ended."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of bodies that were sent at once.

    Attributes:
        limit_bytes: memory of the group.
        form: form of the bodies.
        megabytes: size of each.
        count: number of bodies.
        answers: number of answers by status.
        is_dead: whether the server has ended.
        peak_bytes: largest memory of the group, with files in the page cache.
        seconds: time until the last answer.
    """

    limit_bytes: int
    form: str
    megabytes: int
    count: int
    answers: dict[str, int]
    is_dead: bool
    peak_bytes: int | None
    seconds: float


def measure(options: Options) -> Findings:
    """Send bodies to servers in control groups.

    Args:
        options: how to measure.

    Raises:
        RuntimeError: this machine allows no control group.
    """
    limits = LONG_LIMITS if options.long else LIMITS
    sizes = LONG_SIZES if options.long else SIZES
    forms = [form for form in FORMS if options.long or form.is_short]
    outcomes: list[Outcome] = []
    for limit in limits:
        with memory_group(limit) as group:
            if group is None:
                raise RuntimeError("this machine allows no control group; it takes root")
            for form in forms:
                outcomes += _measure_form(form, sizes, group, limit)
    show(
        "Bodies sent at once",
        ("form", "group, GiB", "MB", "bodies", "answers", "ended", "peak, MiB", "s"),
        [
            (
                one.form,
                one.limit_bytes // GIBIBYTE,
                one.megabytes,
                one.count,
                ", ".join(f"{count} × {status}" for status, count in sorted(one.answers.items())),
                one.is_dead,
                None if one.peak_bytes is None else one.peak_bytes // 2**20,
                one.seconds,
            )
            for one in outcomes
        ],
    )
    figures = {
        "ended": sum(one.is_dead for one in outcomes),
        "internal_errors": sum(one.answers.get("500", 0) for one in outcomes),
        "cases": [
            {
                "limit_bytes": one.limit_bytes,
                "form": one.form,
                "megabytes": one.megabytes,
                "bodies": one.count,
                "answers": one.answers,
                "ended": one.is_dead,
                "peak_bytes": one.peak_bytes,
                "seconds": round(one.seconds, 2),
            }
            for one in outcomes
        ],
    }
    return Findings({"limits": limits, "megabytes": sizes, "bodies": COUNTS}, figures)


def _measure_form(form: Form, sizes: tuple[int, ...], group: Path, limit: int) -> Iterator[Outcome]:
    """Yield the outcome of each size and number; a server that has ended is replaced."""
    cases = [(size, count) for size in sizes for count in COUNTS]
    bodies = {size: form.make(size * MEGABYTE) for size in sizes}
    while cases:
        with _server(group) as server:
            is_dead = False
            while cases and not is_dead:
                size, count = cases.pop(0)
                outcome = _send(server, form, bodies[size], size, count, group, limit)
                is_dead = outcome.is_dead
                print_line(
                    f"bodies: {limit // GIBIBYTE} GiB, {count} × {size} MB as {form.name}: "
                    f"{outcome.answers}, {'ended' if is_dead else 'alive'}, "
                    f"{(outcome.peak_bytes or 0) // 2**20} MiB, {outcome.seconds:.1f} s"
                )
                yield outcome


def _send(
    server: RunningServer,
    form: Form,
    body: bytes,
    size: int,
    count: int,
    group: Path,
    limit: int,
) -> Outcome:
    answers: Counter[str] = Counter()
    lock = threading.Lock()
    parts = urlsplit(server.url)

    def send() -> None:
        connection = http.client.HTTPConnection(
            parts.hostname or "", parts.port, timeout=WAIT_SECONDS
        )
        try:
            connection.request("POST", form.path, body, form.headers(body))
            answer = connection.getresponse()
            answer.read()
            status = str(answer.status)
        except (OSError, http.client.HTTPException):
            status = LOST
        finally:
            connection.close()
        with lock:
            answers[status] += 1

    reset_peak(group)
    began = time.perf_counter()
    threads = [threading.Thread(target=send) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    is_dead = LOST in answers and _has_ended(server)
    return Outcome(limit, form.name, size, count, dict(answers), is_dead, read_peak(group), seconds)


def _has_ended(server: RunningServer) -> bool:
    until = time.monotonic() + END_SECONDS
    process = psutil.Process(server.pid)
    while process.status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


@contextmanager
def _server(group: Path) -> Iterator[RunningServer]:
    """Run a server of a small model for wide rows in a control group."""
    fields = {**TINY_FIELDS, "embedding_dim": WIDTH}
    with tempfile.TemporaryDirectory(prefix="energy-flow-bench-") as folder:
        command = [sys.executable, "-m", "service.cli", "serve", "--port", "0", "--warm-up"]
        command += ["--data-dir", f"{folder}/data", "--device", "cpu"]
        for name, value in fields.items():
            command += ["--set", f"{name}={value}"]
        entering = f'echo $$ > {group}/cgroup.procs; exec "$@"'
        with running(
            ["sh", "-ec", entering, "sh", *command], Path(folder) / "server.log", own=False
        ) as server:
            _wait_until_ready(server)
            yield server


def _wait_until_ready(server: RunningServer) -> None:
    until = time.monotonic() + 60
    parts = urlsplit(server.url)
    while time.monotonic() < until:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        connection.request("GET", "/readyz")
        if connection.getresponse().status == 200:
            return
        time.sleep(0.1)
    raise RuntimeError("the server was not ready after 60 s")
