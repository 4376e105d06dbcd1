"""An interrupted training of an earlier version's command line is resumed."""

from __future__ import annotations

import re
from pathlib import Path

from tests.compatibility import make_training
from tests.compatibility.difference import Comparison
from tests.compatibility.versions import NOTHING, SENSITIVE, Version


def test_it_ends_as_if_it_had_never_stopped(version: Version, tmp_path: Path) -> None:
    version.unpack(tmp_path)
    folder = tmp_path / make_training.FOLDER
    outcome = make_training.outcome_of(folder, make_training.train(folder, "--resume"))
    is_exact = version.is_same_machine
    comparison = Comparison(is_exact, re.compile(NOTHING if is_exact else SENSITIVE))
    found = list(comparison.differences(version.read("training"), outcome))
    assert not found, "\n".join(found)
