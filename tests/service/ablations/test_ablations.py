"""Ablations of a server: their states, results and refusals, beside runs."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import Any

import httpx
import numpy as np
import pytest
from safetensors.numpy import save

from energy_flow import FlowProcessor
from energy_flow.ablation import ablate, bootstrap
from energy_flow.choices import Ablation
from energy_flow.testing import tiny_config
from energy_flow.training.data import Pairs
from service.ablations.ablations import MAX_KEPT
from tests.support.bodies import NPY, npy
from tests.support.pairs import put_pairs
from tests.support.servers import RunningServer, queue, rows, serving, wait_until_ended
from tests.support.waits import LIMIT_SECONDS, until

QUIET = {"noise_std": 0.0, "spawn.mode": "off"}
ENDED = ("succeeded", "failed", "cancelled")
PATH = "/v1/models/default/ablations"


@pytest.fixture(scope="module")
def client(server: RunningServer) -> httpx.Client:
    put_pairs(server.client, "pairs", 12)
    return server.client


def start(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    """Start an ablation and return the answer."""
    body = {"dataset": "pairs", "resamples": 100, **fields}
    answer = client.post(PATH, json=body)
    assert answer.status_code == 202, answer.text
    ablation: dict[str, Any] = answer.json()
    assert answer.headers["Location"] == ablation["url"]
    return ablation


def wait_for(client: httpx.Client, ablation: dict[str, Any], *states: str) -> dict[str, Any]:
    """Wait until an ablation is in one of the states, and return it."""

    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = client.get(ablation["url"]).json()
        return found if found["state"] in states else None

    return until(look)


def refuse(client: httpx.Client, status: int, **fields: Any) -> dict[str, Any]:
    """Send a request that is refused, and return the problem."""
    answer = client.post(PATH, json={"dataset": "pairs", **fields})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    return problem


def test_an_ablation_has_the_figures_of_the_library(client: httpx.Client) -> None:
    queued = start(client, rows=[2, 9], options=QUIET)
    assert queued["state"] in ("queued", "running")
    # Without noise and spawning, four parts are left.
    assert (queued["done"], queued["total"], queued["result"]) == (0, 7 * 5, None)
    assert queued["dataset"]["rows"] == [2, 9]
    assert queued["options"] == QUIET
    ended = wait_for(client, queued, *ENDED)
    assert ended["state"] == "succeeded"
    assert (ended["done"], ended["current"], ended["error"]) == (ended["total"], None, None)
    data = Pairs.of(rows(12), rows(12, 1)).take(np.arange(2, 9))
    processor = FlowProcessor(tiny_config())
    expected = ablate(processor, data, config=processor.config.with_options(QUIET), resamples=100)
    assert ended["model"]["digest"] == processor.digest()
    assert ended["result"] == expected.to_dict()
    again = wait_for(client, start(client, rows=[2, 9], options=QUIET), *ENDED)
    assert again["result"] == ended["result"]


def test_ablations_are_listed_newest_first_in_pages(client: httpx.Client) -> None:
    started = [start(client)["ablation_id"] for _ in range(3)]
    first = client.get(PATH, params={"limit": 2}).json()
    assert [one["ablation_id"] for one in first["items"]] == [started[2], started[1]]
    rest = client.get(PATH, params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert rest["items"][0]["ablation_id"] == started[0]
    assert client.get(PATH, params={"cursor": "nonsense"}).status_code == 422
    client.post("/v1/models", json={"name": "without-ablations"}).raise_for_status()
    assert client.get("/v1/models/without-ablations/ablations").json() == {
        "items": [],
        "next_cursor": None,
    }
    assert client.get(f"/v1/models/without-ablations/ablations/{started[0]}").status_code == 404


def test_runs_beside_an_ablation_have_the_same_bits(client: httpx.Client) -> None:
    def surface(run_id: str) -> bytes:
        assert wait_until_ended(client, run_id)["state"] == "succeeded"
        return client.get(f"/v1/runs/{run_id}/outputs/surface?format=npy").content

    alone = surface(queue(client, 40, seed=3))
    ablation = start(client, resamples=10_000)
    beside = surface(queue(client, 40, seed=3))
    assert beside == alone
    assert wait_for(client, ablation, *ENDED)["state"] == "succeeded"


def test_an_ablation_is_cancelled_and_then_removed(
    server: RunningServer, client: httpx.Client
) -> None:
    with server.engine_held():
        ablation = start(client)
        wait_for(client, ablation, "running")
        cancelled = client.delete(ablation["url"])
        assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
        assert cancelled.json()["ended_at"] is not None
    assert client.get(ablation["url"]).json()["state"] == "cancelled"
    assert client.delete(ablation["url"]).status_code == 204
    assert client.get(ablation["url"]).status_code == 404
    assert client.delete(ablation["url"]).status_code == 404


class HeldIntervals:
    """Intervals that are computed up to a place, and go on from there at the end of the block.

    Attributes:
        blocks: how often resamples have been computed.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.blocks = 0
        self._begun, self._go_on = Event(), Event()
        evaluate = bootstrap._evaluate

        def hold(*arguments: Any) -> Any:
            self.blocks += 1
            if self.blocks == 3:
                self._begun.set()
                self._go_on.wait(LIMIT_SECONDS)
            return evaluate(*arguments)

        monkeypatch.setattr(bootstrap, "_evaluate", hold)

    def wait(self) -> None:
        """Wait until they are held."""
        assert self._begun.wait(LIMIT_SECONDS)

    def __enter__(self) -> HeldIntervals:
        return self

    def __exit__(self, *error: object) -> None:
        self._go_on.set()


