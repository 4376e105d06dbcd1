"""``failover``: an experiment whose active server is killed twenty times beside standby ones.

The index is in PostgreSQL, and the servers have the same data directory, at different paths.
Measures: how many outputs, trace records, counters and samples differ, and the time from a kill
until another server is ready. Unit: numbers, and seconds. Baseline: the same experiment on a
server that is not killed.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.options import Findings, Options
from benchmarks.postgres_cluster import postgres_cluster
from benchmarks.server_process import (
    end_of,
    free_port,
    serve_command,
    server_environment,
    server_of,
)
from benchmarks.sweep import (
    SWEEP,
    TRIALS,
    client_of,
    count_done,
    find_differences,
    find_left_over,
    read_trials,
    run_sweep,
    show_differences,
    start_sweep,
    wait_until_ended,
)
from benchmarks.tables import print_line
from benchmarks.workload import ROOT

KILLS = 20
PATHS = ("left", "right")
"""Names of the data directory, as two machines have it mounted."""
STANDBYS = 3
"""So many that one of them is standby when the next one is killed: to start takes longer."""
START_SECONDS = 300


@dataclass(slots=True)
class Member:
    """One of the servers.

    Attributes:
        process: its process.
        client: a client of it.
        log: its log.
    """

    process: subprocess.Popen[bytes]
    client: httpx.Client
    log: Path

    def readiness(self) -> str:
        """Return what it answers to ``/readyz``; nothing while it does not accept connections."""
        try:
            return self.client.get("/readyz").text
        except httpx.TransportError:
            return ""

    def kill(self) -> float:
        """Kill it, and return when."""
        killed_at = time.perf_counter()
        self.process.kill()
        self.process.wait()
        self.client.close()
        return killed_at


def measure(options: Options) -> Findings:
    """Run the experiment on a server that is not killed, then on several, and compare.

    Args:
        options: how to measure.
    """
    kills = options.rounds(KILLS)
    with (
        tempfile.TemporaryDirectory(prefix="energy-flow-bench-") as name,
        postgres_cluster() as cluster,
    ):
        folder = Path(name)
        cluster.execute("CREATE DATABASE undisturbed", "CREATE DATABASE shared")
        print_line(f"failover: {TRIALS} trials without kills")
        (folder / "undisturbed").mkdir()
        url = cluster.url("undisturbed")
        with (
            server_of(folder / "undisturbed", options.device, database_url=url) as server,
            client_of(server.url) as client,
        ):
            seconds = run_sweep(client)
            expected = list(read_trials(client))
        print_line(f"failover: {seconds:.0f} s; now with {kills} kills")
        (folder / "storage").mkdir()
        for path in PATHS:
            (folder / path).symlink_to("storage")
        with ExitStack() as held:
            servers = _Servers(folder, options.device, cluster.url("shared"), held)
            start_sweep(servers.active.client)
            done, times = _kill_repeatedly(servers, kills, seconds)
            client = servers.active.client
            experiment = wait_until_ended(client)
            found = list(read_trials(client))
            left = find_left_over(folder / "storage" / "data", client)
    figures = {
        "kills": kills,
        "kills_before_its_end": sum(one < experiment["progress"]["samples"] for one in done),
        "samples_done_at_kills": done,
        "state": experiment["state"],
        "seconds_undisturbed": round(seconds, 1),
        "takeover_seconds": [round(one, 2) for one in times],
        "left_over_files": left,
        **find_differences(expected, found),
    }
    show_differences(
        f"An experiment of {TRIALS} trials with {kills} kills of the active server",
        figures,
        note=f"{figures['kills_before_its_end']} of the kills before the end of the experiment; "
        f"takeovers took {statistics.median(times):.2f} s, at most {max(times):.2f} s.",
    )
    return Findings({**SWEEP, "trials": TRIALS}, figures)


class _Servers:
    """The active server, and those that are standby or become it.

    Args:
        folder: has the data directory by its two paths.
        device: device of the servers.
        url: URL of the index.
        held: ends the servers.
    """

    def __init__(self, folder: Path, device: str, url: str, held: ExitStack) -> None:
        self._folder, self._device, self._url, self._held = folder, device, url, held
        self._number = 0
        self._others = [self._start()]
        self.active = self._find("ready")
        self._others = [self._start() for _ in range(STANDBYS)]

    def fail_over(self) -> float:
        """Kill the active server beside a standby, and start another one.

        Returns:
            Seconds from the kill until one of the others is ready.
        """
        self._find("standby")
        killed_at = self.active.kill()
        self.active = self._find("ready")
        seconds = time.perf_counter() - killed_at
        self._others.remove(self.active)
        self._others.append(self._start())
        return seconds

    def _find(self, word: str) -> Member:
        """Wait until the readiness of a server that is not active has a word, and return it."""
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            for member in self._others:
                if member.process.poll() is not None:
                    raise RuntimeError(f"a server has ended:\n{end_of(member.log)}")
                if word in member.readiness():
                    return member
            time.sleep(0.02)
        raise RuntimeError(f"no server is {word} after {START_SECONDS} s")

    def _start(self) -> Member:
        path, port = PATHS[self._number % len(PATHS)], free_port()
        log = self._folder / f"{self._number}.log"
        self._number += 1
        command = serve_command(
            self._folder / path / "data", self._device, port=port, database_url=self._url
        )
        process = self._held.enter_context(_process_of(command, log))
        client = self._held.enter_context(client_of(f"http://127.0.0.1:{port}"))
        return Member(process, client, log)


def _kill_repeatedly(
    servers: _Servers, kills: int, seconds: float
) -> tuple[list[int], list[float]]:
    """Kill the active server after random times.

    Returns:
        How many samples were done each time, and the seconds of each takeover.
    """
    draw = random.Random(0)
    done: list[int] = []
    times: list[float] = []
    for number in range(kills):
        time.sleep(draw.uniform(0, 1.2 * seconds / kills))
        done.append(count_done(servers.active.client, done[-1] if done else 0))
        times.append(servers.fail_over())
        print_line(f"failover: {number + 1} of {kills}; {times[-1]:.2f} s")
    return done, times


@contextmanager
def _process_of(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (
        log.open("wb") as out,
        subprocess.Popen(
            command, cwd=ROOT, env=server_environment(), stdout=subprocess.DEVNULL, stderr=out
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()
