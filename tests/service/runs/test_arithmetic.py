"""Runs of another version: what their replays and comparisons state."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import pytest

from energy_flow.choices import Precision, arithmetic_of
from energy_flow.trace.batches import columns_of
from energy_flow.trace.reader import read_batches
from tests.support.servers import RunningServer, queue, rows, serving, wait_until_ended
from tests.support.stored_rows import change_rows

OWN = arithmetic_of(Precision.FLOAT32)
"""Arithmetic of the tiny model in this version."""
OTHER = OWN + 1
OPTIONS = {"noise_std": 0.3, "max_steps": 6, "convergence.enabled": False}


def read_run(client: httpx.Client, run_id: str) -> dict[str, Any]:
    run: dict[str, Any] = client.get(f"/v1/runs/{run_id}").json()
    return run


def replay(client: httpx.Client, run_id: str) -> dict[str, Any]:
    answer = client.post(f"/v1/runs/{run_id}/replay", json={"sample": 1})
    assert answer.status_code == 200, answer.text
    replayed: dict[str, Any] = answer.json()
    return replayed


def compare(client: httpx.Client, one: str, other: str) -> dict[str, Any]:
    answer = client.get(f"/v1/runs/{one}/compare/{other}")
    assert answer.status_code == 200, answer.text
    compared: dict[str, Any] = answer.json()
    return compared


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("upgraded")


@pytest.fixture(scope="module")
def earlier(data_dir: Path) -> list[str]:
    """Return two equal runs of another version, whose server has stopped."""
    with serving(data_dir) as server:
        runs = [queue(server.client, 3, options=OPTIONS, seed=5) for _ in range(2)]
        for run_id in runs:
            assert wait_until_ended(server.client, run_id)["state"] == "succeeded"
    change_rows(data_dir, "runs", version="9.8.7", arithmetic=OTHER)
    return runs


@pytest.fixture(scope="module")
def upgraded(data_dir: Path, earlier: list[str]) -> Iterator[RunningServer]:
    assert earlier
    with serving(data_dir) as server:
        yield server


def test_a_run_has_its_version_and_arithmetic(client: httpx.Client) -> None:
    queued = queue(client, 2)
    answer = client.post("/v1/simulate", json={"embeddings": rows().tolist()})
    for run_id in (queued, answer.json()["run_id"]):
        wait_until_ended(client, run_id)
        run = read_run(client, run_id)
        assert (run["version"], run["arithmetic"]) == (version("energy-flow"), OWN)
    assert {"version", "arithmetic"} <= set(client.get("/v1/runs").json()["items"][0])
    assert replay(client, queued)["note"] is None


def test_a_replay_of_another_arithmetic_states_both(
    upgraded: RunningServer, earlier: list[str]
) -> None:
    client, run_id = upgraded.client, earlier[0]
    assert read_run(client, run_id)["version"] == "9.8.7"
    note = (
        f"computed by version 9.8.7, arithmetic {OTHER}; this server computes with arithmetic "
        f"{OWN}, so bits can differ"
    )
    replayed = replay(client, run_id)
    # Only the number of this run is another one; its bits are those of this version.
    assert (replayed["agrees"], replayed["difference"], replayed["note"]) == (True, None, note)


def test_a_mismatch_of_another_arithmetic_is_no_difference(tmp_path: Path) -> None:
    from energy_flow.trace.formats.parquet import write_parquet

    class Trace:
        """Records that another version has stored."""

    with serving(tmp_path) as server:
        run_id = queue(server.client, 2, options=OPTIONS)
        wait_until_ended(server.client, run_id)
    path = tmp_path / "runs" / run_id / "trace.parquet"
    trace = Trace()
    trace.columns = columns_of(read_batches([path]))  # type: ignore[attr-defined]
    trace.columns["energy"] += 1e-3  # type: ignore[attr-defined]
    write_parquet(trace, path)  # type: ignore[arg-type]
    change_rows(tmp_path, "runs", digests=None)
    with serving(tmp_path) as server:
        replayed = replay(server.client, run_id)
        assert (replayed["agrees"], replayed["note"]) == (False, None)
        assert replayed["difference"] is not None
    change_rows(tmp_path, "runs", version=None, arithmetic=OTHER)
    with serving(tmp_path) as server:
        replayed = replay(server.client, run_id)
        assert (replayed["agrees"], replayed["difference"]) == (False, None)
        assert replayed["note"].startswith(
            f"computed by an unknown version, arithmetic {OTHER}; this server"
        )


def test_a_comparison_of_different_arithmetics_states_both(
    upgraded: RunningServer, earlier: list[str]
) -> None:
    client = upgraded.client
    assert compare(client, *earlier)["note"] is None
    run_id = queue(client, 3, options=OPTIONS, seed=5)
    wait_until_ended(client, run_id)
    installed = version("energy-flow")
    assert compare(client, earlier[0], run_id)["note"] == (
        f"run a was computed by version 9.8.7, arithmetic {OTHER}, "
        f"run b by version {installed}, arithmetic {OWN}, so bits can differ"
    )
    swapped = compare(client, run_id, earlier[0])["note"]
    assert swapped.startswith(f"run a was computed by version {installed}, arithmetic {OWN},")


def test_a_queued_run_is_of_the_version_that_computes_it(tmp_path: Path) -> None:
    with serving(tmp_path) as first, first.engine_held():
        run_id = queue(first.client, 3, options=OPTIONS)
        first.stop_while_held()
    change_rows(tmp_path, "runs", version="9.8.7", arithmetic=OTHER)
    with serving(tmp_path) as second:
        run = wait_until_ended(second.client, run_id)
        assert run["state"] == "succeeded"
        assert (run["version"], run["arithmetic"]) == (version("energy-flow"), OWN)
        replayed = replay(second.client, run_id)
        assert (replayed["agrees"], replayed["note"]) == (True, None)
