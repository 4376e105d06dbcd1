"""Log lines as JSON, from a server in a process of its own."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from energy_flow.telemetry.logs import lines_of
from service.monitoring.log_lines import JsonLines
from tests.support.live_server import TINY_FLAGS, live_server
from tests.support.waits import LIMIT_SECONDS


@pytest.mark.slow
def test_every_line_of_a_run_has_its_id(tmp_path: Path) -> None:
    with live_server(tmp_path, (*TINY_FLAGS, "--log-format", "json")) as server:
        with httpx.Client(base_url=server.url, timeout=LIMIT_SECONDS) as client:
            headers = {"X-Request-ID": "mine"}
            request = {"embeddings": [[0.1] * 8]}
            run_id = client.post("/v1/simulate", json=request, headers=headers).json()["run_id"]
            client.get(f"/v1/runs/{run_id}").raise_for_status()
        assert server.stop() == 0
        lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    for line in lines:
        assert {"time", "level", "logger", "message"} <= set(line)
    of_run = [line for line in lines if line.get("run_id") == run_id]
    assert {line["logger"] for line in of_run} >= {
        "energy_flow.run",
        "service.runs.recorder",
        "service.access",
    }
    assert sum(line["logger"] == "service.access" for line in of_run) == 2
    assert any(line.get("request_id") == "mine" for line in of_run)
    # No line that names the run goes without.
    assert all(line.get("run_id") == run_id for line in lines if run_id in line["message"])


def formatted(**extra: Any) -> dict[str, Any]:
    record = logging.getLogger("a").makeRecord(
        "a",
        logging.ERROR,
        "file",
        1,
        "wrote %s",
        ("ä\n",),
        extra.pop("exc_info", None),
        extra=extra,
    )
    line = JsonLines().format(record)
    assert "\n" not in line
    document: dict[str, Any] = json.loads(line)
    return document


def test_lines_have_the_documented_members() -> None:
    assert formatted()["message"] == "wrote ä\n"
    assert "run_id" not in formatted()
    assert formatted(run_id="one")["run_id"] == "one"
    with lines_of("two"):
        assert formatted()["run_id"] == "two"
    try:
        raise ValueError("why")
    except ValueError:
        assert "ValueError: why" in formatted(exc_info=sys.exc_info())["exception"]
