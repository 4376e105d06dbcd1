"""A browser without a window, and servers for it; every page must stay free of console errors."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)

from tests.live_server import LiveServer, live_server

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

# No display, no accelerator, no sandbox for root, and nothing said to the outside.
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
)
DESKTOP = {"width": 1280, "height": 720}

PATIENCE_MS = 120_000
"""After which a page is taken never to show what it should; far beyond what it takes anywhere."""
expect.set_options(timeout=PATIENCE_MS)

NewPage = Callable[..., Page]


def find_browser() -> str | None:
    """The path of a Chromium or Chrome."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


# Until these tests end: Playwright keeps an event loop in this thread, and others start their own.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    path = find_browser()
    if path is None:
        pytest.skip("there is no Chromium on this machine")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=list(BROWSER_FLAGS), timeout=PATIENCE_MS
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live_server(tmp_path_factory.mktemp("pages"), FLAGS) as running:
        yield running


@pytest.fixture
def new_page(browser: Browser) -> Iterator[NewPage]:
    """Makes pages; at the end of the test none of them may have had an error.

    ``expected`` are parts of messages that the test provokes, such as the browser's own word on
    an answer of 422.
    """
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def make(
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
        page.set_default_timeout(PATIENCE_MS)

        def heard(message: ConsoleMessage) -> None:
            known = any(part in message.text for part in expected)
            if message.type == "error" and not known:
                errors.append(message.text)

        page.on("console", heard)
        page.on("pageerror", lambda error: errors.append(str(error)))
        return page

    yield make
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def page(new_page: NewPage) -> Page:
    """A page at 1280 × 720 in light colours."""
    return new_page()


@pytest.fixture(scope="session")
def axe() -> str:
    """A program that looks for what keeps people from using a page; comes with web/."""
    script = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
    if not script.exists():
        pytest.skip("axe-core is not installed: npm ci in web/")
    return script.read_text(encoding="utf-8")
