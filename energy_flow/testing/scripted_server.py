"""``ScriptedServer``: prepared answers, for what a real server does rarely."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx

from energy_flow.testing.in_process_server import InProcessServer


class ScriptedServer(InProcessServer):
    """A server that gives prepared answers one after the other, whatever the requests are.

    Args:
        answers: answers in their order; an exception breaks the connection, for example
            ``httpx.ConnectError("refused")``.
    """

    def __init__(self, *answers: httpx.Response | httpx.HTTPError) -> None:
        super().__init__(self._next_answer)
        self._answers = iter(answers)

    def _next_answer(self, request: httpx.Request) -> httpx.Response:
        answer = next(self._answers, None)
        if answer is None:
            raise AssertionError(
                f"no answer is left for request {len(self.requests)}, {request.method} "
                f"{request.url.path}; prepare one more answer"
            )
        if isinstance(answer, httpx.HTTPError):
            raise answer
        return answer


class BrokenStream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """The body of an answer whose connection breaks after some bytes.

    Args:
        content: bytes before the connection breaks.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __iter__(self) -> Iterator[bytes]:
        yield self._content
        raise httpx.ReadError("the connection was reset")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._content
        raise httpx.ReadError("the connection was reset")
