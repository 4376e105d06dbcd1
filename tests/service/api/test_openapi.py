"""The OpenAPI document: complete, and its examples work."""

from __future__ import annotations

from typing import Any

import httpx
import orjson
import pytest

from service.app import create_app
from tests.support.experiments import put_dataset
from tests.support.pairs import put_pairs
from tests.support.servers import RunningServer


@pytest.fixture
def document(client: httpx.Client) -> dict[str, Any]:
    served: dict[str, Any] = client.get("/openapi.json").json()
    return served


def test_every_example_succeeds(client: httpx.Client, document: dict[str, Any]) -> None:
    # Those that examples take their rows from.
    put_dataset(client, "sentences", 6)
    put_pairs(client, "pairs", 12)
    tried = 0
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {})
            for example in content.get("application/json", {}).get("examples", {}).values():
                model = "default" if path.startswith("/v1") else "energy_flow"
                where = path.format(name=model, version="1")
                answer = client.request(method, where, json=example["value"])
                expected = {int(status) for status in operation["responses"] if status < "300"}
                assert answer.status_code in expected, answer.text
                tried += 1
    assert tried >= 6


def test_every_reference_is_defined(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]

    def check(value: Any) -> None:
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                assert value["$ref"].removeprefix("#/components/schemas/") in schemas
            for entry in value.values():
                check(entry)
        elif isinstance(value, list):
            for entry in value:
                check(entry)

    check(document)


def test_the_application_returns_the_served_document(
    server: RunningServer, document: dict[str, Any]
) -> None:
    application = create_app(server.server.service.settings)
    assert orjson.loads(orjson.dumps(application.openapi())) == document


def test_every_operation_describes_its_refusals(document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["description"]
            if path.startswith("/v1"):
                assert {"422", "503", "507"} <= set(operation["responses"])


def test_the_pages_are_there(client: httpx.Client) -> None:
    assert client.get("/docs").status_code == 200
