"""The code in README.md does what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.live_server import LIMIT_SECONDS, live_server

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8000"

# Whatever else is marked as not run would go unnoticed.
NOT_RUN = [
    "make demo",
    ". .venv/bin/activate",
    "python examples/reverse_dictionary/compare.py wordnet_train.safetensors",
    "pip install .",
    "pip install '.[server]'",
]


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code, and whether it is marked as one that the test cannot run."""

    language: str
    code: str
    runs: bool


def blocks() -> list[Block]:
    pattern = re.compile(
        r"(<!-- not run by the test[^\n]*-->\n)?```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL
    )
    return [Block(found[2], found[3], runs=found[1] is None) for found in pattern.finditer(README)]


RUNNABLE = [block for block in blocks() if block.runs]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server started by the line in the README, but on a free port."""
    line = re.search(r"^energy-flow serve (--set .*)$", README, re.MULTILINE)
    assert line is not None
    with live_server(tmp_path_factory.mktemp("readme"), line[1].split()) as server:
        yield server.url


def test_blocks_that_are_not_run_are_those_that_install_serve_or_train() -> None:
    assert [block.code.splitlines()[0] for block in blocks() if not block.runs] == NOT_RUN
    assert len(RUNNABLE) >= 5


@pytest.mark.parametrize(
    "block", RUNNABLE, ids=[f"{number}-{block.language}" for number, block in enumerate(RUNNABLE)]
)
def test_code_runs(block: Block, address: str, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    command = {
        "python": [sys.executable, "-W", "error", "-c"],
        "bash": ["bash", "-euo", "pipefail", "-c"],
    }[block.language]
    done = subprocess.run(
        [*command, block.code.replace(ADDRESS, address)],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout


def test_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    missing = [target for target in targets if not (ROOT / target).exists()]
    assert missing == []
