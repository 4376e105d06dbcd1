"""Numba is optional, and loaded only when compiled passes are first used."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.repository import ROOT

pytestmark = pytest.mark.slow

IMPORTS = """
import sys
import energy_flow.simulation.flow_processor
assert not {"numba", "llvmlite"} & set(sys.modules)
"""

RUN = """
import sys
from importlib.abc import MetaPathFinder


class Missing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("numba", "llvmlite"):
            raise ModuleNotFoundError(name)


sys.meta_path.insert(0, Missing())
from tests.support.small_model import LIVELY, embeddings, make_varied
counters = make_varied().simulate(embeddings(2), options=LIVELY).metrics.counters
assert counters.completed + counters.stalled == counters.created > counters.initial
"""


@pytest.mark.parametrize("program", [IMPORTS, RUN], ids=["imports", "run without numba"])
def test_numba_is_optional(program: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
