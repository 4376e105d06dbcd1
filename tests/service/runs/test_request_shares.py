"""How many requests of a client are handled while others send some."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from energy_flow.errors import QueueFull
from service.runs.request_shares import LEAST_SHARE, LONGEST_WAIT, RequestShares


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def enter_many(shares: RequestShares, held: ExitStack, client: str, most: int) -> int:
    """Begin requests until one is refused, and return how many are not."""
    for count in range(most):
        try:
            held.enter_context(shares.enter(client))
        except QueueFull:
            return count
    return most


def test_a_client_alone_has_no_limit() -> None:
    shares = RequestShares(16)
    with ExitStack() as held:
        assert enter_many(shares, held, "a", 100) == 100


@pytest.mark.parametrize("clients", [2, 3, 8])
def test_clients_have_equal_shares(clients: int) -> None:
    shares = RequestShares(96)
    with ExitStack() as held:
        for number in range(1, clients):
            held.enter_context(shares.enter(f"other {number}"))
        assert enter_many(shares, held, "a", 100) == 96 // clients


def test_every_client_has_the_least_share() -> None:
    shares = RequestShares(16)
    with ExitStack() as held:
        for number in range(40):
            assert enter_many(shares, held, str(number), LEAST_SHARE) == LEAST_SHARE
        assert enter_many(shares, held, "a", 100) == LEAST_SHARE


def test_there_is_room_again_after_a_request() -> None:
    shares = RequestShares(16)
    with ExitStack() as held:
        held.enter_context(shares.enter("other"))
        with ExitStack() as own:
            assert enter_many(shares, own, "a", 100) == 8
        with shares.enter("a"):
            pass


def test_a_client_counts_for_a_second_after_its_last_request() -> None:
    clock = Clock()
    shares = RequestShares(16, clock)
    with shares.enter("other"):
        pass
    with ExitStack() as held:
        assert enter_many(shares, held, "a", 100) == 8
        clock.now += 1.5
        assert enter_many(shares, held, "a", 100) == 100


def test_those_that_are_refused_return_one_after_another() -> None:
    clock = Clock()
    shares = RequestShares(16, clock)
    for _ in range(20):
        with shares.enter("a"):
            clock.now += 0.1
    waits = []
    with ExitStack() as held:
        held.enter_context(shares.enter("other"))
        assert enter_many(shares, held, "a", 8) == 8
        for _ in range(100):
            with pytest.raises(QueueFull) as refused, shares.enter("a"):
                pass
            waits.append(refused.value.retry_after_seconds)
    # Twenty were answered in the ten seconds that count.
    assert waits[:3] == pytest.approx([0.5, 1.0, 1.5])
    assert waits[-1] == LONGEST_WAIT
