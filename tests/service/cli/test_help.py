"""Help, versions, wrong words and completion: what needs neither a model nor a server."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from typer.core import TyperGroup

from energy_flow.choices import Preset
from energy_flow.client.connection import DEFAULT_URL as URL_OF_CLIENT
from service.cli.app import COMMANDS
from service.cli.input.options import DEFAULT_URL
from tests.support.command_line import Caller, assert_refused, run
from tests.support.waits import LIMIT_SECONDS

HEAVY = ("fastapi", "httpx", "numpy", "pandas", "pyarrow", "pydantic", "sqlalchemy", "torch")


@pytest.mark.parametrize(
    "command", [(), ("simulate",), ("serve",), ("trace",), ("runs",), ("runs", "list"), ("data",)]
)
def test_the_help_imports_nothing_that_it_does_not_need(command: tuple[str, ...]) -> None:
    code = (
        "import json, sys\n"
        "from service.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit as ended:\n    assert not ended.code\n"
        f"print(json.dumps([name for name in {HEAVY} if name in sys.modules]), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command, "--help"],
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=True,
    )
    assert "Usage: energy-flow" in done.stdout
    assert json.loads(done.stderr) == []


def paths(group: TyperGroup, before: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return all commands of a group, each as its words."""
    found = []
    for name, command in group.commands.items():
        path = (*before, name)
        found += paths(command, path) if isinstance(command, TyperGroup) else [path]
    return found


def test_every_command_has_a_short_option_for_its_help(call: Caller) -> None:
    commands: list[tuple[str, ...]] = []
    for name, command in COMMANDS.items():
        loaded = command.load()
        commands += paths(loaded, (name,)) if isinstance(loaded, TyperGroup) else [(name,)]
        assert (loaded.help or "").partition("\n\n")[0].replace("\n", " ") == command.summary
    assert len(commands) > 30
    for words in ((), *commands):
        done = call(*words, "-h")
        assert done.returncode == 0, done.stderr
        assert f"Usage: {' '.join(('energy-flow', *words))} [OPTIONS]" in done.stdout


def test_the_version_is_one_line(call: Caller) -> None:
    done = call("--version")
    assert done.returncode == 0
    name, version = done.stdout.split()
    assert name == "energy-flow"
    assert version[0].isdigit()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("simulat",), "Did you mean 'simulate'?"),
        (("nonsense",), "energy-flow --help lists"),
        (("runs", "lst"), "Did you mean 'list'?"),
        (("runs", "show"), "Missing argument 'RUN_ID'; energy-flow runs show --help lists"),
        (("simulate", "--sed", "3"), "--seed"),
        (("simulate", "--seed", "x"), "--seed"),
        (("simulate", "--seed", str(2**63)), "--seed"),
        (("model", "create", "m", "--seed", str(2**63)), "--seed"),
        (("runs", "list", "--limit", "0"), "--limit"),
        (("runs", "list", "--state", "runing"), "did you mean 'running'?"),
        (("serve", "--port", "first"), "--port: must be an integer (got 'first')"),
        (("serve", "--keep-runs-bytes", "10x"), "such as 10737418240 or 10GiB (got '10x')"),
        (("runs", "list", "--api-key", "é"), "--api-key"),
    ],
)
def test_wrong_words_are_refused_in_one_line(
    call: Caller, words: tuple[str, ...], reason: str
) -> None:
    done = call(*words)
    assert done.returncode == 2
    assert_refused(done, reason)
    assert len(done.stderr.splitlines()) == 1


def test_a_command_of_commands_without_words_shows_its_help(call: Caller) -> None:
    done = call("runs")
    assert done.returncode == 2
    assert "Usage: energy-flow runs" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("shell", "words"),
    [
        ("bash", "complete -o default -F _energy_flow_completion energy-flow"),
        ("zsh", "compdef _energy_flow_completion energy-flow"),
        ("fish", "complete --command energy-flow"),
    ],
)
def test_completion_for_shells(shell: str, words: str) -> None:
    done = run(_ENERGY_FLOW_COMPLETE=f"source_{shell}")
    assert done.returncode == 0, done.stderr
    assert words in done.stdout


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("energy-flow ru", {"runs"}),
        ("energy-flow runs sh", {"show"}),
        ("energy-flow simulate --prese", {"--preset"}),
        ("energy-flow simulate --preset ", {preset.value for preset in Preset}),
        ("energy-flow serve --log-format j", {"json"}),
    ],
)
def test_words_are_completed(line: str, expected: set[str]) -> None:
    done = run(
        _ENERGY_FLOW_COMPLETE="complete_bash",
        COMP_WORDS=line,
        COMP_CWORD=str(len(line.split(" ")) - 1),
    )
    assert set(done.stdout.split()) == expected


def test_commands_and_the_client_have_one_default_address() -> None:
    assert DEFAULT_URL == URL_OF_CLIENT
