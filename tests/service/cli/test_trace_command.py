"""``energy-flow trace``."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import orjson
import pytest
from matplotlib.image import imread
from numpy.typing import NDArray

from energy_flow.client import FlowClient, Run
from service.plots.unreached_cells import COLOUR
from tests.support.live_server import LiveServer, energy_flow
from tests.support.waits import LIMIT_SECONDS


def command(server: LiveServer, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    given = [str(argument) for argument in arguments]
    return subprocess.run(
        energy_flow("trace", *given, "--url", server.url),
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )


def test_the_command_sums_up(server: LiveServer, traced_run: Run) -> None:
    done = command(server, traced_run.run_id)
    assert done.returncode == 0, done.stderr
    assert "none dropped" in done.stdout
    assert "projected" in done.stdout
    summary = orjson.loads(command(server, traced_run.run_id, "--json", "--kind", "spawn").stdout)
    trace = traced_run.data["trace"]
    assert summary["run"]["totals"] == trace["totals"]
    assert summary["kinds"] == {"spawn": trace["totals"]["spawn"], "reflect": 0, "terminate": 0}


def test_the_command_converts_and_reads_files(
    server: LiveServer, traced_run: Run, tmp_path: Path
) -> None:
    whole = tmp_path / "trace.parquet"
    assert command(server, traced_run.run_id, "--out", whole).returncode == 0
    for name in ("t.arrows", "t.ndjson", "t.csv", "t.pftrace"):
        here, there = tmp_path / name, tmp_path / f"server-{name}"
        for source, out in ((str(whole), here), (traced_run.run_id, there)):
            done = command(server, source, "--sample", "2", "--out", out)
            assert done.returncode == 0, done.stderr
        if name == "t.pftrace":
            # The server adds what was counted at each step.
            assert 0 < here.stat().st_size < there.stat().st_size
        else:
            assert here.read_bytes() == there.read_bytes()
    summary = orjson.loads(command(server, whole, "--json").stdout)
    assert summary["kinds"] == traced_run.data["trace"]["totals"]
    assert summary["run"] is None


def test_the_command_draws(server: LiveServer, traced_run: Run, tmp_path: Path) -> None:
    path = tmp_path / "paths.png"
    done = command(server, traced_run.run_id, "--picture", path, "--sample", "1")
    assert done.returncode == 0, done.stderr
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_picture_has_grey_cells_where_no_flow_arrived(
    server: LiveServer, embeddings: NDArray[np.float32], tmp_path: Path
) -> None:
    def count_grey(outputs: list[str]) -> int:
        with FlowClient(server.url) as client:
            run_id = client.simulate(embeddings[:1], outputs=outputs).run_id
        done = command(server, str(run_id), "--picture", tmp_path / "paths.png")
        assert done.returncode == 0, done.stderr
        is_near = np.isclose(imread(tmp_path / "paths.png")[..., :3], float(COLOUR), atol=0.01)
        return int(np.all(is_near, axis=-1).sum())

    # The smoothed edges of lines can have the same grey; a cell has some eight thousand points.
    assert count_grey(["surface"]) > 4000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("RUN", "--kind", "burst"), "--kind cannot be 'burst'"),
        (("RUN", "--out", "trace.xls"), "belongs to no format"),
        (("RUN", "--format", "csv"), "--out"),
        (("RUN", "--out", "t.csv", "--format", "excel"), "--format cannot be 'excel'"),
        (("no.parquet",), "does not exist"),
        ((__file__,), "is not a trace in Parquet"),
        (("none",), "there is no run"),
        (("RUN", "--picture", "p.png", "--sample", "1", "--sample", "2"), "one --sample"),
        (("RUN", "--picture", "p.svg"), ".png"),
    ],
)
def test_the_command_refuses(
    server: LiveServer, traced_run: Run, arguments: tuple[str, ...], words: str
) -> None:
    done = command(server, *(traced_run.run_id if one == "RUN" else one for one in arguments))
    assert done.returncode in (1, 2)
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_refuses_a_file_that_is_not_a_trace(server: LiveServer, tmp_path: Path) -> None:
    path = tmp_path / "noise.parquet"
    path.write_bytes(b"noise")
    for flags in ((), ("--out", tmp_path / "trace.csv")):
        done = command(server, path, *flags)
        assert done.returncode == 1
        assert done.stderr.startswith(f"error: {path} is not a trace in Parquet: ")
    assert [one.name for one in tmp_path.iterdir()] == ["noise.parquet"]
