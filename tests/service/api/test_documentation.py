"""The documentation has every operation and metric of a server, and its examples are true."""

from __future__ import annotations

import re
from typing import Any

import httpx
import orjson

from tests.support.pairs import put_pairs
from tests.support.repository import ROOT
from tests.support.servers import DIMENSION
from tests.support.waits import until

PAGE = (ROOT / "docs" / "service.md").read_text(encoding="utf-8")
MONITORING = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")


def test_every_operation_is_documented(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    operations = [
        f"{method.upper()} {re.sub('{(run|experiment|ablation)_id}', '{id}', path)}".replace(
            "{trial}", "{n}"
        )
        for path, methods in paths.items()
        for method in methods
        if path.startswith("/v1")
    ]
    assert len(operations) > 30
    missing = [operation for operation in operations if f"{operation}`" not in PAGE]
    assert not missing


def test_the_documented_request_has_the_documented_answer(client: httpx.Client) -> None:
    request, documented, _, _, problem = _examples()
    # The example is short; the rows of this server's model have another length.
    request["embeddings"] = [[0.01] * DIMENSION]
    answer = client.post("/v1/simulate", json=request).json()
    # Of a sample, the page has only what the metrics of the run do not have.
    documented["samples"] = [{**documented["metrics"], **documented["samples"][0]}]
    for name in ("mean_step_ms", "max_step_ms"):
        del documented["samples"][0][name]
    assert _members(documented) == _members(answer)
    request["options"]["noise_std"] = 11
    assert client.post("/v1/simulate", json=request).json() == problem


def test_the_documented_ablation_has_the_documented_result(client: httpx.Client) -> None:
    _, _, request, documented, _ = _examples()
    put_pairs(client, request["dataset"], 12)
    request["rows"] = [0, 4]
    answer = client.post("/v1/models/default/ablations", json=request)
    assert answer.status_code == 202, answer.text
    url = answer.json()["url"]
    until(lambda: client.get(url).json()["state"] == "succeeded")
    entries = client.get(url).json()["result"]["entries"]
    (entry,) = (entry for entry in entries if entry["ablation"] == documented["ablation"])
    # The page has one figure of several.
    for name in ("figures", "changes"):
        entry[name] = {"cosine": entry[name]["cosine"]}
    assert _members(entry) == _members(documented)


def test_every_metric_is_documented(client: httpx.Client) -> None:
    exported = re.findall(r"^# TYPE energy_flow_(\w+)", client.get("/metrics").text, re.MULTILINE)
    rows = re.findall(r"^\| (`.*?) \|", MONITORING.partition("### Alerts")[0], re.MULTILINE)
    documented = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert len(documented) == len(set(documented))
    assert set(exported) <= set(documented)
    # The rest exists on an accelerator, with a control group's limit, or with these settings.
    assert set(documented) - set(exported) <= {
        *(f"device_memory_{what}_bytes" for what in ("allocated", "reserved", "peak")),
        *(f"group_memory_{what}_bytes" for what in ("limit", "used")),
        *(f"{what}_limit_bytes" for what in ("datasets", "models")),
    }


def _examples() -> list[Any]:
    """Return the JSON documents of the page, in order."""
    return [orjson.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]


def _members(value: Any) -> Any:
    """Return the names of members at every depth; of a list, those of its first entry."""
    if isinstance(value, dict):
        return {name: _members(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_members(entry) for entry in value[:1] if isinstance(entry, dict | list)]
    return None
