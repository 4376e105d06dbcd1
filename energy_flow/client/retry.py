"""When a request is sent again."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from energy_flow.client.errors import FlowClientError
from energy_flow.client.exchange import NoResponse, Reply, Request, read_problem

BUSY_STATUSES = frozenset({429, 503})
GATEWAY_STATUSES = frozenset({502, 504})
"""What a gateway answers in place of a server that it cannot reach."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and how long a client retries while the server is busy (429, 503).

    The server's ``Retry-After`` decides the wait; without one it doubles from ``first_wait``.

    Attributes:
        attempts: further attempts after the first; 0 disables retries, ``None`` sets no limit.
        longest_wait: seconds; a server that asks for a longer wait is not asked again.
        first_wait: seconds.
        away_seconds: seconds of failed attempts after which no other is made; ``None`` sets no
            limit.
        unreachable: whether to retry, where that is safe, also while the server cannot be reached
            or only a gateway answers (502, 504), as during a restart.
    """

    attempts: int | None = 3
    longest_wait: float = 30.0
    first_wait: float = 0.25
    away_seconds: float | None = None
    unreachable: bool = False

    def wait(
        self, attempt: int, retry_after: float | None = None, tried_for: float = 0.0
    ) -> float | None:
        """Return the seconds to wait before the next attempt.

        Args:
            attempt: number of the attempt that failed, from 0.
            retry_after: seconds that the server asks for.
            tried_for: seconds of failed attempts so far.

        Returns:
            Seconds, or ``None`` if there is no further attempt.
        """
        if self.attempts is not None and attempt >= self.attempts:
            return None
        if self.away_seconds is not None and tried_for >= self.away_seconds:
            return None
        if retry_after is not None:
            return retry_after if retry_after <= self.longest_wait else None
        # 2 to the power of 64 exceeds every wait; a larger power would overflow a float.
        doubled: float = self.first_wait * 2.0 ** min(attempt, 64)
        # A random factor, so that clients that were refused together do not retry together.
        return min(doubled * random.uniform(1.0, 1.5), self.longest_wait)


NO_RETRY = Retry(attempts=0)

PATIENT = Retry(attempts=None, longest_wait=10.0, away_seconds=900.0, unreachable=True)
"""Waits up to a quarter of an hour for a server that is away; for work that lasts hours."""


class Attempts:
    """The failed attempts to send one request.

    Args:
        request: the request.
        retry: when it is sent again.
    """

    def __init__(self, request: Request, retry: Retry) -> None:
        self._request = request
        self._retry = retry
        self._failures = 0
        self._began = time.monotonic()

    def wait_after(self, reply: Reply | NoResponse) -> float:
        """Return the seconds to wait before the request is sent again.

        Args:
            reply: what ended the last attempt; no success.

        Raises:
            ProblemError: the server refused, and the request is not sent again.
            FlowClientError: there was no answer, and the request is not sent again.
        """
        repeatable = self._request.repeatable
        waits_for_server = repeatable and self._retry.unreachable
        error: FlowClientError
        retry_after: float | None = None
        if isinstance(reply, NoResponse):
            error = reply.error
            again = waits_for_server or (repeatable and reply.broken)
        else:
            error = problem = read_problem(reply)
            retry_after = problem.retry_after
            # A busy server has not begun with the request, so sending it again is always safe.
            again = reply.status in BUSY_STATUSES or (
                waits_for_server and reply.status in GATEWAY_STATUSES
            )
        wait = None
        if again:
            tried_for = time.monotonic() - self._began
            wait = self._retry.wait(self._failures, retry_after, tried_for)
        if wait is None:
            raise error
        self._failures += 1
        return wait
