"""Lists of runs and experiments: searched, filtered, sorted, and read in both directions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest

from tests.support.experiments import put_dataset, start_experiment
from tests.support.experiments import wait_until_ended as wait_for_experiment
from tests.support.servers import queue, serving, wait_until_ended

ORDER = ("alpha", "beta", "gamma", "delta", "unnamed")
"""Runs in the order of their creation."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, dict[str, str]]]:
    with serving(tmp_path_factory.mktemp("lists")) as server:
        client = server.client
        runs = {
            "alpha": queue(client, 1, name="Alpha", tags=["x", "y"], note="the FIRST Straße"),
            "beta": queue(client, 2, name="beta 100%", tags=["x"], options={"noise_std": 0.05}),
            "gamma": queue(
                client, 3, name="gamma", options={"noise_std": 0, "spawn": {"mode": "off"}}
            ),
        }
        for run_id in runs.values():
            wait_until_ended(client, run_id)
        with server.engine_held():
            runs["delta"] = queue(client, 1, name="delta", options={"spawn.mode": "off"})
            client.post(f"/v1/runs/{runs['delta']}/cancel")
        wait_until_ended(client, runs["delta"])
        runs["unnamed"] = queue(client, 1)
        wait_until_ended(client, runs["unnamed"])
        put_dataset(client, "few", 2)
        grid = {"noise_std": [0.01, 0.02]}
        start_experiment(
            client, name="swept", dataset="few", sweep={"grid": grid}, tags=["x"], note="Sweep"
        )
        start_experiment(client, name="plain", dataset="few", options={"noise_std": 0.5})
        for name in ("swept", "plain"):
            wait_for_experiment(client, name)
        yield client, runs


def read(client: httpx.Client, path: str = "/v1/runs", **query: Any) -> dict[str, Any]:
    answer = client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


def names(made: tuple[httpx.Client, dict[str, str]], **query: Any) -> list[str]:
    """Return the runs that are listed, without trials."""
    client, runs = made
    by_id = {run_id: name for name, run_id in runs.items()}
    page = read(client, kind="run", **query)
    return [by_id[run["run_id"]] for run in page["items"]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"search": "alph"}, {"alpha"}),
        ({"search": "first"}, {"alpha"}),
        ({"search": "STRASSE"}, {"alpha"}),
        ({"search": "100%"}, {"beta"}),
        ({"search": "%"}, {"beta"}),
        ({"search": "_"}, set()),
        ({"search": "Y"}, {"alpha"}),
        ({"search": "DEFAULT"}, set(ORDER)),
        ({"search": "nothing"}, set()),
        ({"tag": "x"}, {"alpha", "beta"}),
        ({"tag": ["x", "y"]}, {"alpha"}),
        ({"tag": "x,y"}, {"alpha"}),
        ({"tag": "X"}, set()),
        ({"state": "cancelled"}, {"delta"}),
        ({"model": "default", "tag": "x"}, {"alpha", "beta"}),
        ({"model": "other"}, set()),
        ({"options": '{"noise_std": 0.05}'}, {"beta"}),
        ({"options": f'{{"noise_std": {10**30}}}'}, set()),
        ({"options": '{"noise_std": 0.0}'}, {"gamma"}),
        ({"options": '{"spawn.mode": "off"}'}, {"gamma", "delta"}),
        ({"options": '{"spawn": {"mode": "off"}, "noise_std": 0}'}, {"gamma"}),
        ({"created_before": "2020-01-01"}, set()),
        ({"created_after": "2020-01-01T00:00:00Z"}, set(ORDER)),
    ],
)
def test_filters_select(
    made: tuple[httpx.Client, dict[str, str]], query: dict[str, Any], expected: set[str]
) -> None:
    assert set(names(made, **query)) == expected


def test_a_search_finds_the_beginning_of_an_id(
    made: tuple[httpx.Client, dict[str, str]],
) -> None:
    client, runs = made
    beginning = runs["gamma"][:12].upper()
    assert names(made, search=beginning) == ["gamma"]
    assert names(made, search=runs["gamma"][1:12]) == []
    [one] = read(client, "/v1/experiments", search="plain")["items"]
    [found] = read(client, "/v1/experiments", search=one["experiment_id"][:12])["items"]
    assert found["name"] == "plain"


