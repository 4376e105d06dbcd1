"""Runs whose end cannot be stored at once keep the samples that had ended."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from tests.support.command_line import Caller
from tests.support.damage import DAMAGES, HEADER_CHANGES, Damage, flip
from tests.support.disks import fill, mounted
from tests.support.experiments import experiment_server
from tests.support.live_server import TRACED_OPTIONS
from tests.support.servers import (
    RunningServer,
    count_done,
    find_leftovers,
    queue_npy,
    rows,
    serving,
    wait_until_ended,
)
from tests.support.stored_rows import change_rows
from tests.support.waits import until

pytestmark = pytest.mark.slow

SAMPLES = 300

OPTIONS = orjson.dumps({**TRACED_OPTIONS, "trace": {"capacity": 64}}).decode()

OUTPUTS = ("surface", "hits")


def queue_traced(client: httpx.Client, count: int = SAMPLES) -> str:
    """Queue a run of several chunks with records."""
    return queue_npy(client, count, outputs=",".join(OUTPUTS), options=OPTIONS)


def run_chunks(server: RunningServer, engine: Any, run_id: str, chunks: int) -> None:
    """Let a held engine run until so many chunks of a run are stored."""
    parts = server.data_dir / "runs" / run_id / "trace"
    engine.run_until(lambda: len(list(parts.glob("*.parquet"))) >= chunks)
    until(lambda: count_listed(server.client, run_id) == count_done(server.client, run_id))


def count_listed(client: httpx.Client, run_id: str) -> int:
    return len(client.get(f"/v1/runs/{run_id}/samples?limit=1000").json()["items"])


def read_records(client: httpx.Client, run_id: str) -> list[Any]:
    answer = client.get(f"/v1/runs/{run_id}/trace?format=ndjson")
    assert answer.status_code == 200, answer.text
    return [orjson.loads(line) for line in answer.text.splitlines()]


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """What a run of the same samples has that nothing interrupted."""

    outputs: dict[str, list[Any]]
    records: list[Any]

    def check(self, client: httpx.Client, run: dict[str, Any]) -> None:
        """Compare a run that ended early with it."""
        done = run["progress"]["samples_done"]
        url = f"/v1/runs/{run['run_id']}"
        assert done > 0
        for name, expected in self.outputs.items():
            answer = client.get(f"{url}/outputs/{name}")
            assert answer.status_code == 200, answer.text
            assert answer.json()["data"] == expected[:done]
        found = read_records(client, run["run_id"])
        assert found == [record for record in self.records if record["sample"] < done]
        assert len(found) == sum(run["trace"]["recorded"].values())
        for path in ("/memory", "/profile", "/inputs"):
            assert client.get(url + path).status_code == 200


@dataclass(frozen=True, slots=True)
class Crashed:
    """A data directory as a crash leaves it in the middle of a run.

    Attributes:
        data_dir: The directory.
        run_id: Id of the run.
        samples: Its stored samples.
        undisturbed: The same run without the crash.
    """

    data_dir: Path
    run_id: str
    samples: int
    undisturbed: Undisturbed

    def copy(self, to: Path) -> Path:
        """Return the folder of the run in a copy of the directory."""
        shutil.copytree(self.data_dir, to)
        return to / "runs" / self.run_id


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crashed]:
    folder = tmp_path_factory.mktemp("crashed")
    with experiment_server(folder / "live") as server:
        client = server.client
        with server.engine_held() as engine:
            run_id = queue_traced(client)
            run_chunks(server, engine, run_id, 4)
            samples = count_listed(client, run_id)
            shutil.copytree(folder / "live", folder / "data")
        run = wait_until_ended(client, run_id)
        assert run["state"] == "succeeded"
        assert samples < SAMPLES
        url = f"/v1/runs/{run_id}/outputs"
        outputs = {name: client.get(f"{url}/{name}").json()["data"] for name in OUTPUTS}
        yield Crashed(
            folder / "data", run_id, samples, Undisturbed(outputs, read_records(client, run_id))
        )


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Return the folder of a small file system."""
    with mounted(tmp_path / "disk", "8m") as path:
        yield path


def leave_free(path: Path, free: int) -> None:
    """Write a file until its disk has only so many bytes left."""
    fill(path)
    os.truncate(path, path.stat().st_size - free)


@pytest.mark.sqlite
@pytest.mark.parametrize("free", [0, 100_000, 300_000])
def test_a_start_on_a_full_disk_keeps_an_interrupted_run(
    crashed: Crashed, disk: Path, free: int
) -> None:
    data_dir, filler = disk / "data", disk / "filler"
    crashed.copy(data_dir)
    url = f"/v1/runs/{crashed.run_id}"
    leave_free(filler, free)
    for _ in range(2):
        with serving(data_dir) as server:
            check_kept(server.client, crashed)
    with serving(data_dir) as server:
        client = server.client
        check_kept(client, crashed)
        filler.unlink()
        run = until(lambda: find_complete(client, crashed.run_id))
        assert run["state"] == "failed"
        crashed.undisturbed.check(client, run)
        assert find_leftovers(data_dir) == [crashed.run_id]
        assert client.delete(url).status_code == 204


