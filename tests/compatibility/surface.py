"""What callers can name: operations of the API, metrics, commands and their flags."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from tests.compatibility.program import Command

_FLAG = re.compile(r"(?<![\w-])(--?[a-z][a-z0-9-]*)")


def operations_in(document: dict[str, Any]) -> dict[str, Any]:
    """Return the operations of an OpenAPI document: what may be sent, and what is answered.

    Schemas are followed to the names of the members of bodies. No caller uses the names of schemas.
    """
    return {
        f"{method.upper()} {path}": _operation(document, operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }


def metrics_in(text: str) -> dict[str, Any]:
    """Return the metrics of a text that Prometheus reads: their types and names of labels."""
    found: dict[str, Any] = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            found[name] = {"type": kind, "labels": []}
        elif not line.startswith("#"):
            name, labels = re.match(r"(\w+)(?:\{(.*)\})?", line).groups()  # type: ignore[union-attr]
            family = (
                found.get(name) or found[re.sub(r"_(bucket|sum|count|total|created)$", "", name)]
            )
            names = set(re.findall(r'(\w+)="', labels or "")) - {"le"}
            family["labels"] = sorted({*family["labels"], *names})
    return found


def commands_in(call: Callable[[Sequence[list[str]]], list[Command]]) -> dict[str, list[str]]:
    """Return all commands with their flags, as listed in their help.

    Args:
        call: runs command lines.
    """
    found: dict[str, list[str]] = {}
    waiting: list[list[str]] = [[]]
    while waiting:
        helps = call([[*command, "--help"] for command in waiting])
        following: list[list[str]] = []
        for command, help_ in zip(waiting, helps, strict=True):
            assert help_.exit_code == 0, help_
            found[" ".join(command)] = flags_in(help_.output)
            following += [[*command, name] for name in _commands_in(help_.output)]
        waiting = following
    return found


def flags_in(text: str) -> list[str]:
    """Return the flags that a help names where a line of its table begins."""
    heads = [re.match(r"│(?: \*)? +(-.*?)(?:  +[^ -]|$)", line) for line in text.splitlines()]
    return sorted({flag for head in heads if head for flag in _FLAG.findall(head[1])})


def _commands_in(text: str) -> list[str]:
    _, _, table = text.partition("─ Commands ")
    return re.findall(r"^│ ([a-z][a-z-]*) ", table, re.MULTILINE)


def _operation(document: dict[str, Any], operation: dict[str, Any]) -> dict[str, Any]:
    return {
        "parameters": {
            f"{one['in']} {one['name']}": bool(one.get("required"))
            for one in operation.get("parameters", [])
        },
        "takes": _content(document, operation.get("requestBody", {})),
        "answers": {
            status: _content(document, answer) for status, answer in operation["responses"].items()
        },
    }


def _content(document: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    content = body.get("content", {})
    return {kind: _members(document, entry.get("schema", {})) for kind, entry in content.items()}


def _members(document: dict[str, Any], schema: dict[str, Any], depth: int = 4) -> Any:
    """Names of the members of a schema, by name, as deep as bodies go."""
    while "$ref" in schema:
        *_, name = schema["$ref"].split("/")
        schema = document["components"]["schemas"][name]
    found: dict[str, Any] = {}
    for choice in ("anyOf", "oneOf", "allOf"):
        for one in schema.get(choice, []):
            found.update(_members(document, one, depth))
    if depth:
        for name, inner in schema.get("properties", {}).items():
            found[name] = _members(document, inner, depth - 1)
        if isinstance(schema.get("items"), dict):
            found.update(_members(document, schema["items"], depth - 1))
    return found
