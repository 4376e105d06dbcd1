"""``energy-flow`` as a person or a script runs it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from energy_flow import FlowProcessor, pretrained
from energy_flow.client import FlowClient
from energy_flow.testing import tiny_config
from energy_flow.trace.formats.parquet import write_parquet
from service.settings_table import SETTINGS
from tests.support.command_line import (
    Caller,
    assert_interrupted,
    assert_refused,
    open_terminal,
    run,
)
from tests.support.live_server import (
    TINY_FLAGS,
    LiveServer,
    interrupts_enabled,
    live_server,
)
from tests.support.repository import ROOT
from tests.support.waits import LIMIT_SECONDS

FILES = {"surface.npy", "trace.parquet", "metrics.json", "surface.png"}


@pytest.mark.parametrize(
    "command", [(), ("serve",), ("simulate",), ("runs",), ("runs", "wait"), ("version",)]
)
def test_help(command: tuple[str, ...]) -> None:
    done = run(*command, "--help", COLUMNS="100")
    assert done.returncode == 0
    assert "Usage:" in done.stdout
    assert done.stderr == ""


def test_version(call: Caller) -> None:
    done = call("version")
    assert done.returncode == 0
    assert done.stdout.startswith("energy-flow ")


def test_local_runs_and_runs_on_a_server_give_the_same_numbers(
    server: LiveServer, embeddings_file: Path, tmp_path: Path
) -> None:
    outputs = ("--output", "surface", "--output", "hits", "--output", "reached")
    common = ("--seed", "5", "--rows", "1:5", *outputs)
    here = run(
        "simulate", embeddings_file, *TINY_FLAGS, *common, "--out", tmp_path / "here", "--json"
    )
    there = run(
        "simulate", embeddings_file, "--url", server.url, *common, "--out", tmp_path / "there",
        "--json",
    )  # fmt: skip
    assert here.returncode == there.returncode == 0, here.stderr + there.stderr
    for name in ("surface.npy", "hits.npy", "reached.npy"):
        one, other = np.load(tmp_path / "here" / name), np.load(tmp_path / "there" / name)
        assert one.shape[0] == 4
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    reached = np.load(tmp_path / "here" / "reached.npy")
    assert reached.dtype == np.bool_
    np.testing.assert_array_equal(reached, np.load(tmp_path / "here" / "hits.npy") > 0)
    traces = [pq.read_table(tmp_path / where / "trace.parquet") for where in ("here", "there")]
    assert traces[0].equals(traces[1])
    reports = [json.loads(done.stdout) for done in (here, there)]
    reports[1]["trace"].pop("url")
    for name in ("seed", "sample_keys", "trace", "samples", "warnings"):
        assert reports[0][name] == reports[1][name]
    assert reports[0]["sample_keys"] == [1, 2, 3, 4]
    timed = {"mean_step_ms", "max_step_ms"}
    one, other = (
        {name: value for name, value in report["metrics"].items() if name not in timed}
        for report in reports
    )
    assert one == other
    for where in ("here", "there"):
        folder = tmp_path / where
        assert {path.name for path in folder.iterdir()} == FILES | {"hits.npy", "reached.npy"}
        assert (folder / "surface.png").read_bytes().startswith(b"\x89PNG")
        assert json.loads((folder / "metrics.json").read_bytes())["metrics"]["created"] > 0
    assert not list(tmp_path.glob(".*"))


def test_a_long_file_gives_the_bits_of_one_batch(call: Caller, tmp_path: Path) -> None:
    # More samples than enter the engine's pool in one part.
    embeddings = np.random.default_rng(7).normal(size=(1200, 8)).astype(np.float32)
    np.save(tmp_path / "long.npy", embeddings)
    out = tmp_path / "out"
    done = call(
        "simulate", tmp_path / "long.npy", *TINY_FLAGS, "--seed", "3", "--output", "hits",
        "--out", out, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    whole = FlowProcessor(tiny_config()).simulate(embeddings, seed=3, outputs=["surface", "hits"])
    for name in ("surface", "hits"):
        np.testing.assert_array_equal(np.load(out / f"{name}.npy"), whole.outputs[name])
    write_parquet(whole.trace, tmp_path / "whole.parquet")
    traces = [pq.read_table(path) for path in (out / "trace.parquet", tmp_path / "whole.parquet")]
    assert traces[0].equals(traces[1])
    report = json.loads(done.stdout)
    assert report["samples"] == [sample.to_dict() for sample in whole.samples]
    timed = {"mean_step_ms", "max_step_ms"}
    counted = [
        {name: value for name, value in metrics.items() if name not in timed}
        for metrics in (report["metrics"], whole.metrics.to_dict())
    ]
    assert counted[0] == counted[1]
    # Progress is for people.
    assert done.stderr == ""


@pytest.mark.slow
def test_an_interrupt_ends_a_run_in_this_process(tmp_path: Path) -> None:
    np.save(tmp_path / "long.npy", np.ones((20_000, 8), np.float32))
    with (
        interrupts_enabled(),
        open_terminal("simulate", tmp_path / "long.npy", *TINY_FLAGS) as terminal,
    ):
        terminal.wait_for(" of 20,000 samples, step ")
        terminal.process.send_signal(signal.SIGINT)
        done = terminal.finish()
    assert_interrupted(done)


def test_a_summary_for_people(call: Caller, server: LiveServer, embeddings_file: Path) -> None:
    for where in (TINY_FLAGS, ("--url", server.url)):
        done = call(
            "simulate", embeddings_file, *where, "--output", "surface", "--output", "reached"
        )
        assert done.returncode == 0, done.stderr
        assert re.search(r"reached +6 × 2 × 4 × 4, bool, \d+ of 192 true", done.stdout)
        for word in ("surface", "flows", "exits z0", "exits zdepth", "memory", "flow-steps"):
            assert word in done.stdout
        assert done.stderr == f"read {embeddings_file}: 6 rows of 8 numbers\n"


def test_a_checkpoint_can_be_simulated_here(
    call: Caller,
    client: FlowClient,
    embeddings_file: Path,
    embeddings: NDArray[np.float32],
    tmp_path: Path,
) -> None:
    checkpoint = client.download_model("default", tmp_path / "default.safetensors")
    done = call("simulate", embeddings_file, "--model", checkpoint, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    expected = client.simulate(embeddings).surface
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "surface.npy"), expected)


def test_a_model_of_the_package_can_be_simulated_here(
    call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = load_file(pretrained.find("spectrometer").sample)["inputs"][:2]
    np.save("pictures.npy", rows)
    done = call("simulate", "pictures.npy", "--model", "spectrometer", "--json")
    assert done.returncode == 0, done.stderr
    model = json.loads(done.stdout)["model"]
    assert (model["name"], model["trained"]) == ("spectrometer", True)
    # A file of the name wins.
    Path("spectrometer").write_text("no checkpoint")
    assert_refused(call("simulate", "pictures.npy", "--model", "spectrometer"), "spectrometer: ")


def test_models_of_the_package_are_listed(call: Caller, server: LiveServer) -> None:
    listed = call("model", "list", "--url", server.url)
    assert listed.returncode == 0, listed.stderr
    (line,) = (line for line in listed.stdout.splitlines() if line.startswith("spectrometer"))
    for words in ("trained", "100 → 200", "read-only"):
        assert words in line
    refused = call("model", "delete", "spectrometer", "--url", server.url)
    assert_refused(refused, "part of Energy Flow")


def test_every_kind_of_file_gives_the_same(
    call: Caller, server: LiveServer, embeddings: NDArray[np.float32], tmp_path: Path
) -> None:
    np.save(tmp_path / "a.npy", embeddings)
    save_file({"inputs": embeddings, "targets": embeddings * 2}, tmp_path / "b.safetensors")
    lines = [json.dumps(row) for row in embeddings.astype(float).tolist()]
    (tmp_path / "c.jsonl").write_text("\n".join(lines))
    lines = [f'{{"embedding": {line}}}' for line in lines]
    (tmp_path / "d.jsonl").write_text("\n\n".join(lines) + "\n")
    surfaces = []
    for path in sorted(tmp_path.iterdir()):
        out = tmp_path / f"{path.stem}-out"
        done = call("simulate", path, "--url", server.url, "--rows", "2:4", "--out", out)
        assert done.returncode == 0, done.stderr
        surfaces.append(np.load(out / "surface.npy"))
    assert len(surfaces) == 4
    for surface in surfaces[1:]:
        np.testing.assert_array_equal(surface, surfaces[0])


def test_files_that_are_not_embeddings_are_refused(call: Caller, tmp_path: Path) -> None:
    flags = TINY_FLAGS
    assert_refused(call("simulate", tmp_path / "none.npy", *flags), "does not exist")
    assert_refused(call("simulate", tmp_path, *flags), "is a folder, not a file")
    contents = {
        "noise.npy": (b"\x93NUMPY nonsense", ".npy"),
        "empty.npy": (b"", ".npy"),
        "noise.safetensors": (b"\xff" * 64, ".safetensors"),
        "noise.jsonl": (b"[1, 2]\n{nonsense\n", "line 2"),
        "ragged.jsonl": (b"[1, 2]\n[1]\n", "embeddings.1: has length 1"),
        "text.jsonl": (b'["a"]\n', "embeddings.0.0: must be a number"),
        "other.jsonl": (b'{"text": "a"}\n', "energy-flow embed FILE --column NAME"),
        "empty.jsonl": (b"", "at least one row"),
        "table.txt": (b"1,2\n", "energy-flow embed FILE, or add --format"),
    }
    for name, (content, words) in contents.items():
        (tmp_path / name).write_bytes(content)
        assert_refused(call("simulate", tmp_path / name, *flags), name, words)
    np.save(tmp_path / "flat.npy", np.zeros(8))
    assert_refused(call("simulate", tmp_path / "flat.npy", *flags), "[rows, numbers]")
    np.save(tmp_path / "text.npy", np.array([["a", "b"]]))
    assert_refused(call("simulate", tmp_path / "text.npy", *flags), "float32, float64 or integers")
    np.save(tmp_path / "objects.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    assert_refused(call("simulate", tmp_path / "objects.npy", *flags), "must be float16")


def test_bad_requests_are_refused_in_one_line(
    call: Caller, server: LiveServer, embeddings_file: Path, tmp_path: Path
) -> None:
    here: tuple[str | Path, ...] = ("simulate", embeddings_file, *TINY_FLAGS)
    there: tuple[str | Path, ...] = ("simulate", embeddings_file, "--url", server.url)
    wide = tmp_path / "wide.npy"
    np.save(wide, np.zeros((2, 9)))
    assert_refused(call("simulate", wide, *TINY_FLAGS), "8", "9", "embedding_dim=9")
    assert_refused(call("simulate", wide, "--url", server.url), "8", "9")
    spoilt = tmp_path / "spoilt.npy"
    np.save(spoilt, np.full((2, 8), np.nan))
    assert_refused(call("simulate", spoilt, *TINY_FLAGS), "finite")
    assert_refused(call("simulate", spoilt, "--url", server.url), "finite")
    for command in (here, there):
        assert_refused(call(*command, "--set", "noise_std=-1"), "noise_std")
        assert_refused(call(*command, "--set", "nonsense=1"), "nonsense")
        assert_refused(call(*command, "--set", "noise_std"), "FIELD=VALUE")
        assert_refused(call(*command, "--rows", "4:9"), "0:6")
        assert_refused(call(*command, "--rows", "x"), "A:B")
        assert_refused(call(*command, "--output", "picture"), "picture")
        assert_refused(call(*command, "--out", embeddings_file), "not a folder")
        assert_refused(call(*command, "--model", "nowhere"), "nowhere")
    assert_refused(call(*here, "--preset", "nonsense"), "nonsense")
    assert_refused(call(*here, "--device", "abacus"), "abacus")
    assert_refused(call(*there, "--preset", "debug"), "--preset")


def test_an_unreachable_address_is_named(call: Caller, embeddings_file: Path) -> None:
    absent_server = "http://127.0.0.1:9"
    for command in (("simulate", embeddings_file), ("runs", "list"), ("runs", "show", "x")):
        assert_refused(call(*command, "--url", absent_server), absent_server, "energy-flow serve")
    assert_refused(call("runs", "list", "--url", "ftp://x"), "address")


def test_runs(
    call: Caller, server: LiveServer, client: FlowClient, embeddings: NDArray[np.float32]
) -> None:
    at = ("--url", server.url)
    run_id = client.simulate(embeddings).run_id
    assert run_id is not None
    listed = call("runs", "list", *at)
    assert run_id in listed.stdout
    assert "succeeded" in listed.stdout
    newest = json.loads(call("runs", "list", *at, "--limit", "1", "--json").stdout)
    assert [entry["run_id"] for entry in newest] == [run_id]
    for command in ("show", "wait"):
        done = call("runs", command, run_id, *at)
        assert done.returncode == 0, done.stderr
        assert "6 of 6" in done.stdout
    assert json.loads(call("runs", "show", run_id, *at, "--json").stdout)["state"] == "succeeded"
    assert_refused(call("runs", "cancel", run_id, *at), "409")
    assert call("runs", "delete", run_id, *at).returncode == 0
    assert_refused(call("runs", "show", run_id, *at), "404")


def test_every_setting_is_in_the_help_and_in_the_documentation() -> None:
    shown = " ".join(run("serve", "--help", COLUMNS="200").stdout.replace("│", " ").split())
    documentation = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    lines, words = documentation.splitlines(), " ".join(documentation.split())
    for setting in SETTINGS:
        assert f"{setting.flag} " in shown
        assert setting.help in shown
        assert f"### {setting.about.group}" in lines
        row = f"| `{setting.flag}` | {setting.default_text} | {setting.about.description} |"
        assert row in lines
        assert setting.about.note is None or setting.about.note in words


@pytest.mark.slow
def test_bad_settings_are_refused_in_one_line(
    call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = ("--data-dir", tmp_path)
    assert_refused(call("serve", *data, "--port", "99999"), "--port: must be at most 65535")
    assert_refused(call("serve", *data, "--memory-limit", "0"), "--memory-limit: must be above")
    assert_refused(
        call("serve", *data, "--log-format", "xml"), "--log-format: cannot be 'xml'", "json"
    )
    assert_refused(call("serve", *data, "--preset", "debg"), "--preset: ", "did you mean 'debug'?")
    assert_refused(call("serve", *data, "--database-url", "x"), "--database-url: must be a SQL")
    assert_refused(call("serve", "--port", "0", "--data-dir", __file__), "a file, not a folder")
    assert_refused(call("serve", *data, "--host", "0.0.0.0"), "API_KEY")
    with monkeypatch.context() as environment:
        environment.setenv("ENERGY_FLOW_NONSENSE", "1")
        assert_refused(call("serve", *data), "ENERGY_FLOW_NONSENSE")
    with monkeypatch.context() as environment:
        environment.setenv("ENERGY_FLOW_PROT", "1")
        assert_refused(call("serve", *data), "did you mean 'ENERGY_FLOW_PORT'?")
    with monkeypatch.context() as environment:
        environment.setenv("ENERGY_FLOW_PORT", "first")
        assert_refused(call("serve", *data), "ENERGY_FLOW_PORT: must be an integer (got 'first')")
    assert_refused(call("serve", *data, "--port", "0", "--preset", "nonsense"), "nonsense")
    assert_refused(call("serve", *data, "--port", "0", "--set", "noise_std=-1"), "noise_std")
    assert_refused(call("serve", *data, "--port", "0", "--model", "nowhere"), "nowhere")
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_text("nonsense")
    assert_refused(call("serve", *data, "--port", "0", "--model", damaged), "damaged.safetensors: ")


def test_a_port_in_use_is_refused(call: Caller, server: LiveServer, tmp_path: Path) -> None:
    port = server.url.rpartition(":")[2]
    done = call("serve", "--port", port, "--data-dir", tmp_path)
    assert_refused(done, port, "in use", "if an Energy Flow server is running", "--port 0")


@pytest.mark.slow
def test_a_data_dir_in_use_is_refused(server: LiveServer) -> None:
    done = run("serve", "--port", "0", "--data-dir", server.log.parent / "data")
    assert done.returncode == 1
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("error: the server could not start: another server")
    assert "--data-dir" in line


@pytest.mark.slow
def test_settings_are_read_from_the_environment(
    call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENERGY_FLOW_SET", " ".join(TINY_FLAGS[1::2]))
    monkeypatch.setenv("ENERGY_FLOW_API_KEY", "secret")
    with live_server(tmp_path, flags=()) as guarded:
        done = call("runs", "list", "--url", guarded.url)
        assert done.stdout == "no runs\n"
        assert_refused(call("runs", "list", "--url", guarded.url, "--api-key", "x"), "401")


@pytest.mark.slow
def test_a_server_ends_cleanly_after_sigterm(tmp_path: Path) -> None:
    with live_server(tmp_path) as running:
        assert running.stop() == 0
    assert "Traceback" not in running.log.read_text()


@pytest.mark.slow
def test_without_the_server_extra_the_plain_commands_work(
    tmp_path: Path, server: LiveServer, embeddings_file: Path
) -> None:
    # Importing any of them fails, as where they are not installed.
    absent = [
        *("alembic", "fastapi", "matplotlib", "numba", "pandas", "prometheus_client", "psutil"),
        *("pyarrow", "pydantic_settings", "sqlalchemy", "torch", "uvicorn"),
    ]
    code = (
        f"import sys\nfor name in {absent}: sys.modules[name] = None\n"
        "from service.cli import main\nmain()"
    )

    def plain(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, *(str(argument) for argument in arguments)]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False
        )

    for command in ((), ("serve",), ("simulate",), ("train",)):
        done = plain(*command, "--help")
        assert done.returncode == 0, done.stderr
    there = plain("simulate", embeddings_file, "--url", server.url, "--out", tmp_path / "out")
    assert there.returncode == 0, there.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    for kind in ("runs", "experiment"):
        assert plain(kind, "list", "--url", server.url).returncode == 0
    assert_refused(plain("serve"), "energy-flow[server]")
    assert_refused(plain("simulate", embeddings_file), "energy-flow[sim]")
    assert_refused(
        plain("simulate", embeddings_file, "--out", tmp_path / "out"), "energy-flow[plots]"
    )
