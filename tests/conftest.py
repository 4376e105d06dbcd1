"""The profile of generated examples, the device, the marker ``slow``, and a shared server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray

from energy_flow.client import FlowClient, Run
from tests.support.index_databases import DATABASES
from tests.support.live_server import TRACED_OPTIONS, LiveServer, live_server, put_dataset

# The same examples on every machine, however slow it is.
settings.register_profile(
    "tests",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tests")


FOLDER = Path(__file__).parent
SLOW_FOLDERS = ("compatibility", "fuzz", "repository", "web")
SLOW_FIXTURES = ("shared_server",)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the device on which processors are made, and the database of all indexes."""
    parser.addoption("--device", default="cpu", help="where tests that name no device compute")
    parser.addoption(
        "--postgres",
        action="store_true",
        help="let servers have their indexes in PostgreSQL, without the tests marked as sqlite",
    )


@pytest.fixture(scope="session", autouse=True)
def _device(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let processors be made on the chosen device where a test names none."""
    device = request.config.getoption("--device")
    if device == "cpu":
        yield
        return
    from energy_flow import FlowProcessor

    defaults = FlowProcessor.__init__.__kwdefaults__
    assert defaults is not None
    before = defaults["device"]
    defaults["device"] = device
    yield
    defaults["device"] = before


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark whole folders as slow, and the tests that use a server in another process."""
    if config.getoption("postgres"):
        left_out = [item for item in items if item.get_closest_marker("sqlite")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    for item in items:
        folder = item.path.relative_to(FOLDER).parts[0]
        fixtures = getattr(item, "fixturenames", ())
        if folder in SLOW_FOLDERS or any(name in fixtures for name in SLOW_FIXTURES):
            item.add_marker("slow")


@pytest.fixture(scope="session", autouse=True)
def index_databases(pytestconfig: pytest.Config) -> Iterator[None]:
    """Run PostgreSQL for the indexes of all servers, if the option chooses it."""
    if not pytestconfig.getoption("postgres"):
        yield
        return
    with DATABASES.running():
        yield


@pytest.fixture(autouse=True)
def dropped_databases(request: pytest.FixtureRequest) -> Iterator[None]:
    """Drop the databases of the test after it."""
    if not request.config.getoption("postgres"):
        yield
        return
    folder: Path = request.getfixturevalue("tmp_path")
    yield
    DATABASES.drop_below(folder)


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """Return a server that runs until the end of the session."""
    with live_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="session")
def embeddings() -> NDArray[np.float32]:
    """Return embeddings for the model of the shared server, (6, 8)."""
    return np.random.default_rng(5).normal(size=(6, 8)).astype(np.float32)


@pytest.fixture(scope="session")
def dataset(shared_server: LiveServer, embeddings: NDArray[np.float32]) -> str:
    """Return the name under which the shared server stores the embeddings."""
    return put_dataset(shared_server, "words", embeddings)


@pytest.fixture(scope="session")
def traced_run(shared_server: LiveServer, embeddings: NDArray[np.float32]) -> Run:
    """Return a run with spawns, reflections and a complete trace."""
    with FlowClient(shared_server.url) as client:
        submitted = client.submit_run(
            embeddings, options=TRACED_OPTIONS, trace={"keep": "lossless"}
        )
        return client.wait(submitted.run_id)
