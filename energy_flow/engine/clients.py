"""How clients share an engine: its queue, and its pools."""

from __future__ import annotations

import heapq
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from energy_flow.engine.schedule import Run, waiting_runs

RECENT_SECONDS = 1.0
"""How long a client counts after it has had flows in the pools: it may be about to send more."""
LEAST_SHARE = 32
"""One of so many parts of the pools is for every client: steps of fewer flows waste time."""


class Clients:
    """The order in which runs of several clients enter; results do not depend on it.

    Args:
        max_flows: active flows up to which the pools admit chunks.
        clock: returns seconds.
    """

    def __init__(self, max_flows: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._least_share = max(1, max_flows // LEAST_SHARE)
        self._clock = clock
        self._flows: Counter[str] = Counter()
        # The most flows that a client has had recently, and when.
        self._recent: dict[str, tuple[int, float]] = {}
        self._turn = 0
        self._last_turns: dict[str, int] = {}

    def order(self, runs: list[Run], flows: Mapping[str, int]) -> Iterator[Run]:
        """Yield runs that have samples to send, in the order in which they may send them.

        The client with the fewest flows comes first; among equals, the one whose last turn was
        longest ago. A client is left out whose next run would exceed its share of the pools. Call
        :meth:`enter` for each run whose samples enter.

        Args:
            runs: runs in the order of submission.
            flows: number of flows in the pools, by client.
        """
        self._flows = Counter(flows)
        self._note_flows()
        waiting: dict[str, list[Run]] = {}
        for one in waiting_runs(runs):
            waiting.setdefault(one.request.client, []).append(one)
        # One that has just come is behind all but the one that has just had its turn.
        self._last_turns = {one: self._last_turns.get(one, self._turn - 1) for one in waiting}
        shares = {client: self._find_share(client) for client in waiting}
        following = {client: iter(of_client) for client, of_client in waiting.items()}
        seen: Counter[str] = Counter()

        def rank(client: str) -> tuple[int, int, int, str]:
            # Of a client, whatever becomes of its runs, the next one is behind the first of others.
            return self._flows[client], seen[client], self._last_turns[client], client

        heap = [rank(client) for client in waiting]
        heapq.heapify(heap)
        while heap:
            *_, client = heapq.heappop(heap)
            run = next(following[client], None)
            if run is not None and self._is_within(shares[client], run):
                yield run
                seen[client] += 1
                heapq.heappush(heap, rank(client))

    def enter(self, client: str, flows: int) -> None:
        """Count flows that enter.

        Args:
            client: whose they are.
            flows: their number.
        """
        self._flows[client] += flows
        self._turn += 2
        self._last_turns[client] = self._turn

    def _note_flows(self) -> None:
        now = self._clock()
        self._recent = {
            client: (flows, at)
            for client, (flows, at) in self._recent.items()
            if now - at <= RECENT_SECONDS
        }
        for client, flows in self._flows.items():
            if flows and flows >= self._recent.get(client, (0, now))[0]:
                self._recent[client] = flows, now

    def _is_within(self, share: int | None, run: Run) -> bool:
        flows = self._flows[run.request.client]
        if share is None or not flows:
            return True
        # Of a run that is split, at most one part enters; it is too large in any case.
        following = (run.samples - run.next_sample) * run.request.config.surface_cells
        return flows + following <= share

    def _find_share(self, client: str) -> int | None:
        """Return up to how many flows a client may send more; none if it is alone."""
        others = [flows for other, (flows, _) in self._recent.items() if other != client]
        return max(self._least_share, *others) if others else None


def has_room(waiting: Iterable[Run], client: str, bound: int, limit: int) -> bool:
    """Return whether another run may wait.

    A client can use up the limit if no other waits; else each has an equal share. A client of which
    nothing waits may send one run beyond that, up to twice the limit in all.

    Args:
        waiting: runs that wait.
        client: who sends the other run.
        bound: upper bound of its flow-steps.
        limit: largest sum of the upper bounds of the runs that wait.
    """
    bounds: Counter[str] = Counter()
    for run in waiting:
        bounds[run.request.client] += run.bound
    if not bounds:
        return True
    if client in bounds:
        return bounds[client] + bound <= limit // len(bounds)
    return bound <= limit and bounds.total() + bound <= 2 * limit
