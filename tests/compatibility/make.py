"""Makes a data directory with the installed version, and records what that answers about it.

    python -m tests.compatibility.make OUT

OUT becomes a folder with the directory, packed, and the answers. See README.md.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import httpx

from tests.compatibility import answers, make_experiments, make_runs, make_training
from tests.compatibility.archive import pack
from tests.compatibility.finishing import finish
from tests.compatibility.kept import results_of
from tests.compatibility.machine import describe_machine
from tests.compatibility.program import DATA, Server, run_commands, serving
from tests.compatibility.record import (
    Recorder,
    record_datasets_and_models,
    record_experiments,
    record_repetitions,
    record_replays,
    record_runs,
    record_the_rest,
)
from tests.compatibility.record_commands import (
    commands_to_record,
    local_commands,
    record_commands,
    record_local_commands,
)
from tests.compatibility.record_computed import record_inference, record_simulations
from tests.compatibility.record_refusals import record_refusals
from tests.compatibility.surface import commands_in, metrics_in, operations_in
from tests.compatibility.versions import ARCHIVE, DEFAULT_MODEL, Version

WORK = "work"
"""Where servers work meanwhile, in OUT; removed at the end."""

FLAGS = (*make_runs.FLAGS, *make_runs.SETS)
"""Of the servers."""


def main() -> None:
    """Make everything."""
    out = Path(sys.argv[1]).resolve()
    out.mkdir(parents=True)
    work = out / WORK
    version = Version(out)
    uploaded = _make_trainings(work, version)
    runs = _make_data(work / "made", uploaded)
    shutil.copytree(work / "training", work / "made" / make_training.FOLDER)
    pack(work / "made", (DATA, DEFAULT_MODEL, make_training.FOLDER), out / ARCHIVE)
    _note(version, runs)
    _make_undisturbed(work / "undisturbed", version)
    _record(work / "opened", version, runs)
    shutil.rmtree(work)


def _make_trainings(work: Path, version: Version) -> bytes:
    """A training to be resumed, and the same one that was never stopped; the model of that."""
    for name in ("training", "trained"):
        make_training.prepare(work / name)
    printed = make_training.train(work / "trained")
    version.write("training", make_training.outcome_of(work / "trained", printed))
    make_training.train_midway(work / "training")
    return (work / "trained" / make_training.RUN / "model.safetensors").read_bytes()


def _make_data(folder: Path, checkpoint: bytes) -> dict[str, str]:
    """A data directory with everything in it, as a killed server leaves it; the runs' ids."""
    with serving(folder, FLAGS) as server:
        client = server.client
        _prepare(client)
        sent = client.put(
            "/v1/models/uploaded",
            content=checkpoint,
            headers={"Content-Type": "application/octet-stream"},
        )
        assert sent.status_code == 201, sent.text
        default = client.get("/v1/models/default?format=safetensors").content
        (folder / DEFAULT_MODEL).write_bytes(default)
        runs = make_runs.make_runs(client)
        make_runs.forget_some(client)
        make_experiments.make_finished(client)
        make_experiments.make_cancelled(client)
        make_experiments.make_paused(client)
        runs |= make_experiments.start_killed(client)
        server.kill()
    return runs


def _prepare(client: httpx.Client) -> None:
    make_runs.put_datasets(client)
    make_runs.make_models(client)


def _make_undisturbed(folder: Path, version: Version) -> None:
    """What the unfinished experiments must result in."""
    with serving(folder, FLAGS) as server:
        _prepare(server.client)
        make_experiments.make_undisturbed(server.client)
        results = {kind: results_of(server.client, kind) for kind in make_experiments.UNFINISHED}
    version.write("undisturbed", results)


def _note(version: Version, runs: dict[str, str]) -> None:
    """By what, on what and how it was made."""
    shown = run_commands(version.folder, [["version"]])[0].output
    version.write(
        "made",
        {
            "by": shown.splitlines(),
            "machine": describe_machine(),
            "flags": list(make_runs.FLAGS),
            "sets": list(make_runs.SETS),
            "runs": runs,
            "paused": make_experiments.PAUSED,
            "killed": make_experiments.KILLED,
        },
    )


def _record(folder: Path, version: Version, runs: dict[str, str]) -> None:
    """What the same version answers about a copy of the directory."""
    version.unpack(folder)
    with serving(folder, FLAGS) as server:
        finish(server.client, version.read("made"))
        _record_answers(server, version, runs)
        printed = record_commands(server.url, folder, commands_to_record(runs))
        version.write("commands", [asdict(one) for one in printed])
        document = server.client.get("/openapi.json").json()
        version.write("operations", operations_in(document))
        version.write("metrics", metrics_in(server.client.get("/metrics").text))
    printed = record_local_commands(folder, local_commands(runs))
    version.write("local_commands", [asdict(one) for one in printed])
    flags = commands_in(lambda commands: run_commands(folder, commands))
    version.write("flags", flags)


def _record_answers(server: Server, version: Version, runs: dict[str, str]) -> None:
    topics: dict[str, Callable[[Recorder], None]] = {
        "runs": lambda recorder: record_runs(recorder, runs),
        "experiments": record_experiments,
        "datasets_and_models": record_datasets_and_models,
        "repetitions": record_repetitions,
        "rest": record_the_rest,
        "replays": lambda recorder: record_replays(recorder, runs),
        "computed": record_simulations,
        "inference": record_inference,
        "refusals": lambda recorder: record_refusals(recorder, runs),
    }
    for name, ask in topics.items():
        recorder = Recorder(server.client)
        ask(recorder)
        answers.write(version.folder / f"{name}.jsonl", recorder.exchanges)


if __name__ == "__main__":
    main()