def check_kept(client: httpx.Client, crashed: Crashed) -> None:
    """Check a run whose files may not be complete yet."""
    url = f"/v1/runs/{crashed.run_id}"
    run = client.get(url).json()
    assert run["state"] == "failed"
    assert "interrupted by a restart" in run["error"]["detail"]
    assert run["progress"]["samples_done"] == crashed.samples
    assert count_listed(client, crashed.run_id) == crashed.samples
    assert len(read_records(client, crashed.run_id)) == sum(run["trace"]["recorded"].values())
    answer = client.get(f"{url}/outputs/surface")
    assert answer.status_code in (200, 507)
    if answer.status_code == 507:
        assert "free some" in answer.json()["detail"]


def find_complete(client: httpx.Client, run_id: str) -> dict[str, Any] | None:
    """Return a run once its files are complete."""
    run: dict[str, Any] = client.get(f"/v1/runs/{run_id}").json()
    return run if run["ended_at"] else None


@pytest.mark.sqlite
def test_a_queued_run_that_meets_a_full_disk_keeps_its_samples(
    crashed: Crashed, disk: Path
) -> None:
    data_dir, filler = disk / "data", disk / "filler"
    with experiment_server(data_dir) as server:
        client = server.client
        with server.engine_held() as engine:
            run_id = queue_traced(client)
            run_chunks(server, engine, run_id, 3)
            stored = count_listed(client, run_id)
            fill(filler)
        run = wait_until_ended(client, run_id)
        assert (run["state"], run["error"]["status"]) == ("failed", 507)
        assert "kept" in run["error"]["detail"]
        assert stored <= run["progress"]["samples_done"] < SAMPLES
        assert count_listed(client, run_id) == run["progress"]["samples_done"]
        assert client.get("/readyz").status_code == 200
        filler.unlink()
        run = until(lambda: find_complete(client, run_id))
        assert (run["state"], run["error"]["status"]) == ("failed", 507)
        crashed.undisturbed.check(client, run)
        # Its events have ended as its row says.
        assert '"failed"' in client.get(f"/v1/runs/{run_id}/events").text
        again = client.post("/v1/simulate", json={"embeddings": rows().tolist()})
        assert again.status_code == 200


@pytest.mark.sqlite
def test_a_run_that_waits_for_room_can_be_deleted(crashed: Crashed, disk: Path) -> None:
    data_dir, filler = disk / "data", disk / "filler"
    crashed.copy(data_dir)
    (data_dir / "reserve").unlink()
    # Enough for a start, and for nothing else.
    leave_free(filler, 24_000)
    with serving(data_dir) as server:
        client = server.client
        run = client.get(f"/v1/runs/{crashed.run_id}").json()
        assert (run["ended_at"], run["bytes"]) == (None, 0)
        assert count_listed(client, crashed.run_id) == crashed.samples
        refused = client.get(f"/v1/runs/{crashed.run_id}/outputs/surface")
        assert refused.status_code == 507
        assert "free some" in refused.json()["detail"]
        assert client.delete(f"/v1/runs/{crashed.run_id}").status_code == 204
        assert client.get(f"/v1/runs/{crashed.run_id}").status_code == 404
        assert find_leftovers(data_dir) == []
        assert client.get("/v1/system").json()["store"]["ended_runs_bytes"] == 0


