"""Experiments as TOML files."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.cli.experiment_file import read_experiment
from service.cli.failures import CommandFailed


def test_a_file_is_what_the_interface_takes(tmp_path: Path) -> None:
    path = tmp_path / "sweep.toml"
    path.write_text(
        """
        name = "noise"
        dataset = "words"
        rows = [0, 64]
        seeds = [0, 1]
        options = { max_steps = 8, spawn.max_children = 2 }

        [sweep.grid]
        noise_std = [0.0, 0.1]
        spawn.threshold = [0.2, 0.4]
        "reflection.damping" = [0.5]
        """
    )
    assert read_experiment(path) == {
        "name": "noise",
        "dataset": "words",
        "rows": [0, 64],
        "seeds": [0, 1],
        "options": {"max_steps": 8, "spawn": {"max_children": 2}},
        "sweep": {
            "grid": {
                "noise_std": [0.0, 0.1],
                "spawn.threshold": [0.2, 0.4],
                "reflection.damping": [0.5],
            }
        },
    }


def test_a_range_is_not_a_group_of_fields(tmp_path: Path) -> None:
    path = tmp_path / "sweep.toml"
    path.write_text(
        """
        [sweep]
        count = 5
        seed = 3
        [sweep.random]
        noise_std = { low = 0.01, high = 1.0, log = true }
        spawn.threshold = { low = 0.1, high = 0.5 }
        max_steps = [4, 8]
        """
    )
    assert read_experiment(path)["sweep"] == {
        "count": 5,
        "seed": 3,
        "random": {
            "noise_std": {"low": 0.01, "high": 1.0, "log": True},
            "spawn.threshold": {"low": 0.1, "high": 0.5},
            "max_steps": [4, 8],
        },
    }


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"name = \n", "not TOML.*line 1"),
        (b"name = '\xff'", "not TOML"),
        (b"seeds = [1_000_000_000_000_000_000_000]", "cannot be sent"),
    ],
)
def test_what_is_no_experiment_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(CommandFailed, match=rf"bad\.toml .*{said}"):
        read_experiment(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"no file .*none\.toml"):
        read_experiment(tmp_path / "none.toml")
    with pytest.raises(CommandFailed, match="no file"):
        read_experiment(tmp_path)
