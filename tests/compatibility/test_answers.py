"""A current server answers about the data of an earlier version as that version did."""

from __future__ import annotations

import pytest

from tests.compatibility.answers import Basis, Exchange
from tests.compatibility.opened import Opened


@pytest.mark.parametrize(
    "topic",
    [
        *("runs", "experiments", "datasets_and_models", "repetitions"),
        *("rest", "replays", "computed", "inference", "refusals"),
    ],
)
def test_answers_are_those_of_the_version(opened: Opened, topic: str) -> None:
    is_same_machine = opened.version.is_same_machine
    found = []
    for exchange in opened.version.exchanges(topic):
        if exchange.is_accepted_later or exchange.is_left_out(opened.stopped):
            continue
        response = exchange.request.send(opened.client)
        differences = exchange.differences(
            response, is_same_machine, opened.stopped, opened.computed_in_bfloat16
        )
        found += [f"{exchange.name}: {difference}" for difference in differences]
    assert not found, "\n".join(found)


def test_replays_agree_with_the_runs(opened: Opened) -> None:
    """Bit for bit on the kind of machine that made them, else as the topic "replays" allows.

    Those in bfloat16 need not: they state the arithmetic of their version.
    """

    def is_rounded(exchange: Exchange) -> bool:
        return exchange.is_in_bfloat16(opened.computed_in_bfloat16)

    exchanges = [
        exchange
        for exchange in opened.version.exchanges("replays")
        if exchange.answer.status == 200
        and (is_rounded(exchange) or opened.version.is_same_machine)
    ]
    assert exchanges
    for exchange in exchanges:
        replay = exchange.request.send(opened.client).json()
        if is_rounded(exchange):
            assert "computed by an unknown version, arithmetic 1;" in replay["note"]
            assert "computes with arithmetic 2" in replay["note"]
        else:
            assert replay["agrees"] is True, (exchange.name, replay["difference"])


def test_it_was_made_of_everything(opened: Opened) -> None:
    """So that none of the tests passes because there is nothing to look at."""
    exchanges = [
        exchange
        for topic in ("runs", "replays", "computed")
        for exchange in opened.version.exchanges(topic)
    ]
    assert {exchange.basis for exchange in exchanges} == set(Basis)
