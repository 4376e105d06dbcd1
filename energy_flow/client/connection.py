"""Between the client's own requests and replies and those of httpx."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import IO, Any, TypedDict
from uuid import uuid4

import httpx

from energy_flow.client.errors import ResponseTimeout, ServerUnreachable, UnexpectedAnswer
from energy_flow.client.exchange import FileBody, Lost, Reply, Request

DEFAULT_URL = "http://127.0.0.1:8000"

# Of a file that is sent.
PIECE_BYTES = 256 * 1024

# A server of events sends at least a comment more often than this.
EVENTS_TIMEOUT = httpx.Timeout(5.0, read=60.0)


class ClientArguments(TypedDict):
    """What both kinds of httpx client are made with."""

    base_url: httpx.URL
    headers: dict[str, str]
    timeout: httpx.Timeout
    trust_env: bool


def client_arguments(
    url: str, api_key: str | None, timeout: float | None, connect_timeout: float
) -> ClientArguments:
    """Arguments for ``httpx.Client`` and ``httpx.AsyncClient``.

    Raises:
        ValueError: ``url`` is no address of a web server.
    """
    address = server_url(url)
    headers = {"user-agent": "energy-flow-client"}
    if api_key:
        headers["authorization"] = f"Bearer {api_key}"
    return {
        "base_url": address,
        "headers": headers,
        "timeout": httpx.Timeout(timeout, connect=connect_timeout),
        # A proxy for the outside world knows nothing of this machine's own ports.
        "trust_env": not _is_loopback(address.host),
    }


def server_url(url: str) -> httpx.URL:
    """The address of a server; ``host:port`` alone means ``http``.

    Raises:
        ValueError: it is none.
    """
    text = url if "://" in url else f"http://{url}"
    try:
        address = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise ValueError(f"{url!r} is not the address of a server: {error}") from None
    if address.scheme not in ("http", "https") or not address.host:
        raise ValueError(f"{url!r} is not the address of a server; write {DEFAULT_URL}")
    return address


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class RequestArguments(TypedDict):
    """What httpx builds a request from."""

    method: str
    url: str
    params: list[tuple[str, Any]]
    headers: dict[str, str]
    content: bytes | Iterable[bytes] | AsyncIterable[bytes] | None


def request_arguments(
    request: Request, pieces: Callable[[FileBody], Iterable[bytes] | AsyncIterable[bytes]]
) -> RequestArguments:
    """The request in httpx's words.

    Args:
        pieces: reads a file that is its body.
    """
    headers, body = dict(request.headers), request.body
    if isinstance(body, FileBody):
        headers["content-length"] = str(body.size)
    return {
        "method": request.method,
        "url": request.path,
        "params": list(request.query),
        "headers": headers,
        "content": pieces(body) if isinstance(body, FileBody) else body,
    }


def file_pieces(body: FileBody) -> Iterator[bytes]:
    """A file as it is sent.

    Raises:
        OSError: it cannot be read.
    """
    with body.path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            yield piece
            _tell(body, file.tell())


async def file_pieces_async(body: FileBody) -> AsyncIterator[bytes]:
    """As :func:`file_pieces`, for asyncio.

    Raises:
        OSError: it cannot be read.
    """
    file = await asyncio.to_thread(body.path.open, "rb")
    try:
        while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
            yield piece
            _tell(body, file.tell())
    finally:
        await asyncio.to_thread(file.close)


def _tell(body: FileBody, sent: int) -> None:
    if body.on_progress is not None:
        body.on_progress(sent, body.size)


def reply_of(response: httpx.Response, *, with_body: bool = True) -> Reply:
    """The answer, whose body httpx has read unless it was written to a file."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Reply(response.status_code, headers, response.content if with_body else b"")


def lost(error: httpx.HTTPError, url: httpx.URL) -> Lost:
    """What to tell when httpx got no complete answer."""
    reason = str(error).strip() or type(error).__name__
    match error:
        case httpx.ConnectError() | httpx.ConnectTimeout() | httpx.ProxyError():
            told = ServerUnreachable(
                f"no Energy Flow server answers at {url} ({reason}); start one with "
                "`energy-flow serve`, or give the address of one that runs"
            )
            return Lost(told, broken=False)
        case httpx.TimeoutException():
            return Lost(
                ResponseTimeout(f"the server at {url} did not answer in time"), broken=False
            )
        case httpx.DecodingError() | httpx.TooManyRedirects():
            return Lost(
                UnexpectedAnswer(f"the answer from {url} cannot be read: {reason}"), broken=False
            )
        case _:
            told = ServerUnreachable(f"the connection to {url} broke: {reason}")
            return Lost(told, broken=True)


def stream_ended(url: httpx.URL) -> Lost:
    """What to tell when a stream of events ends before its run does."""
    told = ServerUnreachable(f"{url} ended the stream of events before the run ended")
    return Lost(told, broken=True)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears at ``path`` only when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
