"""Files that no format reads, wrong values of options, and names that do not exist."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from energy_flow.client import FlowClient, NotFound
from service.cli.app import COMMANDS
from tests.support.command_line import Caller, assert_refused, open_terminal
from tests.support.live_server import LiveServer

ROWS = np.arange(16, dtype=np.float32).reshape(2, 8)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("a.npz", "save one of them as .npy"),
        ("h.pkl", "is a pickle, which is never read"),
        ("rows.csv.bz2", "unpack it, or compress it with gzip"),
        ("table.xlsx", "save its sheet as .csv"),
    ],
)
def test_a_file_of_no_format_is_named_with_what_to_do(
    call: Caller, server: LiveServer, tmp_path: Path, name: str, advice: str
) -> None:
    path = tmp_path / name
    path.write_bytes(b"something")
    for words in (("simulate", path), ("dataset", "put", "x", path, "--url", server.url)):
        done = call(*words)
        assert_refused(done, name, advice)
        assert "--format" not in done.stderr


def test_a_folder_is_no_file(call: Caller, server: LiveServer, tmp_path: Path) -> None:
    done = call("dataset", "put", "x", tmp_path, "--url", server.url)
    assert_refused(done, "is a folder, not a file")
    assert "--format" not in done.stderr


def test_numbers_between_spaces_are_said_to_be_that(call: Caller, tmp_path: Path) -> None:
    path = tmp_path / "rows.txt"
    np.savetxt(path, ROWS)
    refused = call("simulate", path, "--format", "csv")
    assert_refused(refused, "line 1 has numbers between spaces", "delimiter=','")
    assert "energy-flow embed" not in refused.stderr


@pytest.mark.parametrize("has_lists", [True, False])
def test_a_frame_as_pandas_writes_it_is_told_how_to_write_it(
    call: Caller, tmp_path: Path, has_lists: bool
) -> None:
    frame = pd.DataFrame({"vectors": list(ROWS)}) if has_lists else pd.DataFrame(ROWS)
    frame.to_json(tmp_path / "rows.json")
    assert_refused(call("simulate", tmp_path / "rows.json"), "orient='records'")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("model", "create", "x", "--seed", "abc"), "'--seed': must be an integer (got 'abc')"),
        (("runs", "list", "--limit", "0"), "'--limit': must be at least 1 (got '0')"),
        (("runs", "wait", "x", "--timeout", "abc"), "'--timeout': must be a number (got 'abc')"),
    ],
)
def test_a_wrong_value_of_an_option_is_said_in_plain_words(
    call: Caller, words: tuple[str, ...], said: str
) -> None:
    done = call(*words)
    assert done.returncode == 2
    assert_refused(done, said)
    assert "parse" not in done.stderr


def test_several_datasets_are_deleted_if_all_exist(
    call: Caller, server: LiveServer, client: FlowClient
) -> None:
    for name in ("gone-a", "gone-b"):
        client.datasets.put(name, ROWS)
    at = ("--url", server.url, "--yes")
    assert_refused(call("dataset", "delete", "gone-a", "gone-c", *at), "gone-c")
    assert client.datasets.get("gone-a").rows == 2
    done = call("dataset", "delete", "gone-a", "gone-b", *at)
    assert done.stdout.splitlines() == ["deleted gone-a", "deleted gone-b"]
    with pytest.raises(NotFound):
        client.datasets.get("gone-b")


@pytest.mark.parametrize("kind", ["dataset", "model", "runs", "experiment"])
def test_nothing_is_asked_about_what_does_not_exist(server: LiveServer, kind: str) -> None:
    with open_terminal(kind, "delete", "no-such-thing", "--url", server.url) as terminal:
        done = terminal.finish()
    assert done.returncode == 1
    assert "[y/N]" not in done.stderr


@pytest.mark.parametrize("command", ["simulate", "ablate"])
def test_models_of_the_package_complete(command: str) -> None:
    loaded = COMMANDS[command].load()
    parameter = next(one for one in loaded.params if one.name == "model")
    complete = parameter._custom_shell_complete
    assert complete is not None
    words = complete(
        loaded.make_context(command, ["x", "y"], resilient_parsing=True), parameter, "d"
    )
    assert [str(getattr(word, "value", word)) for word in words] == ["dictionary"]


def test_an_address_with_a_path_is_not_a_server(server: LiveServer) -> None:
    with (
        FlowClient(f"{server.url}/v2") as client,
        pytest.raises(NotFound, match="no server of Energy Flow answers at this address"),
    ):
        client.system()


def test_a_wrong_column_of_a_trace_is_named(client: FlowClient) -> None:
    trace = client.simulate(ROWS, store=False).trace
    with pytest.raises(KeyError, match="did you mean 'energy'"):
        trace["energi"]
