"""``kills``: a server under work that is killed at random moments, a hundred times.

Callers upload, simulate, queue, train and delete, and the server removes old runs. Measures: what
was acknowledged and is lost, what was deleted and came back, what is there twice, and which files
are left that nothing refers to. Unit: their numbers, which must be 0. Baseline: none.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from benchmarks.kill_callers import Caller, prepare
from benchmarks.kill_checks import (
    ENDED,
    find_content_faults,
    find_faults,
    read_all,
    repeat_unanswered,
)
from benchmarks.kill_ledger import Fate, Kind, Ledger
from benchmarks.options import Findings, Options
from benchmarks.tables import print_line, show
from benchmarks.workload import ROOT
from energy_flow.testing import TINY_FIELDS

KILLS = 100
CALLERS = 4
KEEP_RUNS_BYTES = 2_000_000
LONGEST_SECONDS = 5.0
"""Most seconds of work between two kills."""
EARLY = 0.2
"""Share of kills before the server is ready, while it recovers from the kill before."""
MAX_SECONDS = 600


@dataclass(slots=True)
class Campaign:
    """The results of a campaign.

    Attributes:
        kills: number of kills.
        acknowledged: number of things that were stored, by kind.
        quarantined: number of files and runs in quarantine.
        faults: what does not hold.
    """

    kills: int
    acknowledged: dict[str, int] = field(default_factory=dict)
    quarantined: int = 0
    faults: list[str] = field(default_factory=list)


def measure(options: Options) -> Findings:
    """Kill a server repeatedly, and look for what is lost.

    Args:
        options: how to measure.
    """
    kills = options.rounds(KILLS)
    with tempfile.TemporaryDirectory(prefix="energy-flow-bench-") as folder:
        campaign = run_campaign(Path(folder), kills, seed=0, device=options.device)
    show(
        f"A server that was killed {kills} times",
        ("what", "number"),
        [
            *(("acknowledged: " + kind, count) for kind, count in campaign.acknowledged.items()),
            ("in quarantine", campaign.quarantined),
            ("faults", len(campaign.faults)),
        ],
        note="\n".join(campaign.faults[:20]),
    )
    figures = {
        "kills": kills,
        "acknowledged": campaign.acknowledged,
        "quarantined": campaign.quarantined,
        "faults": campaign.faults,
    }
    return Findings({"callers": CALLERS, "keep_runs_bytes": KEEP_RUNS_BYTES}, figures)


def run_campaign(
    folder: Path,
    kills: int,
    seed: int,
    device: str = "cpu",
    longest_seconds: float = LONGEST_SECONDS,
) -> Campaign:
    """Kill a server under work at random moments, and check it after each start.

    Args:
        folder: an empty folder.
        kills: number of kills.
        seed: seed of all choices; how far the server is at a kill depends on the machine as well.
        device: device of the server.
        longest_seconds: most seconds of work between two kills.
    """
    chance = random.Random(seed)
    ledger, campaign = Ledger(), Campaign(kills)
    done = 0
    while done < kills:
        with _server(folder, device) as process:
            if done and chance.random() < EARLY:
                time.sleep(chance.uniform(0, 2 * longest_seconds))
                _kill(process)
                done += 1
                continue
            url = _read_address(process)
            with httpx.Client(base_url=url, timeout=120) as client:
                _wait_until_ready(client)
                prepare(client)
                campaign.faults += find_faults(client, ledger)
                repeat_unanswered(client, ledger)
            callers = [Caller(url, ledger, chance.getrandbits(32)) for _ in range(CALLERS)]
            for caller in callers:
                caller.start()
            time.sleep(chance.uniform(0.05, longest_seconds))
            _kill(process)
            done += 1
            for caller in callers:
                caller.join()
                campaign.faults += caller.unexpected
        print_line(f"kills: {done} of {kills}; {len(campaign.faults)} faults")
    with _server(folder, device) as process:
        with httpx.Client(base_url=_read_address(process), timeout=120) as client:
            _wait_until_ready(client)
            repeat_unanswered(client, ledger)
            _wait_until_idle(client)
            campaign.faults += find_faults(client, ledger)
            campaign.faults += find_content_faults(client, folder / "data")
        _kill(process)
    campaign.quarantined = sum(
        len(list((folder / "data" / "quarantine").glob(f"*/{name}/*")))
        for name in ("datasets", "models", "runs")
    )
    campaign.acknowledged = {
        kind: sum(one.fate in (Fate.STORED, Fate.DELETED) for one in ledger.items(kind))
        for kind in Kind
    }
    return campaign


@contextmanager
def _server(folder: Path, device: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "service.cli", "serve", "--port", "0", "--device", device]
    command += ["--data-dir", str(folder / "data"), "--keep-runs-bytes", str(KEEP_RUNS_BYTES)]
    # Otherwise most lives would end before their first run.
    command += ["--warm-up"]
    for name, value in TINY_FIELDS.items():
        command += ["--set", f"{name}={value}"]
    with (
        (folder / "server.log").open("ab") as log,
        subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def _kill(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)
    process.wait()


def _read_address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    announced = process.stdout.readline()
    if "http://" not in announced:
        raise RuntimeError("the server did not start; its log is server.log")
    return announced.split()[-1]


def _wait_until_ready(client: httpx.Client) -> None:
    while client.get("/readyz").status_code != 200:
        time.sleep(0.02)


def _wait_until_idle(client: httpx.Client) -> None:
    """Wait until all runs and experiments have ended."""
    until = time.monotonic() + MAX_SECONDS
    while time.monotonic() < until:
        work = [*read_all(client, "/v1/runs"), *read_all(client, "/v1/experiments")]
        if all(one["state"] in ENDED for one in work):
            return
        time.sleep(0.2)
    raise RuntimeError(f"the work has not ended after {MAX_SECONDS} s")
