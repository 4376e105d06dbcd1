"""A server whose engine has failed: probes fail, work ends with the reason, a restart helps."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.experiments import put_dataset, start_experiment, wait_for_state
from tests.support.live_server import free_port
from tests.support.repository import ROOT
from tests.support.servers import (
    ENDLESS,
    RunningServer,
    local_engine,
    queue,
    rows,
    serving,
    wait_until_ended,
)
from tests.support.waits import LIMIT_SECONDS, until


def lose() -> None:
    raise RuntimeError("CUDA error: device-side assert triggered")


def lose_device(server: RunningServer) -> None:
    """Let a call on the engine's thread find that the device is lost."""
    future = local_engine(server.server.service).call(lose)
    with pytest.raises(RuntimeError, match="device-side assert"):
        future.result(LIMIT_SECONDS)
    until(lambda: server.client.get("/livez").status_code == 503)


def test_livez_fails_once_only_a_restart_helps(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        client = server.client
        assert client.get("/livez").status_code == 200
        lose_device(server)
        for path in ("/livez", "/readyz", "/v2/health/live", "/v2/health/ready"):
            answer = client.get(path)
            assert answer.status_code == 503, path
            assert "device-side assert" in answer.text, path
        problem = client.get("/livez")
        assert problem.headers["content-type"] == "application/problem+json"
        assert "start the server again" in problem.json()["detail"]
        refused = client.post("/v1/simulate", json={"embeddings": rows().tolist()})
        assert refused.status_code == 503
        assert "device-side assert" in refused.json()["detail"]
        # What is stored can still be read.
        assert client.get("/v1/runs").status_code == 200
        engine = client.get("/v1/system").json()["engine"]
        assert engine["state"] == "failed"
        assert "device-side assert" in engine["failure"]
        assert 'energy_flow_engine_failed{worker="local"} 1.0' in client.get("/metrics").text


def test_the_active_run_fails_and_the_queued_one_runs_after_the_restart(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        client = server.client
        with server.engine_held() as engine:
            active = queue(client, 2, options=ENDLESS)
            engine.run_until(lambda: client.get("/v1/system").json()["engine"]["active_runs"])
            # Held before it can enter.
            waiting = queue(client, 2)
            local_engine(server.server.service).call(lose)
        until(lambda: client.get("/livez").status_code == 503)
        failed = wait_until_ended(client, active)
        assert failed["state"] == "failed"
        assert "device-side assert" in failed["error"]["detail"]
    with serving(tmp_path) as server:
        assert wait_until_ended(server.client, waiting)["state"] == "succeeded"
        assert wait_until_ended(server.client, active)["state"] == "failed"


def test_an_experiment_does_not_wait_for_an_engine_that_has_failed(tmp_path: Path) -> None:
    sweep = {
        "name": "sweep",
        "dataset": "rows",
        "sweep": {"grid": {"seed": [1, 2, 3]}},
        "options": ENDLESS,
    }
    with serving(tmp_path) as server:
        put_dataset(server.client, "rows", 2)
        start_experiment(server.client, **sweep)
        until(lambda: server.client.get("/v1/system").json()["engine"]["active_runs"])
        lose_device(server)
        paused = wait_for_state(server.client, "sweep", "paused")
        assert "device-side assert" in paused["error"]["detail"]
        assert paused["trials"] | {"failed": 1, "queued": 2} == paused["trials"]


@pytest.mark.parametrize("status", [200, 503])
def test_the_health_check_ends_a_server_that_only_a_restart_helps(
    tmp_path: Path, status: int
) -> None:
    with serving(tmp_path) as server:
        if status != 200:
            lose_device(server)
        # In place of the server's process, which is the one of the tests.
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
            checked = subprocess.run(
                [sys.executable, ROOT / "docker" / "healthcheck.py", str(process.pid)],
                env={**os.environ, "ENERGY_FLOW_PORT": str(server.client.base_url.port)},
                stderr=subprocess.PIPE,
                text=True,
                timeout=LIMIT_SECONDS,
                check=False,
            )
            if status == 200:
                assert (checked.returncode, checked.stderr) == (0, "")
                process.communicate(b"\n", timeout=LIMIT_SECONDS)
                assert process.returncode == 0
            else:
                assert checked.returncode == 1
                assert "device-side assert" in checked.stderr
                assert process.wait(LIMIT_SECONDS) == -signal.SIGTERM


def test_the_health_check_ends_nothing_while_there_is_no_answer() -> None:
    checked = subprocess.run(
        # No process has this id.
        [sys.executable, ROOT / "docker" / "healthcheck.py", "999999999"],
        env={**os.environ, "ENERGY_FLOW_PORT": str(free_port())},
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    assert checked.returncode == 1
    assert "refused" in checked.stderr
