"""A server that is killed under work loses nothing that it has acknowledged."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.kills import run_campaign

pytestmark = pytest.mark.sqlite


@pytest.mark.slow
def test_kills_lose_nothing_and_leave_nothing(tmp_path: Path) -> None:
    campaign = run_campaign(tmp_path, kills=3, seed=5, longest_seconds=2)
    assert campaign.faults == []
    assert campaign.acknowledged["run"] > 0
    assert campaign.acknowledged["dataset"] > 0
