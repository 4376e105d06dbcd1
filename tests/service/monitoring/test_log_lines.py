"""Log lines as JSON and as text, from a server in a process of its own."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from energy_flow.telemetry.logs import lines_of
from service.monitoring.log_lines import JsonLines, TextLines
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


@pytest.mark.slow
def test_no_request_forges_a_line_of_the_text(tmp_path: Path) -> None:
    forged = "2026-01-01 00:00:00,000 INFO service.access: DELETE /v1/runs/x 204"
    with live_server(tmp_path) as server:
        with httpx.Client(base_url=server.url, timeout=LIMIT_SECONDS) as client:
            run_id = client.post("/v1/simulate", json={"embeddings": [[0.1] * 8]}).json()["run_id"]
            client.get(f"/v1/runs/{run_id}").raise_for_status()
            ending = quote(f"\n{forged}\r\x1b[2K\u2028\u202e")
            assert client.get(f"/v1/runs/{ending}").status_code == 404
            assert client.get(f"/v1/models/{ending}").status_code == 404
            headers = {"X-Request-ID": forged, "User-Agent": forged, "X-Forwarded-For": forged}
            assert client.get("/v1/runs", headers=headers).status_code == 200
        assert server.stop() == 0
    text = server.log.read_bytes().decode()
    # Only ends of lines that the server wrote.
    lines = text.split("\n")
    assert lines == [*text.splitlines(), ""]
    assert text.isascii()
    assert not [line for line in lines if line.startswith(forged)]
    assert sum(forged in line for line in lines) == 2
    of_run = [line for line in lines if run_id in line]
    assert len(of_run) >= 4
    assert all(f" run_id={run_id}" in line for line in of_run)
    assert all(" request_id=" in line for line in lines if " service.access: " in line)


def as_text(message: str, **members: Any) -> str:
    fields = {"name": "a", "levelname": "ERROR", "msg": message, **members}
    return TextLines().format(logging.makeLogRecord(fields))


def test_text_lines_are_what_they_look_like() -> None:
    assert as_text("plain ä \\ 流").endswith("ERROR a: plain ä \\ 流")
    assert as_text("a\nb\tc\x9b\ud800\u2066").endswith(r"ERROR a: a\nb\tc\x9b\ud800\u2066")
    line = as_text("done", run_id="r\n", request_id="q", key="ci", key_id="1")
    assert line.endswith(r"ERROR a: done run_id=r\n request_id=q key=ci key_id=1")
    with lines_of("two"):
        assert as_text("done").endswith("done run_id=two")


def test_tracebacks_of_the_text_are_indented() -> None:
    try:
        raise ValueError("why\n2026-01-01 00:00:00,000 INFO forged\r\x1b[0m")
    except ValueError:
        first, *more = as_text("failed", exc_info=sys.exc_info()).split("\n")
    assert first.endswith("ERROR a: failed")
    assert "  ValueError: why" in more
    assert more[-1] == r"  2026-01-01 00:00:00,000 INFO forged\r\x1b[0m"
    assert all(line.startswith("  ") for line in more)


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
