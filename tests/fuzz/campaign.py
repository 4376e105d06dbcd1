"""``Campaign``: cases that are sent to a server, and what must hold for it.

The server lives, answers every case, and answers none with a status of 500 or more, except those
that refuse for lack of room or time. It leaves no files. In the end its memory, its descriptors and
its processes are about those of the beginning.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pyarrow as pa

from energy_flow.client import FlowClient
from tests.fuzz.formats import Case, make_case
from tests.support.bodies import parquet
from tests.support.live_server import TINY_FLAGS, LiveServer, live_server
from tests.support.servers import rows, wait_until_ended
from tests.support.waits import LIMIT_SECONDS, until

MEBIBYTE = 2**20

FLAGS = (
    *TINY_FLAGS,
    *("--max-body-bytes", str(2 * MEBIBYTE), "--max-upload-bytes", str(8 * MEBIBYTE)),
    *("--max-queued-flow-steps", "2000000", "--parser-seconds", "60"),
)
REFUSALS = (429, 503, 504, 507)
"""Statuses from 429 on that refuse for lack of room or time."""

WARM_UP = 50
"""Cases after which memory is looked at for the first time, and then after twice as many each time.

The end is compared with the last time in the first half. Pools and caches grow with the largest
cases, of which later ones are rarely larger; a leak also grows in the second half.
"""

SPARE_BYTES = 96 * MEBIBYTE
"""By how much memory may grow; the allocator keeps some of what was freed."""

SPARE_DESCRIPTORS = 12
"""By how many descriptors may grow: connections to the database are kept."""

SETTLED_SECONDS = 60.0
"""Time in which files, descriptors and processes are to be as before."""


@dataclass(frozen=True, slots=True)
class Size:
    """What a server takes.

    Attributes:
        bytes: resident memory of its process.
        descriptors: open descriptors of its process.
        children: number of its parser processes.
    """

    bytes: int
    descriptors: int
    children: int

    @classmethod
    def of(cls, server: LiveServer) -> Size:
        """Return the size of a server now."""
        process = psutil.Process(server.process.pid)
        return cls(process.memory_info().rss, process.num_fds(), len(process.children()))


@dataclass
class Report:
    """What has happened.

    Attributes:
        cases: number of cases.
        statuses: number of answers by status.
        faults: what should not have happened, by case.
        before: size of the server after a quarter of the cases or more, half of them at most.
        after: size of the server in the end.
        ended_parsers: number of parser processes that ended on a file.
    """

    cases: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    before: Size | None = None
    after: Size | None = None
    ended_parsers: int = 0

    def lines(self) -> Iterator[str]:
        """Yield the report as text."""
        yield f"{self.cases} cases; answers: {dict(sorted(self.statuses.items()))}"
        yield f"parser processes that ended on a file: {self.ended_parsers}"
        for when, size in (("beginning", self.before), ("end", self.after)):
            if size is not None:
                yield (
                    f"{when}: {size.bytes / MEBIBYTE:.0f} MiB, {size.descriptors} descriptors, "
                    f"{size.children} parser processes"
                )
        yield from self.faults


class Campaign:
    """Cases that are sent to a server.

    Args:
        server: a server with :data:`FLAGS`.
        data_dir: its data directory.
    """

    def __init__(self, server: LiveServer, data_dir: Path) -> None:
        self._server = server
        self._data_dir = data_dir
        self._client = self._connect()
        self._run = self._store()
        self._files = self._stored()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def run(
        self,
        name: str,
        seed: int,
        cases: int | None = None,
        seconds: float | None = None,
        first: int = 0,
    ) -> Report:
        """Send cases until there are enough, the time is over, or the server has ended.

        Args:
            name: name of the format.
            seed: seed of the cases.
            cases: how many; no limit by default.
            seconds: for how long; no limit by default.
            first: number of the first case.
        """
        report = Report()
        log_start = self._server.log.stat().st_size
        sizes: dict[int, Size] = {}
        next_size = WARM_UP
        until_time = None if seconds is None else time.monotonic() + seconds
        while cases is None or report.cases < cases:
            if until_time is not None and time.monotonic() > until_time:
                break
            number = first + report.cases
            case = make_case(name, seed, number)
            fault = self._send(case, report.statuses)
            report.cases += 1
            if fault is not None:
                request = f"{case.method} {case.path[:100]}, {len(case.body)} bytes"
                report.faults.append(f"case {number} of {name}, seed {seed}: {fault} ({request})")
            if self._server.process.poll() is not None:
                report.faults.append(f"the server ended: {self._server.process.returncode}")
                return report
            if report.cases == next_size:
                sizes[report.cases] = Size.of(self._server)
                next_size *= 2
        in_first_half = [count for count in sizes if 2 * count <= report.cases]
        report.before = sizes[max(in_first_half)] if in_first_half else None
        report.faults += self._check_end(report)
        with self._server.log.open("rb") as log:
            log.seek(log_start)
            text = log.read().decode(errors="replace")
        report.ended_parsers = text.count("a parser process ended on")
        return report

    def _send(self, case: Case, statuses: Counter[int]) -> str | None:
        """Send a case, remove what it has made, and return what is wrong with its answer."""
        try:
            answer = self._client.request(
                case.method,
                case.path.replace("{run}", self._run),
                content=case.content(),
                headers=case.headers,
            )
        except httpx.HTTPError as error:
            self._client.close()
            self._client = self._connect()
            # A server may close the connection of a body that it does not read to its end.
            return None if isinstance(error, httpx.WriteError) else f"no answer: {error!r}"
        statuses[answer.status_code] += 1
        if answer.status_code < 300 and case.method != "GET":
            self._remove(case.path, answer)
        if answer.status_code >= 500 and answer.status_code not in REFUSALS:
            return f"{answer.status_code} {answer.text[:300]}"
        return None

    def _remove(self, path: str, answer: httpx.Response) -> None:
        if path.startswith("/v1/experiments"):
            experiment = f"/v1/experiments/{answer.json()['experiment_id']}"
            self._client.post(f"{experiment}/cancel")
            until(lambda: self._client.delete(experiment).status_code == 204)
        elif path.startswith(("/v1/datasets", "/v1/models")):
            folder = "/".join(path.split("/")[:3])
            self._client.delete(f"{folder}/{answer.json()['name']}").raise_for_status()

    def _remove_runs(self) -> None:
        """Remove the runs that cases have left, as they may."""
        while True:
            runs = self._client.get("/v1/runs", params={"limit": 1000}).json()["items"]
            others = [run["run_id"] for run in runs if run["run_id"] != self._run]
            if not others:
                return
            for run_id in others:
                self._client.delete(f"/v1/runs/{run_id}").raise_for_status()

    def _check_end(self, report: Report) -> Iterator[str]:
        self._client.close()
        self._client = self._connect()
        if self._client.get("/readyz").status_code != 200:
            yield "the server is not ready"
        simulated = self._client.post(
            "/v1/simulate", json={"embeddings": rows().tolist(), "store": False}
        )
        if simulated.status_code != 200:
            yield f"a good request is refused: {simulated.text}"
        self._remove_runs()
        try:
            until(lambda: self._stored() == self._files, SETTLED_SECONDS)
        except AssertionError:
            yield f"files are left: {sorted(self._stored() ^ self._files)}"
        report.after = after = Size.of(self._server)
        before = report.before
        if before is not None:
            if after.bytes > before.bytes + SPARE_BYTES:
                yield "the memory has grown"
            if after.descriptors > before.descriptors + SPARE_DESCRIPTORS:
                yield "there are more descriptors"
            if after.children > max(before.children, 1):
                yield "there are more processes"

    def _connect(self) -> httpx.Client:
        return httpx.Client(base_url=self._server.url, timeout=LIMIT_SECONDS)

    def _store(self) -> str:
        """Store a run and a dataset, and return the id of the run."""
        body = parquet(pa.table({"inputs": rows(6).tolist()}))
        self._client.put("/v1/datasets/words?format=parquet", content=body).raise_for_status()
        with FlowClient(self._server.url) as client:
            run = client.submit_run(rows(3), trace={"keep": "lossless"})
        wait_until_ended(self._client, run.run_id)
        return run.run_id

    def _stored(self) -> set[Path]:
        """Return the files of the data directory, without the database's own."""
        return {
            path
            for path in self._data_dir.rglob("*")
            if path.is_file() and not path.name.startswith("index.sqlite3")
        }


@contextmanager
def started_campaign(folder: Path) -> Iterator[Campaign]:
    """Start a server for campaigns, until the end of the block."""
    with live_server(folder, FLAGS) as server:
        campaign = Campaign(server, folder / "data")
        try:
            yield campaign
        finally:
            campaign.close()
