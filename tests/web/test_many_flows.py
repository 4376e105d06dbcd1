"""50,000 flows at once need few draw calls and no upload to the GPU for most frames."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.support.live_server import LiveServer
from tests.web.conftest import TIMEOUT_MS, NewPage

FLOWS = 50_000
STEPS = 6
MAX_DRAW_CALLS = 10
COLUMNS = 5
"""Attributes of moving flows: position, target, value, emphasis, jumps."""

COUNT_CALLS = """
    window.calls = {draw: 0, upload: 0};
    const counted = {
        draw: ["drawArrays", "drawElements"],
        upload: ["bufferData", "bufferSubData"],
    };
    for (const [kind, names] of Object.entries(counted)) {
        for (const name of names) {
            const call = WebGL2RenderingContext.prototype[name];
            WebGL2RenderingContext.prototype[name] = function (...args) {
                window.calls[kind] += 1;
                return call.apply(this, args);
            };
        }
    }
"""

# The CPU draws the pixels.
SMALL_WINDOW = {"width": 480, "height": 360}
DRAWING_MS = 4 * TIMEOUT_MS


def test_fifty_thousand_flows_are_drawn(server: LiveServer, new_page: NewPage) -> None:
    page = new_page(SMALL_WINDOW)
    page.add_init_script(COUNT_CALLS)
    page.goto(f"{server.url}/#/demo?flows={FLOWS}&steps={STEPS}")
    figures = page.locator(".lattice-figures")
    expect(figures).to_contain_text("50,000 flows", timeout=DRAWING_MS)
    page.get_by_label("speed").select_option("4")
    page.evaluate("calls = {draw: 0, upload: 0}")
    page.get_by_role("button", name="Play").click()
    expect(page.get_by_text(f"{STEPS} of {STEPS} steps")).to_be_visible(timeout=DRAWING_MS)
    calls = page.evaluate("calls")
    draw_calls = int(figures.get_attribute("data-draw-calls") or 0)
    assert 0 < draw_calls <= MAX_DRAW_CALLS
    # There are more frames than steps; attributes are uploaded once a step.
    assert calls["draw"] > 1.5 * STEPS * draw_calls
    assert calls["upload"] <= COLUMNS * (STEPS + 1)
