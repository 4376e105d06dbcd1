"""The versions, and servers of today on what they left."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.compatibility.finishing import finish
from tests.compatibility.opened import Opened, opening
from tests.compatibility.versions import Version


@pytest.fixture(scope="session", params=Version.all(), ids=lambda version: version.folder.name)
def version(request: pytest.FixtureRequest) -> Version:
    found: Version = request.param
    return found


@pytest.fixture(scope="session")
def opened(version: Version, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """One that no test changes: what was cut off has been finished, what was paused still is."""
    with opening(version, tmp_path_factory.mktemp("opened")) as found:
        yield replace(found, stopped=finish(found.client, found.made))


@pytest.fixture(scope="module")
def changed(version: Version, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """One for tests that change what is there, each something else."""
    with opening(version, tmp_path_factory.mktemp("changed")) as found:
        yield found
