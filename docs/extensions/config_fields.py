"""The directive ``config-fields``: a table of every field of ``FlowConfig`` with its presets."""

from __future__ import annotations

import json
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from energy_flow.choices import Preset
from energy_flow.config.flow_config import MODEL_FIELDS, FlowConfig
from energy_flow.config.presets import preset

RANGES = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


class ConfigFields(SphinxDirective):
    """A table with a row a field: where it may be set, what is allowed, and the presets' values."""

    def run(self) -> list[nodes.Node]:
        """Return the table, which is written in Markdown and parsed by the page's parser."""
        presets = [preset(choice.value).to_dict() for choice in Preset]
        lines = ["| field | of | allowed | presets | |", "|---" * 5 + "|"]
        for path, member in _fields(FlowConfig.model_json_schema()):
            values = [f"`{json.dumps(_value(fields, path))}`" for fields in presets]
            shown = values[0] if len(set(values)) == 1 else " / ".join(values)
            owner = "model" if path[0] in MODEL_FIELDS else "run"
            about = member.get("description", "")
            lines.append(
                f"| `{'.'.join(path)}` | {owner} | {_allowed(member)} | {shown} | {about} |"
            )
        container = nodes.container()
        self.state.nested_parse(StringList(lines, source="config-fields"), 0, container)
        return container.children


def _fields(schema: dict[str, Any]) -> list[tuple[tuple[str, ...], dict[str, Any]]]:
    """Return path and JSON schema of every field, those of groups in their place."""
    definitions = schema.get("$defs", {})

    def walk(properties: dict[str, Any], path: tuple[str, ...]) -> Any:
        for name, member in properties.items():
            resolved = {**definitions.get(member.get("$ref", "").rpartition("/")[2], {}), **member}
            if "properties" in resolved:
                yield from walk(resolved["properties"], (*path, name))
            else:
                yield (*path, name), resolved

    return list(walk(schema["properties"], ()))


def _allowed(member: dict[str, Any]) -> str:
    """Return what a field may be, in words."""
    if "enum" in member:
        return ", ".join(f"`{value}`" for value in member["enum"])
    if member.get("type") == "array":
        return "a list, each at most once" if member.get("uniqueItems") else "a list"
    if "anyOf" in member:
        return " or ".join(_allowed(one) for one in member["anyOf"])
    bounds = {
        "≥": member.get("minimum"),
        ">": member.get("exclusiveMinimum"),
        "≤": member.get("maximum"),
    }
    limits = [f"{sign} {_number(bound)}" for sign, bound in bounds.items() if bound is not None]
    return " ".join([str(member.get("type", "")), ", ".join(limits)]).strip()


def _number(bound: float) -> str:
    """Return a bound as people write it."""
    for power in (63, 31, 30):
        if bound == 2**power - 1:
            return f"2^{power}−1"
        if bound == 2**power:
            return f"2^{power}"
    return f"{bound:g}"


def _value(data: dict[str, Any], path: tuple[str, ...]) -> Any:
    for name in path:
        data = data[name]
    return data


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("config-fields", ConfigFields)
    return {"parallel_read_safe": True}
