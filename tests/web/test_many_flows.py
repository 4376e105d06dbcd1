"""50,000 flows that move at once: few draw calls, and nothing sent from frame to frame."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.live_server import LiveServer

FLOWS = 50_000
STEPS = 12
MOST_DRAW_CALLS = 10
COLUMNS = 5
"""Of the flows that move: position, aim, value, standing, whether they arrive at once."""

COUNT_CALLS = """
    window.calls = {draw: 0, upload: 0};
    const counted = {
        draw: ["drawArrays", "drawElements"],
        upload: ["bufferData", "bufferSubData"],
    };
    for (const [kind, names] of Object.entries(counted)) {
        for (const name of names) {
            const call = WebGL2RenderingContext.prototype[name];
            WebGL2RenderingContext.prototype[name] = function (...given) {
                window.calls[kind] += 1;
                return call.apply(this, given);
            };
        }
    }
"""


def test_fifty_thousand_flows_are_carried(server: LiveServer, page: Page) -> None:
    page.add_init_script(COUNT_CALLS)
    page.goto(f"{server.url}/#/demo?flows={FLOWS}&steps={STEPS}")
    figures = page.locator(".lattice-figures")
    expect(figures).to_contain_text("50,000 flows")
    page.get_by_label("speed").select_option("4")
    page.evaluate("calls = {draw: 0, upload: 0}")
    page.get_by_role("button", name="Play").click()
    expect(page.get_by_text(f"{STEPS} of {STEPS} steps")).to_be_visible()
    calls = page.evaluate("calls")
    draw_calls = int(figures.get_attribute("data-draw-calls") or 0)
    assert 0 < draw_calls <= MOST_DRAW_CALLS
    # Many frames to a step, and what is sent is sent once a step.
    assert calls["draw"] > 2 * STEPS * draw_calls
    assert calls["upload"] <= COLUMNS * (STEPS + 1)
