"""The examples run, and print what they show."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.live_server import energy_flow, live_server
from tests.support.repository import EXAMPLES, ROOT
from tests.support.scripts import printed_by
from tests.support.servers import serving
from tests.support.waits import LIMIT_SECONDS

LIBRARIES = {
    "pandas": ("64 samples", "ends by reason", "projected", "zdepth", "one sample"),
    "polars": ("events by step and kind", "terminate", "one sample"),
    "duckdb": ("events by kind", "generation", "reflections by wall"),
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("demo")
    return folder, printed_by("demo.py", folder)


def test_every_example_is_run_here() -> None:
    tested = {"demo.py", "in_process.py", "sweep.py", "through_a_server.py"}
    tested |= {f"trace_with_{library}.py" for library in LIBRARIES}
    assert {path.name for path in EXAMPLES.glob("*.py")} == tested
    overview = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert {name for name in tested if f"({name})" in overview} == tested


def test_demo(demo: tuple[Path, str]) -> None:
    folder, printed = demo
    for words in (
        "Surfaces:",
        "Events:",
        "Exits:       z0 ",
        "\n             zdepth ",
        "Memory:",
        "a second",
    ):
        assert printed.count(words) >= 3, words
    for words in ("z0, true", "zdepth, predicted", "right: equilibrium", "256 × 20 × 20"):
        assert words in printed
    for picture in ("spectrometer.png", "surface.png"):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")
    for trace in ("spectrometer_trace.parquet", "dictionary_trace.parquet", "trace.parquet"):
        assert (folder / trace).stat().st_size > 0


def test_demo_shows_charges_and_all_kinds_of_events(demo: tuple[Path, str]) -> None:
    printed = demo[1]
    parted = re.search(r"Charges: +([\d.]+)% of .*\n +([\d.]+)% of", printed)
    assert parted is not None
    assert min(map(float, parted.groups())) > 90
    events = re.findall(r"Events: +([\d,]+) spawn, ([\d,]+) reflect, ([\d,]+) term", printed)
    plain, spawning, _ = ([int(count.replace(",", "")) for count in run] for run in events)
    assert plain[0] == 0
    assert min(plain[1:]) > 0
    assert min(spawning) > 0


def test_the_runs_of_the_demo_are_kept(demo: tuple[Path, str]) -> None:
    """The demo prints how to see them, and ends its server."""
    folder, printed = demo
    found = re.search(r"/#/runs/(\w+)/lattice\?sample=(\d+)", printed)
    assert found is not None
    with serving(folder / "data") as server:
        path = f"/v1/runs/{found[1]}/replay"
        replayed = server.client.post(path, json={"sample": int(found[2]), "flow": 0})
        assert replayed.json()["agrees"] is True


def test_a_demo_that_cannot_start_reports_the_reason(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "demo.py", tmp_path],
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "ENERGY_FLOW_NONSENSE": "1"},
    )
    assert done.returncode == 1
    assert "The demo failed" in done.stderr
    assert "ENERGY_FLOW_NONSENSE" in done.stderr


@pytest.mark.parametrize(("library", "words"), LIBRARIES.items())
def test_a_trace_with_a_library(
    demo: tuple[Path, str], library: str, words: tuple[str, ...]
) -> None:
    printed = printed_by(f"trace_with_{library}.py", demo[0] / "trace.parquet")
    for word in words:
        assert word in printed


def test_in_process() -> None:
    assert "same surface" in printed_by("in_process.py")


def test_through_a_server(tmp_path: Path) -> None:
    with live_server(tmp_path, ()) as server:
        printed = printed_by("through_a_server.py", server.url)
    assert "(8, 10, 10)" in printed
    assert "refused as expected: 422" in printed


def test_sweep(tmp_path: Path) -> None:
    with live_server(tmp_path, ()) as server:
        printed = printed_by("sweep.py", server.url)
        command = subprocess.run(
            energy_flow(
                "experiment", "create", str(EXAMPLES / "sweep.toml"), "--name", "second",
                "--upload", str(EXAMPLES / "data" / "wordnet_256.safetensors"), "--watch",
                "--url", server.url,
            ),
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
        )  # fmt: skip
    for words in ("8 trials of noise_std, spawn.threshold", "spawned.mean", "first births"):
        assert words in printed
    assert command.returncode == 0, command.stderr
    assert "8 succeeded of 8" in command.stdout
