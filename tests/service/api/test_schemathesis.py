"""The running server against its OpenAPI document, by generated requests of every sort."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.experiments import put_dataset
from tests.support.pairs import put_pairs
from tests.support.servers import serving
from tests.support.waits import LIMIT_SECONDS, until

pytestmark = pytest.mark.slow

CONFIG = Path(__file__).with_name("schemathesis.toml")

EXAMPLES = 5
"""Generated for each operation in the phase of fuzzing; the others have a number of their own."""


def test_the_server_conforms_to_its_document(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    # Generated models can be large and runs many; what waits is bounded.
    with serving(tmp_path / "data", max_queued_flow_steps=2_000_000) as running:
        put_dataset(running.client, "sentences", 6)
        put_pairs(running.client, "pairs", 6)
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run"),
            str(running.client.base_url.join("/openapi.json")),
            *("--max-examples", str(EXAMPLES), "--seed", "1"),
            # However slow the machine is, the same requests are made and answered.
            *("--request-timeout", str(LIMIT_SECONDS), "--suppress-health-check", "too_slow"),
            *("--report", "json", "--report-json-path", str(report), "--no-color"),
            *("--phases", "examples,coverage,fuzzing,stateful"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
        tested = re.search(r"Tested: (\d+)", done.stdout)
        described = running.client.get("/openapi.json").json()["paths"].values()
        operations = sum(len(methods) for methods in described)
        assert tested is not None
        assert int(tested[1]) == operations
        until(lambda: running.client.get("/readyz").status_code == 200)
    assert json.loads(report.read_bytes())
