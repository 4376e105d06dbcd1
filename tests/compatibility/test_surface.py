"""All names that callers of an earlier version can use still exist."""

from __future__ import annotations

import re
from typing import Any

from tests.compatibility.difference import Comparison
from tests.compatibility.opened import Opened
from tests.compatibility.surface import metrics_in, operations_in
from tests.compatibility.versions import NOTHING

EXACT = Comparison(is_exact=True, ignored=re.compile(NOTHING))


def test_every_operation_takes_and_answers_what_it_did(opened: Opened) -> None:
    recorded: dict[str, Any] = opened.version.read("operations")
    now = operations_in(opened.client.get("/openapi.json").json())
    found = list(EXACT.differences(recorded, now))
    assert not found, "\n".join(found)
    for name, operation in recorded.items():
        demanded = {one for one, is_required in now[name]["parameters"].items() if is_required}
        assert demanded <= set(operation["parameters"]), name


def test_every_metric_has_its_name_type_and_labels(opened: Opened) -> None:
    recorded: dict[str, Any] = opened.version.read("metrics")
    now = metrics_in(opened.client.get("/metrics").text)
    for name, metric in recorded.items():
        assert name in now
        assert now[name]["type"] == metric["type"], name
        # A counter shows its labels once it has counted something.
        if now[name]["labels"]:
            assert set(now[name]["labels"]) - {"worker"} == set(metric["labels"]), name