@pytest.mark.sqlite
@pytest.mark.parametrize("damage", [one for one in DAMAGES.values() if one is not flip])
def test_a_damaged_part_of_the_trace_does_not_take_the_rest_with_it(
    crashed: Crashed, tmp_path: Path, damage: Damage, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = crashed.copy(tmp_path / "data")
    parts = sorted((folder / "trace").iterdir())
    part, first = parts[1], int(parts[1].stem)
    sound = part.read_bytes()
    file = f"runs/{crashed.run_id}/trace/{part.name}"
    damage(part)
    url = f"/v1/runs/{crashed.run_id}"
    with serving(tmp_path / "data") as server:
        client = server.client
        run = client.get(url).json()
        assert (run["state"], run["error"]["status"]) == ("failed", 503)
        assert run["progress"]["samples_done"] == crashed.samples
        for name, expected in crashed.undisturbed.outputs.items():
            found = client.get(f"{url}/outputs/{name}").json()["data"]
            assert found == expected[: crashed.samples]
        for query in ("", "?format=ndjson", "?limit=100000", f"?sample={first}"):
            answer = client.get(f"{url}/trace{query}")
            assert answer.status_code == 409, (query, answer.text)
            assert answer.json()["file"] == file
        assert client.post(f"{url}/replay", json={"sample": first}).status_code == 409
        for sample in (first - 1, int(parts[2].stem)):
            answer = client.get(f"{url}/trace?format=ndjson&sample={sample}")
            assert answer.status_code == 200
            records = [orjson.loads(line) for line in answer.text.splitlines()]
            assert records == [
                record for record in crashed.undisturbed.records if record["sample"] == sample
            ]
            replay = client.post(f"{url}/replay", json={"sample": sample})
            assert replay.json()["agrees"] is True
        found = Caller(capsys)("data", "verify", "--data-dir", tmp_path / "data", "--json")
        assert found.returncode == 1
        report = orjson.loads(found.stdout)
        assert [finding["file"] for finding in report["findings"]] == [file]
    part.write_bytes(sound)
    with serving(tmp_path / "data") as server:
        crashed.undisturbed.check(server.client, server.client.get(url).json())
        assert server.client.get(f"{url}/trace").status_code == 200


@pytest.mark.sqlite
def test_a_lost_output_does_not_take_the_rest_with_it(crashed: Crashed, tmp_path: Path) -> None:
    folder = crashed.copy(tmp_path / "data")
    (folder / "hits.npy.part").unlink()
    url = f"/v1/runs/{crashed.run_id}/outputs"
    with serving(tmp_path / "data") as server:
        answer = server.client.get(f"{url}/hits")
        assert answer.status_code == 409
        assert answer.json()["file"] == f"runs/{crashed.run_id}/hits.npy"
        surface = server.client.get(f"{url}/surface").json()["data"]
        assert surface == crashed.undisturbed.outputs["surface"][: crashed.samples]


@pytest.mark.sqlite
@pytest.mark.parametrize("name", ["other numbers", "other axes", "vast rows"])
def test_an_output_with_a_changed_header_does_not_take_the_rest_with_it(
    crashed: Crashed, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data_dir = tmp_path / "data"
    part = crashed.copy(data_dir) / "surface.npy.part"
    HEADER_CHANGES[name](part)
    verify = ("data", "verify", "--data-dir", data_dir, "--json")
    (finding,) = orjson.loads(Caller(capsys)(*verify).stdout)["findings"]
    assert finding["file"] == f"runs/{crashed.run_id}/{part.name}"
    url = f"/v1/runs/{crashed.run_id}"
    file = f"runs/{crashed.run_id}/surface.npy"
    with serving(data_dir) as server:
        client = server.client
        run = client.get(url).json()
        assert (run["state"], run["progress"]["samples_done"]) == ("failed", crashed.samples)
        for path in ("/outputs/surface", "/outputs/surface?format=npy&sample=0"):
            refused = client.get(url + path)
            assert (refused.status_code, refused.json()["file"]) == (409, file)
        hits = client.get(f"{url}/outputs/hits").json()["data"]
        assert hits == crashed.undisturbed.outputs["hits"][: crashed.samples]
    (finding,) = orjson.loads(Caller(capsys)(*verify).stdout)["findings"]
    assert finding["file"] == file


@pytest.mark.sqlite
@pytest.mark.parametrize("intact", [0, 2])
def test_samples_before_a_line_of_another_form_are_kept(
    crashed: Crashed, tmp_path: Path, intact: int
) -> None:
    chunks = crashed.copy(tmp_path / "data") / "chunks.jsonl"
    lines = chunks.read_bytes().splitlines(keepends=True)
    kept = sum(len(orjson.loads(line)["samples"]) for line in lines[:intact])
    lines[intact] = b'{"samples":[1,2]}\n'
    chunks.write_bytes(b"".join(lines))
    with serving(tmp_path / "data") as server:
        run = server.client.get(f"/v1/runs/{crashed.run_id}").json()
        assert run["progress"]["samples_done"] == kept
        assert count_listed(server.client, crashed.run_id) == kept
        if kept:
            crashed.undisturbed.check(server.client, run)


@pytest.mark.sqlite
def test_a_run_whose_folder_is_lost_has_failed(crashed: Crashed, tmp_path: Path) -> None:
    shutil.rmtree(crashed.copy(tmp_path / "data"))
    with serving(tmp_path / "data") as server:
        run = server.client.get(f"/v1/runs/{crashed.run_id}").json()
        assert (run["state"], run["progress"]["samples_done"]) == ("failed", 0)
        assert run["ended_at"] is not None
        assert server.client.delete(f"/v1/runs/{crashed.run_id}").status_code == 204


def test_the_oldest_run_goes_first_after_the_clock_was_set_back(tmp_path: Path) -> None:
    body = {"embeddings": rows(2).tolist()}
    with serving(tmp_path, keep_runs_bytes=40_000) as server:
        client = server.client
        ids = [client.post("/v1/simulate", json=body).json()["run_id"] for _ in range(3)]
        change_rows(tmp_path, "runs", where={"run_id": ids[2]}, ended_at=1.0)
        while ids[0] in (kept := [run["run_id"] for run in client.get("/v1/runs").json()["items"]]):
            ids.append(client.post("/v1/simulate", json=body).json()["run_id"])
        assert kept == ids[:0:-1]
