"""A headless browser and a server for it. A test fails if a page logs an error."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)

from tests.support.live_server import LiveServer, live_server
from tests.support.repository import ROOT

SMALL = (
    "lattice_width=8",
    "lattice_height=8",
    "lattice_depth=8",
    # The sample that the pages carry has rows of this length.
    "embedding_dim=384",
    "mapper_hidden_dim=32",
    "carrier_hidden_size=16",
    "carrier_num_layers=1",
)
FLAGS = tuple(flag for field in SMALL for flag in ("--set", field))

# No display, no accelerator, no sandbox for root, and no requests to other servers.
BROWSER_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Names of other sites, which are on this machine too.
    "--host-resolver-rules=MAP *.test 127.0.0.1",
)
DESKTOP = {"width": 1280, "height": 720}

TIMEOUT_MS = 120_000
"""Timeout of every wait in a page; long, so that slow machines pass."""
expect.set_options(timeout=TIMEOUT_MS)

NewPage = Callable[..., Page]


def find_browser() -> str | None:
    """Return the path of Chromium or Chrome; None if neither is installed."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


# The scope ends with these tests: Playwright keeps an event loop in this thread, and tests of
# other packages start their own.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    path = find_browser()
    if path is None:
        pytest.skip("no Chromium or Chrome found; install one to test the pages")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=list(BROWSER_FLAGS), timeout=TIMEOUT_MS
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live_server(tmp_path_factory.mktemp("pages"), FLAGS) as running:
        yield running


@pytest.fixture
def new_page(browser: Browser) -> Iterator[NewPage]:
    """Yield a function that opens pages; fail at the end if one of them logged an error.

    ``expected`` are parts of error messages that the test provokes, such as "422" for the message
    of the browser about an answer of that status.
    """
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def open_page(
        viewport: dict[str, int] | None = None, dark: bool = False, expected: tuple[str, ...] = ()
    ) -> Page:
        width, height = (viewport or DESKTOP).values()
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(TIMEOUT_MS)

        def collect(message: ConsoleMessage) -> None:
            is_expected = any(part in message.text for part in expected)
            if message.type == "error" and not is_expected:
                errors.append(message.text)

        page.on("console", collect)
        page.on("pageerror", lambda error: errors.append(str(error)))
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def page(new_page: NewPage) -> Page:
    """Return a page of 1280 × 720 pixels in light colours."""
    return new_page()


@pytest.fixture(scope="session")
def axe() -> str:
    """Return the source of axe-core, which checks the accessibility of a page."""
    script = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
    if not script.exists():
        pytest.skip("axe-core is not installed; run npm ci in web/")
    return script.read_text(encoding="utf-8")