def test_times_of_creation_are_compared(made: tuple[httpx.Client, dict[str, str]]) -> None:
    client, runs = made
    moment = client.get(f"/v1/runs/{runs['unnamed']}").json()["created_at"]
    assert "unnamed" not in names(made, created_before=moment)
    assert names(made, created_before=moment) == ["delta", "gamma", "beta", "alpha"]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("created", list(ORDER)),
        ("-created", list(ORDER)[::-1]),
        ("name", ["unnamed", "alpha", "beta", "delta", "gamma"]),
        ("-name", ["gamma", "delta", "beta", "alpha", "unnamed"]),
        ("state", ["delta", "alpha", "beta", "gamma", "unnamed"]),
    ],
)
def test_lists_are_sorted_and_read_in_both_directions(
    made: tuple[httpx.Client, dict[str, str]], sort: str, expected: list[str]
) -> None:
    client, runs = made
    assert names(made, sort=sort) == expected
    query: dict[str, Any] = {"sort": sort, "kind": "run", "limit": 2}
    pages = [read(client, **query)]
    while pages[-1]["next_cursor"]:
        pages.append(read(client, cursor=pages[-1]["next_cursor"], **query))
    ids = [[run["run_id"] for run in page["items"]] for page in pages]
    assert [one for page in ids for one in page] == [runs[name] for name in expected]
    assert [len(page) for page in ids] == [2, 2, 1]
    assert pages[0]["previous_cursor"] is None
    middle = read(client, cursor=pages[2]["previous_cursor"], **query)
    assert middle["items"] == pages[1]["items"]
    first = read(client, cursor=middle["previous_cursor"], **query)
    assert first["items"] == pages[0]["items"]
    assert first["previous_cursor"] is None
    again = read(client, cursor=first["next_cursor"], **query)
    assert again["items"] == pages[1]["items"]


def test_durations_sort_with_what_never_started_as_the_least(
    made: tuple[httpx.Client, dict[str, str]],
) -> None:
    client, _ = made
    runs = read(client, sort="duration", kind="run")["items"]
    assert read(client, sort="-duration", kind="run")["items"] == runs[::-1]
    assert len(runs) == len(ORDER)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"search": "sweep"}, ["swept"]),
        ({"search": "PLA"}, ["plain"]),
        ({"tag": "x"}, ["swept"]),
        ({"options": '{"noise_std": 0.02}'}, ["swept"]),
        ({"options": '{"noise_std": 0.5}'}, ["plain"]),
        ({"options": '{"noise_std": 0.3}'}, []),
        ({"sort": "name"}, ["plain", "swept"]),
        ({"sort": "-name"}, ["swept", "plain"]),
        ({"state": "succeeded", "kind": "simulate"}, ["plain", "swept"]),
        ({"model": "default", "sort": "created"}, ["swept", "plain"]),
    ],
)
def test_experiments_are_selected_and_sorted(
    made: tuple[httpx.Client, dict[str, str]], query: dict[str, Any], expected: list[str]
) -> None:
    found = read(made[0], "/v1/experiments", **query)["items"]
    assert [one["name"] for one in found] == expected


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ({"sort": "size"}, ["sort"]),
        ({"options": "noise_std"}, ["options"]),
        ({"options": "[1]"}, ["options"]),
        ({"created_after": "yesterday"}, ["created_after"]),
        ({"search": "x" * 201}, ["search"]),
        ({"tags": "x"}, ["tags"]),
        ({"cursor": "nothing"}, ["cursor"]),
        ({"cursor": "WyJuYW1lIiwwLCJ4IiwxXQ", "sort": "name"}, ["cursor"]),
    ],
)
def test_what_is_no_filter_is_refused(
    made: tuple[httpx.Client, dict[str, str]], query: dict[str, Any], place: list[str]
) -> None:
    for path in ("/v1/runs", "/v1/experiments"):
        refused = made[0].get(path, params=query)
        assert refused.status_code == 422, refused.text
        assert [fault["loc"] for fault in refused.json()["errors"]] == [place]


def test_a_cursor_belongs_to_its_order(made: tuple[httpx.Client, dict[str, str]]) -> None:
    client, _ = made
    for sort, other in (("name", "-created"), ("-created", "name"), ("-created", "created")):
        cursor = read(client, limit=1, sort=sort)["next_cursor"]
        refused = client.get("/v1/runs", params={"cursor": cursor, "sort": other})
        assert refused.status_code == 422


def test_changed_labels_are_found_and_removed_runs_are_not(
    made: tuple[httpx.Client, dict[str, str]],
) -> None:
    client, _ = made
    run_id = queue(client, 1, name="before", tags=["old"], options={"noise_std": 0.07})
    client.patch(f"/v1/runs/{run_id}", json={"name": "after", "tags": ["new"]})
    chosen = orjson.dumps({"noise_std": 0.07}).decode()
    found = ({"search": "after"}, {"tag": "new"}, {"options": chosen})
    for query in ({"search": "before"}, {"tag": "old"}):
        assert read(client, **query)["items"] == []
    for query in found:
        assert [run["run_id"] for run in read(client, **query)["items"]] == [run_id]
    wait_until_ended(client, run_id)
    assert client.delete(f"/v1/runs/{run_id}").status_code == 204
    for query in found:
        assert read(client, **query)["items"] == []
