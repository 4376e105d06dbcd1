"""Commands of an earlier version, with the JSON that they print."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.compatibility.answers import VOLATILE
from tests.compatibility.difference import Comparison, mentions
from tests.compatibility.opened import Opened
from tests.compatibility.program import run_commands
from tests.compatibility.record_commands import Printed, record_commands, record_local_commands
from tests.compatibility.versions import NOTHING, Version

ANYTHING = rf"{VOLATILE}|.*\.(loaded|created_at|last_event_id|title|detail)|.*\.warnings\..*"

REPAIRED = ("runs list",)
"""Commands that failed in a version because of a defect, and succeed now.

Version 0.1 could not list runs if one of them was a training.
"""


def test_commands_that_ask_a_server(opened: Opened) -> None:
    recorded = opened.version.read("commands")
    commands = [one["arguments"] for one in recorded]
    now = record_commands(opened.server.url, opened.folder, commands)
    _check(recorded, now, opened.version, opened.stopped)


def test_commands_that_read_files(opened: Opened) -> None:
    recorded = opened.version.read("local_commands")
    now = record_local_commands(opened.folder, [one["arguments"] for one in recorded])
    _check(recorded, now, opened.version)


def test_every_flag_is_still_there(version: Version, tmp_path: Path) -> None:
    flags: dict[str, list[str]] = version.read("flags")
    helps = run_commands(tmp_path, [[*command.split(), "--help"] for command in flags])
    for (command, known), shown in zip(flags.items(), helps, strict=True):
        assert shown.exit_code == 0, command
        words = set(re.findall(r"(?<![\w-])--?[a-z][a-z0-9-]*", shown.output))
        assert not set(known) - words, command


def _check(
    recorded: list[dict[str, Any]],
    now: list[Printed],
    version: Version,
    stopped: tuple[str, ...] = (),
) -> None:
    # Of models that were trained here, which are other ones where a last bit is.
    digests = NOTHING if version.is_same_machine else r"document\.\d+\.digest"
    ignored = re.compile(f"{ANYTHING}|{digests}")
    comparison = Comparison(version.is_same_machine, ignored, stopped)
    found = []
    for one, other in zip(recorded, now, strict=True):
        line = " ".join(one["arguments"])
        if "--limit" in line and mentions(one, stopped):
            continue
        if one["exit_code"] and other.exit_code == 0 and line.startswith(REPAIRED):
            continue
        found += [f"{line}: {text}" for text in comparison.differences(one, asdict(other))]
    assert not found, "\n".join(found)
