"""A few cases of every format; ``python -m tests.fuzz`` sends many."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fuzz.campaign import WARM_UP, Campaign, started_campaign
from tests.fuzz.formats import FORMATS, make_case

CASES = WARM_UP + 50
SEED = 1


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    with started_campaign(tmp_path_factory.mktemp("fuzz")) as campaign:
        yield campaign


@pytest.mark.parametrize("name", FORMATS)
def test_no_file_or_body_harms_the_server(campaign: Campaign, name: str) -> None:
    report = campaign.run(name, SEED, CASES)
    assert not report.faults, "\n".join(report.lines())
    # Some mutations do not matter, and others are refused.
    assert sum(report.statuses.values()) == CASES
    assert {status < 300 for status in report.statuses} == {True, False}


@pytest.mark.parametrize("name", FORMATS)
def test_cases_are_the_same_at_every_call(name: str) -> None:
    assert [make_case(name, 3, number) for number in range(9)] == [
        make_case(name, 3, number) for number in range(9)
    ]
