"""Numbers that are missing, masked or not a number never become the default."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from energy_flow.client import FlowClient, ServerUnreachable

ROWS = np.zeros((2, 8), np.float32)
CELLS = pd.DataFrame({"seed": [1, None], "key": pd.array([3, None], dtype="Int64")})
TIME = pd.DataFrame({"at": [pd.Timestamp(0), None]})


@pytest.fixture
def client() -> Iterator[FlowClient]:
    """Return a client of a server that does not exist: sending anything is another error."""
    with FlowClient("http://127.0.0.1:9") as client:
        yield client


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        ({"seed": math.nan}, "seed is nan"),
        ({"seed": CELLS["seed"][1]}, "seed is nan"),
        ({"seed": CELLS["key"][1]}, "seed is missing"),
        ({"seed": TIME["at"][1]}, "seed is missing"),
        ({"seed": np.ma.masked}, "seed is missing"),
        ({"seed": np.float32("nan")}, "seed is nan"),
        ({"timeout_ms": math.nan}, "timeout_ms is nan"),
        ({"timeout_ms": math.inf}, "timeout_ms is inf"),
        ({"options": {"noise_std": math.nan}}, "options.noise_std is nan"),
        ({"options": {"spawn": {"threshold": -math.inf}}}, "options.spawn.threshold is -inf"),
        ({"options": {"noise_std": CELLS["key"][1]}}, "options.noise_std is missing"),
        ({"options": CELLS["key"][1]}, "options is missing"),
        ({"trace": {"capacity": math.nan}}, "trace.capacity is nan"),
        ({"trace": {"kinds": ["spawn", math.nan]}}, r"trace.kinds\[1\] is nan"),
        ({"sample_keys": [0, math.nan]}, r"sample_keys\[1\] is nan"),
        ({"sample_keys": CELLS["seed"]}, r"sample_keys\[1\] is nan"),
        ({"sample_keys": CELLS["key"]}, r"sample_keys\[1\] is missing"),
        ({"sample_keys": np.ma.array([1, 2], mask=[False, True])}, "sample_keys is masked in part"),
        ({"sample_keys": [0, 1.5]}, r"sample_keys\[1\] must be an integer, not 1.5"),
        ({"sample_keys": [0, "1"]}, r"sample_keys\[1\] must be an integer, not '1'"),
        ({"sample_keys": [0, None]}, r"sample_keys\[1\] must be an integer, not None"),
        ({"sample_keys": [0, True]}, r"sample_keys\[1\] must be an integer, not True"),
    ],
)
def test_runs(client: FlowClient, arguments: dict[str, Any], place: str) -> None:
    with pytest.raises(ValueError, match=f"^{place}"):
        client.simulate(ROWS, **arguments)
    with pytest.raises(ValueError, match=f"^{place}"):
        client.submit_run(ROWS, **arguments)
    with pytest.raises(ValueError, match=f"^{place}"):
        client.submit_run(dataset="rows", **arguments)


def test_rows_of_a_dataset(client: FlowClient) -> None:
    with pytest.raises(ValueError, match=r"^rows\[1\] is nan"):
        client.submit_run(dataset="rows", rows=(0, math.nan))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ({"seeds": [0, math.nan]}, r"seeds\[1\] is nan"),
        (
            {"sweep": {"grid": {"noise_std": np.array([0.1, math.nan])}}},
            r"sweep.grid.noise_std\[1\] is nan",
        ),
        (
            {"sweep": {"random": {"noise_std": {"low": 0.1, "high": math.inf}}}},
            "sweep.random.noise_std.high is inf",
        ),
        (
            {"sweep": {"grid": {"spawn": {"threshold": [1]}, "spawn.threshold": [2]}}},
            "the sweep has spawn.threshold twice",
        ),
    ],
)
def test_experiments(client: FlowClient, document: dict[str, Any], place: str) -> None:
    with pytest.raises(ValueError, match=f"^{place}"):
        client.experiments.create("one", dataset="rows", **document)


def test_whole_numbers_may_be_floats(client: FlowClient) -> None:
    # A column with an empty cell has floats also where there is a number.
    keys: Any = CELLS["seed"][:1]
    with pytest.raises(ServerUnreachable):
        client.simulate(ROWS[:1], sample_keys=keys)
