"""Signals that stop a server."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from tests.support.servers import ENDLESS, queue, serving
from tests.support.waits import LIMIT_SECONDS, until


def test_a_second_interrupt_ends_running_work(tmp_path: Path) -> None:
    with serving(tmp_path, drain_seconds=10 * LIMIT_SECONDS) as server:
        run_id = queue(server.client, 2, options=ENDLESS)
        until(lambda: server.client.get(f"/v1/runs/{run_id}").json()["state"] == "running")
        server.server.handle_exit(signal.SIGINT, None)
        until(lambda: server.client.get("/readyz").status_code == 503)
        time.sleep(0.3)
        assert server.thread.is_alive()
        server.server.handle_exit(signal.SIGINT, None)
        server.thread.join(LIMIT_SECONDS)
        assert not server.thread.is_alive()
        assert server.server.exit_code == 0
    with serving(tmp_path) as server:
        assert server.client.get(f"/v1/runs/{run_id}").json()["state"] == "failed"
