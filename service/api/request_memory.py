"""``RequestMemory``: the memory of requests, within the limit of models and runs.

Bodies, the arrays that are parsed of them, results and answers are in memory beside models and
runs. A request reserves what it can take before it takes it, waits for a short time where there is
no room, and is refused else.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from fastapi import Request

from energy_flow.engine.model_memory import ModelMemory
from energy_flow.errors import CapacityError, MemoryInUse

WAIT_SECONDS: Final = 1.5
"""Usual longest wait for memory."""

MAX_WAIT_SECONDS: Final = 6.0
"""Longest wait of a request that has a part of its memory, while younger ones are refused."""

LOOK_SECONDS: Final = 0.05
"""Time between two looks for memory."""

MEMORY_IN_USE: Final = "memory_in_use"
"""Reason of a refusal in the metrics."""

STEP_BYTES: Final = 2**20
"""Memory of all requests is reserved in multiples of this, so that small ones cost little."""

TRIMMED_BYTES: Final = 16 * 2**20
"""Memory that requests take and let go before free memory is returned to the system again."""

TRIM_SECONDS: Final = 0.5
"""Time after which it is returned again, unless one request takes so much."""

_ADVICE: Final = "send fewer rows at once, or let POST /v1/runs read them from a dataset"


class RequestMemory:
    """The memory of all requests. It belongs to the event loop.

    Attributes:
        bytes: Bytes of all requests.

    Args:
        find_memory: Returns the memory of models and runs; called once a request needs some.
    """

    def __init__(self, find_memory: Callable[[], ModelMemory]) -> None:
        self.bytes = 0
        self._find_memory = find_memory
        self._reserved = 0
        self._untrimmed = 0
        self._trimmed_at = 0.0
        # Requests that wait for more than they hold, in the order of their arrival.
        self._waiting: dict[int, HeldMemory] = {}
        self._arrivals = itertools.count()

    @property
    def shared(self) -> ModelMemory:
        """The memory of models, runs and requests."""
        return self._find_memory()

    def add(self, more: int) -> int:
        """Reserve more bytes, or fewer if negative, and return how many are missing.

        Args:
            more: Bytes. If some are missing, nothing is reserved.
        """
        total = self.bytes + more
        needed = -(-total // STEP_BYTES) * STEP_BYTES
        # Spare memory stays, so that requests around a multiple do not reserve all the time.
        is_kept = total and needed <= self._reserved <= needed + STEP_BYTES
        if not is_kept and needed != self._reserved:
            missing = self.shared.hold_requests(needed)
            if missing and needed != total:
                # There may be room without the spare memory.
                needed = total
                missing = self.shared.hold_requests(needed)
            if missing:
                return missing
            self._reserved = needed
        self.bytes = total
        return 0

    def starts_trim(self, change: int) -> bool:
        """Return whether the caller is to return free memory to the system now.

        Args:
            change: Bytes that a request takes, or lets go if negative.
        """
        self._untrimmed += abs(change)
        now = asyncio.get_running_loop().time()
        is_due = now - self._trimmed_at >= TRIM_SECONDS or abs(change) >= TRIMMED_BYTES
        if self._untrimmed < TRIMMED_BYTES or not is_due:
            return False
        self._untrimmed, self._trimmed_at = 0, now
        return True

    def next_arrival(self) -> int:
        """Return the number of a request in the order of arrival."""
        return next(self._arrivals)

    @contextmanager
    def waiting(self, arrival: int, held: HeldMemory) -> Iterator[None]:
        """Count a request as one that waits, until the end of the block.

        Args:
            arrival: Its number.
            held: Its memory.
        """
        self._waiting[arrival] = held
        try:
            yield
        finally:
            del self._waiting[arrival]

    def is_next_refused(self, arrival: int) -> bool:
        """Return whether a request is refused before others that wait.

        Those that hold memory are refused one after the other, the youngest first: what one of them
        holds can be what another one lacks.

        Args:
            arrival: Its number.
        """
        holding = [number for number, one in self._waiting.items() if one.bytes]
        return arrival not in holding or arrival == max(holding)


class HeldMemory:
    """The memory that one request holds. It belongs to the event loop.

    Attributes:
        bytes: Bytes that it holds.

    Args:
        all_requests: The memory of all requests.
    """

    def __init__(self, all_requests: RequestMemory) -> None:
        self.bytes = 0
        self._all = all_requests
        self._arrival = all_requests.next_arrival()

    async def hold(self, needed: int) -> None:
        """Hold some memory in place of what was held; wait for a short time if there is no room.

        Args:
            needed: Bytes of everything that the request has in memory from now on.

        Raises:
            CapacityError: They can never fit.
            MemoryInUse: Other work has the memory.
        """
        change = needed - self.bytes
        if change < 0 and self._all.starts_trim(change):
            await asyncio.to_thread(self._all.shared.trim)
        if self._all.add(change):
            with self._all.waiting(self._arrival, self):
                await self._wait(needed)
        self.bytes = needed
        if change > 0 and self._all.starts_trim(change):
            await asyncio.to_thread(self._all.shared.trim)

    def check(self, needed: int) -> None:
        """Refuse what can never fit.

        Args:
            needed: Bytes that the request would have in memory.

        Raises:
            CapacityError: They can never fit.
        """
        available = self._all.shared.available_bytes()
        if available is not None and needed > available:
            raise CapacityError(needed, available, "the request", _ADVICE)

    async def _wait(self, needed: int) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        while missing := self._all.add(needed - self.bytes):
            self.check(needed)
            waited = loop.time() - began
            is_over = waited >= WAIT_SECONDS and self._all.is_next_refused(self._arrival)
            if is_over or waited >= MAX_WAIT_SECONDS:
                raise MemoryInUse(needed, max(0, needed - missing), "the request")
            await asyncio.sleep(LOOK_SECONDS)

    def reduce(self, needed: int) -> None:
        """Hold no more than some memory; what was held beyond it was never taken.

        Args:
            needed: Bytes of everything that the request has in memory.
        """
        if needed < self.bytes:
            self._all.add(needed - self.bytes)
            self.bytes = needed

    def release(self) -> None:
        """Hold nothing any more; nothing of the request is in memory."""
        held, self.bytes = self.bytes, 0
        if not held:
            return
        self._all.add(-held)
        if self._all.starts_trim(-held):
            # Nobody waits for it: whoever takes much does the same before.
            asyncio.get_running_loop().run_in_executor(None, self._all.shared.trim)


def memory_of(request: Request) -> HeldMemory:
    """Return the memory that a request holds."""
    held: HeldMemory = request.state.memory
    return held
