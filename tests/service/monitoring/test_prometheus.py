"""The rules, the scrape config and the dashboard of ``docker/monitoring`` in a real Prometheus."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.live_server import free_port
from tests.support.repository import ROOT
from tests.support.servers import RunningServer, rows, serving
from tests.support.waits import LIMIT_SECONDS, until

pytestmark = pytest.mark.slow

FOLDER = ROOT / "docker" / "monitoring"
KEY = "a key of the role read"
SCRAPES = "max(count_over_time(energy_flow_ready[10m]))"

ONLY_THERE = re.compile(r"energy_flow_(device_memory|group_memory)_\w+")
"""Metrics that exist on an accelerator only, or in a control group with a limit."""


def find_program(name: str) -> str:
    """Return the path of a program of Prometheus; skip the test on a machine without it."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"no {name} found; install Prometheus to test its rules and the dashboard")
    return path


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[httpx.Client]:
    """Run Prometheus with our files, changed in its target, its key and its intervals."""
    (folder / "key").write_text(KEY)
    (folder / "rules.yml").write_bytes((FOLDER / "rules.yml").read_bytes())
    config = (FOLDER / "prometheus.yml").read_text()
    for old, new in (
        ("energy-flow:8000", target),
        ("/run/secrets/energy_flow_key", str(folder / "key")),
        ("interval: 15s", "interval: 1s"),
    ):
        assert old in config
        config = config.replace(old, new)
    (folder / "prometheus.yml").write_text(config)
    address = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [
            find_program("prometheus"),
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={address}",
            "--log.level=error",
        ]
    )
    try:
        with httpx.Client(base_url=f"http://{address}", timeout=LIMIT_SECONDS) as client:

            def ready() -> bool:
                with suppress(httpx.TransportError):
                    return client.get("/-/ready").status_code == 200
                return False

            until(ready)
            yield client
    finally:
        process.terminate()
        process.wait(LIMIT_SECONDS)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with serving(tmp_path_factory.mktemp("server"), api_key=KEY) as running:
        running.client.headers["Authorization"] = f"Bearer {KEY}"
        yield running


@pytest.fixture(scope="module")
def watched(
    server: RunningServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """Return a Prometheus that has scraped a server several times, between simulations."""
    folder = tmp_path_factory.mktemp("prometheus")
    with prometheus(folder, f"127.0.0.1:{server.client.base_url.port}") as client:
        for _ in range(2):
            request = {"embeddings": rows(1).tolist(), "trace": {}}
            server.client.post("/v1/simulate", json=request).raise_for_status()
            server.client.get("/v1/runs/none")
            # A rate takes two scrapes of a series.
            wait_for_scrapes(client, 3)
        yield client


def query(client: httpx.Client, expression: str) -> list[dict[str, Any]]:
    """Return the series of an expression, now."""
    answer = client.post("/api/v1/query", data={"query": expression})
    assert answer.status_code == 200, (expression, answer.text)
    series: list[dict[str, Any]] = answer.json()["data"]["result"]
    return series


def wait_for_scrapes(client: httpx.Client, count: int) -> None:
    """Wait until a Prometheus has scraped its server a number of times more."""
    end = find_value(client, SCRAPES) + count
    until(lambda: find_value(client, SCRAPES) >= end)


def find_value(client: httpx.Client, expression: str) -> float:
    """Return the value of an expression with at most one series; 0 without any."""
    series = query(client, expression)
    return float(series[0]["value"][1]) if series else 0.0


def read_panels() -> list[dict[str, Any]]:
    """Return the panels of the dashboard that show something."""
    dashboard = json.loads((FOLDER / "grafana/dashboards/energy-flow.json").read_text())
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def read_expressions() -> list[tuple[str, str]]:
    """Return each expression of the dashboard, as it is for all servers, and its panel."""
    return [
        (
            panel["title"],
            target["expr"].replace("$instance", ".*").replace("$__rate_interval", "5m"),
        )
        for panel in read_panels()
        for target in panel["targets"]
    ]


@pytest.mark.parametrize(("panel", "expression"), read_expressions())
def test_each_panel_shows_something(watched: httpx.Client, panel: str, expression: str) -> None:
    series = query(watched, expression)
    if ONLY_THERE.search(expression) is None:
        assert series, panel


def test_rare_metrics_are_documented() -> None:
    documented = (ROOT / "docs/monitoring.md").read_text()
    for _panel, expression in read_expressions():
        for found in ONLY_THERE.finditer(expression):
            assert f"`{found[0].removeprefix('energy_flow_')}`" in documented


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in read_panels():
        place = panel["gridPos"]
        columns = range(place["x"], place["x"] + place["w"])
        cells = {(x, y) for x in columns for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, panel["title"]
        assert max(columns) < 24
        taken |= cells


def test_alerts_are_evaluated_and_documented(watched: httpx.Client) -> None:
    def evaluated() -> list[dict[str, Any]] | None:
        (group,) = watched.get("/api/v1/rules").json()["data"]["groups"]
        rules: list[dict[str, Any]] = group["rules"]
        return rules if all(rule["health"] != "unknown" for rule in rules) else None

    rules: list[dict[str, Any]] = until(evaluated)
    for rule in rules:
        assert rule["health"] == "ok", rule
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    documented = re.findall(r"`(EnergyFlow\w+)`", (ROOT / "docs/monitoring.md").read_text())
    assert sorted(rule["name"] for rule in rules) == sorted(documented)


def test_alerts_name_metrics_that_exist(watched: httpx.Client) -> None:
    known = set(watched.get("/api/v1/label/__name__/values").json()["data"])
    limits = {"energy_flow_datasets_limit_bytes", "energy_flow_models_limit_bytes"}
    for name in re.findall(r"energy_flow_\w+", (FOLDER / "rules.yml").read_text()):
        assert name in known | limits or ONLY_THERE.fullmatch(name), name


def test_alerts_fire_and_stay_silent() -> None:
    file = Path(__file__).with_name("alerts.yml")
    done = subprocess.run(
        [find_program("promtool"), "test", "rules", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
