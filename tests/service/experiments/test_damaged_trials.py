"""Trials whose unfinished files were damaged: no numbers are made of them, and experiments end."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from tests.support.command_line import Caller
from tests.support.damage import HEADER_CHANGES, damaged
from tests.support.experiments import (
    change_state,
    experiment_server,
    read_experiment,
    read_trials,
    wait_until_ended,
    wait_until_quiet,
)
from tests.support.interrupted import check_as_if_undisturbed, paused_midway
from tests.support.waits import until

pytestmark = pytest.mark.slow


def test_a_changed_header_of_finished_chunks_pauses_it(tmp_path: Path) -> None:
    with experiment_server(tmp_path) as server:
        client = server.client
        _, found = paused_midway(server, "waiting")
        begun = next(trial for trial in found if trial["samples_done"])
        path = tmp_path / "runs" / begun["run_id"] / "surface.npy.part"
        for damage in HEADER_CHANGES.values():
            with damaged(path, damage):
                change_state(client, "waiting", "resume")
                error = until(lambda: read_experiment(client, "waiting")["error"])
                file = path.relative_to(tmp_path).as_posix()
                assert (error["status"], error["file"]) == (409, file)
                assert wait_until_quiet(client, "waiting")["state"] == "paused"
        change_state(client, "waiting", "resume")
        check_as_if_undisturbed(client, tmp_path, "waiting")


@pytest.mark.parametrize("name", ["other numbers", "vast rows"])
def test_a_trial_that_is_cancelled_with_a_changed_header_keeps_its_other_files(
    tmp_path: Path, name: str
) -> None:
    with experiment_server(tmp_path) as server:
        client = server.client
        _, found = paused_midway(server, "damaged")
        begun = next(trial for trial in found if trial["samples_done"])
        folder = tmp_path / "runs" / begun["run_id"]
        hits = (folder / "hits.npy.part").read_bytes()
        HEADER_CHANGES[name](folder / "surface.npy.part")
        change_state(client, "damaged", "cancel")
        assert wait_until_ended(client, "damaged")["state"] == "cancelled"
        trial = read_trials(client, "damaged")[begun["trial"]]
        assert trial["samples_done"] == begun["samples_done"]
        outputs = f"{trial['run_url']}/outputs"
        for query in ("", "?format=npy", "?format=png&sample=0", "?format=safetensors"):
            refused = client.get(f"{outputs}/surface{query}")
            assert refused.status_code == 409, refused.text
            assert refused.json()["file"] == f"runs/{begun['run_id']}/surface.npy"
        kept = client.get(f"{outputs}/hits?format=npy").content
        assert len(np.load(io.BytesIO(kept))) == begun["samples_done"]
        assert kept[128:] == hits[128 : len(kept)]


CHUNK_LINES = (b'{"samples":[1,2]}', b"[1, 2]", b"7", b"null", b"{}", bytes(30))


@pytest.mark.parametrize("number", [0, 1])
def test_an_experiment_with_a_damaged_line_of_a_chunk_ends_when_it_is_cancelled(
    tmp_path: Path, number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with experiment_server(tmp_path) as server:
        client = server.client
        _, found = paused_midway(server, "damaged")
        begun = next(trial for trial in found if trial["samples_done"] > 4)
        path = tmp_path / "runs" / begun["run_id"] / "chunks.jsonl"
        file = path.relative_to(tmp_path).as_posix()
        lines = path.read_bytes().splitlines(keepends=True)
        for line in CHUNK_LINES:
            lines[number] = line + b"\n"
            path.write_bytes(b"".join(lines))
            listed = client.get(f"{begun['run_url']}/samples")
            assert (listed.status_code, listed.json()["file"]) == (409, file)
            verified = Caller(capsys)("data", "verify", "--data-dir", tmp_path)
            assert verified.returncode == 1
            assert verified.stdout.startswith(f"{file}: line {number + 1} is no ")
        change_state(client, "damaged", "cancel")
        assert wait_until_ended(client, "damaged")["state"] == "cancelled"
        trial = read_trials(client, "damaged")[begun["trial"]]
        assert trial["samples_done"] == 4 * number


def test_an_experiment_ends_although_a_file_of_a_trial_cannot_be_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with experiment_server(tmp_path) as server:
        client = server.client
        _, found = paused_midway(server, "blocked")
        begun = next(trial for trial in found if trial["samples_done"])
        path = tmp_path / "runs" / begun["run_id"] / "chunks.jsonl"
        kept = path.rename(tmp_path / "kept")
        path.mkdir()
        (path / "inside").touch()
        change_state(client, "blocked", "cancel")
        assert wait_until_ended(client, "blocked")["state"] == "cancelled"
        access = "service.access"
        lines = [
            one.getMessage()
            for one in caplog.records
            if one.name != access and begun["run_id"] in one.getMessage()
        ]
        assert len(lines) <= 6, lines
    path.joinpath("inside").unlink()
    path.rmdir()
    kept.rename(path)
    # Nothing is lost once the file can be used again.
    with experiment_server(tmp_path) as server:
        trial = read_trials(server.client, "blocked")[begun["trial"]]
        assert (trial["state"], trial["samples_done"]) == ("cancelled", begun["samples_done"])
        outputs = server.client.get(f"{trial['run_url']}/outputs/surface")
        assert outputs.status_code == 200