def test_a_cancellation_stops_the_intervals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(tmp_path) as running, HeldIntervals(monkeypatch) as intervals:
        client = running.client
        put_pairs(client, "pairs", 12)
        ablation = start(client, resamples=10_000)
        intervals.wait()
        shown = client.get(ablation["url"]).json()
        assert (shown["state"], shown["done"]) == ("running", shown["total"])
        assert shown["current"] is None
        assert client.delete(ablation["url"]).json()["state"] == "cancelled"
    # The server has waited for its threads.
    assert intervals.blocks == 3


def test_the_intervals_stop_with_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(tmp_path) as running:
        with HeldIntervals(monkeypatch) as intervals:
            put_pairs(running.client, "pairs", 12)
            started = start(running.client, resamples=10_000)
            ablation = running.server.service.ablations.find("default", started["ablation_id"])
            intervals.wait()
            running.server.request_stop()
            until(lambda: ablation.is_ended)
        running.stop()
    assert intervals.blocks == 3
    assert ablation.state == "failed"
    assert ablation.problem is not None
    assert ablation.problem.status == 503
    assert "the server stopped" in ablation.problem.detail


def test_ablations_of_an_earlier_model_of_the_name_are_not_listed(client: httpx.Client) -> None:
    path = "/v1/models/replaced/ablations"

    def make(seed: int) -> str:
        config = tiny_config(model_seed=seed).to_dict()
        answer = client.post("/v1/models", json={"name": "replaced", "config": config})
        digest: str = answer.raise_for_status().json()["digest"]
        return digest

    def measure() -> dict[str, Any]:
        answer = client.post(path, json={"dataset": "pairs", "resamples": 100})
        return wait_for(client, answer.raise_for_status().json(), *ENDED)

    def list_ids() -> list[str]:
        items = client.get(path).raise_for_status().json()["items"]
        return [one["ablation_id"] for one in items]

    digest = make(5)
    earlier = measure()
    assert earlier["model"]["digest"] == digest
    client.delete("/v1/models/replaced").raise_for_status()
    assert client.get(path).status_code == 404
    assert client.get(earlier["url"]).json() == earlier
    make(6)
    assert list_ids() == []
    later = measure()
    assert list_ids() == [later["ablation_id"]]
    assert client.get(earlier["url"]).json() == earlier
    assert later["model"]["digest"] != digest
    # The weights of the earlier one are those of the name again.
    client.delete("/v1/models/replaced").raise_for_status()
    make(5)
    assert list_ids() == [earlier["ablation_id"]]
    assert client.delete(earlier["url"]).status_code == 204
    assert client.get(earlier["url"]).status_code == 404


def test_two_ablations_run_at_a_time(server: RunningServer, client: httpx.Client) -> None:
    with server.engine_held():
        ablations = [start(client) for _ in range(3)]
        for ablation in ablations[:2]:
            wait_for(client, ablation, "running")
        assert client.get(ablations[2]["url"]).json()["state"] == "queued"
        # A queued one is cancelled as well, and its turn goes to the next.
        client.delete(ablations[0]["url"]).raise_for_status()
        wait_for(client, ablations[2], "running")
    for ablation in ablations[1:]:
        assert wait_for(client, ablation, *ENDED)["state"] == "succeeded"


def test_a_running_ablation_shows_its_progress(server: RunningServer, client: httpx.Client) -> None:
    put_pairs(client, "many", 500)
    seen = set()
    with server.engine_held() as held:
        ablation = start(client, dataset="many", rows=[0, 500])
        wait_for(client, ablation, "running")
        while (shown := client.get(ablation["url"]).json())["state"] == "running":
            seen.add(shown["current"])
            assert 0 <= shown["done"] <= shown["total"]
            if shown["done"] > 0 and shown["current"] is not None:
                break
            held.run_round()
    assert seen & {part.value for part in Ablation}
    client.delete(ablation["url"])


def test_datasets_that_do_not_suit_the_model_are_refused(client: httpx.Client) -> None:
    client.put("/v1/datasets/bare", content=npy(rows(4)), headers=NPY).raise_for_status()
    problem = refuse(client, 422, dataset="bare")
    assert problem["errors"][0]["loc"] == ["dataset"]
    assert "has no targets" in problem["detail"]
    wide = save({"inputs": np.ones((4, 3), np.float32), "targets": np.ones((4, 5), np.float32)})
    client.put("/v1/datasets/wide?format=safetensors", content=wide).raise_for_status()
    faults = refuse(client, 422, dataset="wide")["errors"]
    inputs, targets = (fault["msg"] for fault in faults)
    assert inputs.startswith("embeddings have 3 numbers, the model 'default' takes 8; ")
    assert targets == "has targets of 5 numbers, but the model 'default' returns 8"


