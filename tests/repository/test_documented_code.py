"""The code in README.md, the tutorial and the guides does what it describes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.live_server import live_server
from tests.support.repository import ROOT
from tests.support.waits import LIMIT_SECONDS

PAGES = (
    "README.md",
    "docs/tutorial.md",
    "docs/client.md",
    "docs/python.md",
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs" / "how_to").glob("*.md")),
)
"""Whose blocks of Python and Bash are run, in order, in a folder of their own for each page."""

ADDRESS = "http://127.0.0.1:8000"
HOST_AND_PORT = ADDRESS.removeprefix("http://")

NOT_RUN = {
    "README.md": ["python3 -m venv .venv", "energy-flow serve"],
    "docs/client.md": ["from energy_flow.client import FlowClient"],
    "docs/tutorial.md": ["python3 -m venv .venv", "energy-flow serve"],
}
"""First lines of the blocks that are marked as not run; others would go unnoticed."""

COMMANDS = {
    "python": (sys.executable, "-W", "error", "-c"),
    "bash": ("bash", "-euo", "pipefail", "-c"),
}


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code, and whether it is marked as one that the test cannot run."""

    language: str
    code: str
    runs: bool


def blocks(page: str) -> list[Block]:
    """Return the blocks of Python and Bash in a page, in order."""
    pattern = re.compile(
        r"(<!-- not run by the test[^\n]*-->\n)?^```(python|bash)\n(.*?)^```$",
        re.MULTILINE | re.DOTALL,
    )
    text = (ROOT / page).read_text(encoding="utf-8")
    return [Block(found[2], found[3], runs=found[1] is None) for found in pattern.finditer(text)]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a server by the line in the README, but on a free port, and return its address."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    line = re.search(r"^energy-flow serve(.*)$", readme, re.MULTILINE)
    assert line is not None
    with live_server(tmp_path_factory.mktemp("documented"), line[1].split()) as server:
        yield server.url


def test_only_known_blocks_are_not_run() -> None:
    not_run = {
        page: [block.code.splitlines()[0] for block in blocks(page) if not block.runs]
        for page in PAGES
    }
    assert {page: lines for page, lines in not_run.items() if lines} == NOT_RUN


def test_readme_and_tutorial_have_code_that_runs() -> None:
    for page in ("README.md", "docs/tutorial.md"):
        languages = {block.language for block in blocks(page) if block.runs}
        assert languages == set(COMMANDS), page


@pytest.mark.parametrize("page", [page for page in PAGES if any(b.runs for b in blocks(page))])
def test_code_runs(page: str, address: str, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    for block in blocks(page):
        if not block.runs:
            continue
        code = block.code.replace(HOST_AND_PORT, address.removeprefix("http://"))
        done = subprocess.run(
            [*COMMANDS[block.language], code],
            cwd=tmp_path,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{code}\n{done.stdout}{done.stderr}"


def anchors(page: Path) -> set[str]:
    """Return what a link may name in a page: its headings, as forges write them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_links_lead_somewhere(page: str) -> None:
    # Links between the pages in docs/ are checked when the site is built.
    text = (ROOT / page).read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)]+)\)", text):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = ROOT / (path or page)
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
