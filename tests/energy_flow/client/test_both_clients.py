"""The blocking client has the methods of the asynchronous one, and is generated from it."""

from __future__ import annotations

import inspect
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from energy_flow.client import AsyncFlowClient, FlowClient
from energy_flow.client._async.ablations import AsyncAblations
from energy_flow.client._async.datasets import AsyncDatasets
from energy_flow.client._async.experiments import AsyncExperiments
from energy_flow.client._sync.ablations import Ablations
from energy_flow.client._sync.datasets import Datasets
from energy_flow.client._sync.experiments import Experiments
from tests.support.repository import ROOT

SYNC = Path("energy_flow/client/_sync")

CLASSES = [
    (FlowClient, AsyncFlowClient),
    (Ablations, AsyncAblations),
    (Datasets, AsyncDatasets),
    (Experiments, AsyncExperiments),
]


def public(kind: type) -> dict[str, Any]:
    """Return the public members of a class, which both clients call by the same names."""
    members = inspect.getmembers(kind)
    return {
        "close" if name == "aclose" else name: member
        for name, member in members
        if not name.startswith("_")
    }


def signature(function: Callable[..., Any]) -> list[tuple[str, Any, Any, str]]:
    """Return name, kind, default and annotation of each parameter, and the result."""
    found = inspect.signature(function)
    parameters = [
        (one.name, one.kind, one.default, blocking(one.annotation))
        for one in found.parameters.values()
    ]
    return [*parameters, ("return", None, None, blocking(found.return_annotation))]


def blocking(annotation: str) -> str:
    """Return an annotation of the asynchronous client as the blocking one has it."""
    return re.sub(r"\bAsync(?=[A-Z])", "", str(annotation))


@pytest.mark.parametrize(("sync_class", "async_class"), CLASSES)
def test_both_clients_have_the_same_signatures(sync_class: type, async_class: type) -> None:
    sync_members, async_members = public(sync_class), public(async_class)
    assert sync_members.keys() == async_members.keys()
    assert signature(sync_class) == signature(async_class)
    for name, member in sync_members.items():
        other = async_members[name]
        if isinstance(member, property):
            assert isinstance(other, property)
            continue
        assert signature(member) == signature(other), name
        assert not inspect.iscoroutinefunction(member)
        assert inspect.isgeneratorfunction(member) == inspect.isasyncgenfunction(other)
        returns_iterator = "AsyncIterator" in inspect.signature(other).return_annotation
        assert inspect.iscoroutinefunction(other) is not returns_iterator, name


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """Return a copy of the generator, its source and what it generated."""
    # Ruff sorts imports by whether it finds their modules.
    for folder in ("energy_flow", "scripts"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def generate(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "scripts" / "unasync.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_check_names_what_differs(copied: Path) -> None:
    checked = generate(copied, "--check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    edited, removed, added = (copied / SYNC / name for name in ("runs.py", "models.py", "old.py"))
    expected = {path: path.read_text() for path in (edited, removed)}
    edited.write_text(expected[edited].replace("def cancel", "def stop"))
    removed.unlink()
    added.write_text("")
    checked = generate(copied, "--check")
    assert checked.returncode == 1
    assert [line.split()[0] for line in checked.stdout.splitlines()] == [
        f"{SYNC}/models.py",
        f"{SYNC}/runs.py",
        f"{SYNC}/old.py",
    ]
    assert not removed.exists()
    assert generate(copied).returncode == 0
    assert {path: path.read_text() for path in expected} == expected
    assert not added.exists()
    assert generate(copied, "--check").returncode == 0