@pytest.mark.parametrize(
    ("fields", "loc"),
    [
        ({"rows": [0, 13]}, ["rows"]),
        ({"rows": [5, 5]}, ["rows"]),
        ({"rows": [5, 6]}, ["rows"]),
        ({"rows": [-1, 4]}, ["rows"]),
        ({"rows": [1]}, ["rows"]),
        ({"resamples": 99}, ["resamples"]),
        ({"resamples": 10_001}, ["resamples"]),
        ({"options": {"nonsense": 1}}, ["options", "nonsense"]),
        ({"options": {"lattice_width": 8}}, ["options", "lattice_width"]),
        ({"metric": "r2"}, ["metric"]),
    ],
)
def test_faults_are_reported(client: httpx.Client, fields: dict[str, Any], loc: list[str]) -> None:
    assert [fault["loc"] for fault in refuse(client, 422, **fields)["errors"]] == [loc]


def test_all_faults_are_reported_at_once(client: httpx.Client) -> None:
    problem = refuse(client, 422, dataset="pairs", rows=[3, 40], options={"noise_std": -1})
    assert [fault["loc"][0] for fault in problem["errors"]] == ["rows", "options"]


def test_what_does_not_exist_is_404(client: httpx.Client) -> None:
    assert "dataset 'nothing'" in refuse(client, 404, dataset="nothing")["detail"]
    body = {"dataset": "pairs"}
    assert client.post("/v1/models/nothing/ablations", json=body).status_code == 404
    assert client.get("/v1/models/nothing/ablations").status_code == 404
    assert client.get(f"{PATH}/nothing").status_code == 404


def test_numbers_that_are_not_finite_make_it_fail(client: httpx.Client) -> None:
    inputs = rows(80)
    inputs[70] = np.finfo(np.float32).max
    body = save({"inputs": inputs, "targets": rows(80)})
    client.put("/v1/datasets/huge?format=safetensors", content=body).raise_for_status()
    ended = wait_for(client, start(client, dataset="huge", rows=[3, 80]), *ENDED)
    assert ended["state"] == "failed"
    assert (ended["error"]["status"], ended["error"]["sample"]) == (422, 70)
    assert ended["result"] is None


def test_a_dataset_that_is_deleted_before_its_turn(
    server: RunningServer, client: httpx.Client
) -> None:
    put_pairs(client, "short-lived", 4, seed=7)
    with server.engine_held():
        waiting = [start(client) for _ in range(2)]
        for ablation in waiting:
            wait_for(client, ablation, "running")
        late = start(client, dataset="short-lived")
        client.delete("/v1/datasets/short-lived").raise_for_status()
    ended = wait_for(client, late, *ENDED)
    assert ended["state"] == "failed"
    assert "it was deleted" in ended["error"]["detail"]


def test_an_unloaded_model_is_loaded_again(server: RunningServer, client: httpx.Client) -> None:
    config = {"name": "unloaded", "config": tiny_config(model_seed=4).to_dict()}
    client.post("/v1/models", json=config).raise_for_status()
    client.post("/v1/models/unloaded/unload").raise_for_status()
    answer = client.post("/v1/models/unloaded/ablations", json={"dataset": "pairs"})
    assert wait_for(client, answer.json(), *ENDED)["state"] == "succeeded"


def test_more_rows_than_the_server_allows(tmp_path: Path) -> None:
    with serving(tmp_path, max_samples=10) as running:
        put_pairs(running.client, "pairs", 12)
        problem = refuse(running.client, 413)
        assert problem["limit_samples"] == 10
        assert wait_for(running.client, start(running.client, rows=[0, 10]), *ENDED)


def test_the_newest_ablations_are_kept(tmp_path: Path) -> None:
    with serving(tmp_path) as running:
        client = running.client
        put_pairs(client, "pairs", 2)
        with running.engine_held():
            started = [start(client) for _ in range(MAX_KEPT)]
            full = client.post(PATH, json={"dataset": "pairs"})
            assert full.status_code == 429
            assert int(full.headers["Retry-After"]) > 0
            client.delete(started[3]["url"]).raise_for_status()
            newest = start(client)
            listed = client.get(PATH, params={"limit": 1000}).json()["items"]
            assert len(listed) == MAX_KEPT
            assert listed[0]["ablation_id"] == newest["ablation_id"]
            assert client.get(started[3]["url"]).status_code == 404
            # The server stops with all of them unfinished.


def test_ablations_end_with_the_server(tmp_path: Path) -> None:
    with serving(tmp_path) as running:
        put_pairs(running.client, "pairs", 12)
        with running.engine_held():
            started = [start(running.client) for _ in range(3)]
            wait_for(running.client, started[1], "running")
            running.stop_while_held()
        kept = running.server.service.ablations
        running.stop()
        for one in started:
            ablation = kept.find("default", one["ablation_id"])
            assert ablation.state == "failed"
            assert ablation.problem is not None
            assert ablation.problem.status == 503
            assert "the server stopped" in ablation.problem.detail
