"""The client's requests and answers in terms of httpx."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import IO, Any, TypedDict
from uuid import uuid4

import httpx

from energy_flow.client.errors import ResponseTimeout, ServerUnreachable, UnexpectedAnswer
from energy_flow.client.exchange import FileBody, NoResponse, Reply, Request

DEFAULT_URL = "http://127.0.0.1:8000"

PIECE_BYTES = 256 * 1024
"""Bytes of a file that are sent at once."""

# A server sends at least a comment to every stream of events more often than this.
EVENTS_TIMEOUT = httpx.Timeout(5.0, read=60.0)


class ClientArguments(TypedDict):
    """Arguments of ``httpx.Client`` and ``httpx.AsyncClient``."""

    base_url: httpx.URL
    headers: dict[str, str]
    timeout: httpx.Timeout
    trust_env: bool


def client_arguments(
    url: str, api_key: str | None, timeout: float | None, connect_timeout: float
) -> ClientArguments:
    """Return the arguments for ``httpx.Client`` and ``httpx.AsyncClient``.

    Args:
        url: address of the server.
        api_key: sent as bearer token.
        timeout: seconds to wait for an answer; ``None`` sets no limit.
        connect_timeout: seconds to wait for a connection.

    Raises:
        ValueError: ``url`` is not the address of a web server.
    """
    address = parse_url(url)
    headers = {"user-agent": "energy-flow-client"}
    if api_key:
        headers["authorization"] = f"Bearer {api_key}"
    return {
        "base_url": address,
        "headers": headers,
        "timeout": httpx.Timeout(timeout, connect=connect_timeout),
        # A proxy from the environment cannot reach the ports of this machine.
        "trust_env": not _is_loopback(address.host),
    }


def parse_url(url: str) -> httpx.URL:
    """Return the address of a server; ``host:port`` alone means ``http``.

    Raises:
        ValueError: it is not the address of a web server.
    """
    text = url if "://" in url else f"http://{url}"
    try:
        address = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise ValueError(
            f"{url!r} is not the address of a server: {error}; an example is {DEFAULT_URL}"
        ) from None
    if address.scheme not in ("http", "https") or not address.host:
        raise ValueError(f"{url!r} is not the address of a server; an example is {DEFAULT_URL}")
    return address


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class RequestArguments(TypedDict):
    """Arguments of ``httpx.Client.request`` and the like."""

    method: str
    url: str
    params: list[tuple[str, Any]]
    headers: dict[str, str]
    content: bytes | Iterable[bytes] | AsyncIterable[bytes] | None


def request_arguments(
    request: Request, read: Callable[[FileBody], Iterable[bytes] | AsyncIterable[bytes]]
) -> RequestArguments:
    """Return a request as arguments for httpx.

    Args:
        request: the request.
        read: reads a file that is its body, :func:`read_file` or :func:`read_file_async`.
    """
    headers, body = dict(request.headers), request.body
    if isinstance(body, FileBody):
        headers["content-length"] = str(body.size)
    return {
        "method": request.method,
        "url": request.path,
        "params": list(request.query),
        "headers": headers,
        "content": read(body) if isinstance(body, FileBody) else body,
    }


def read_file(body: FileBody) -> Iterator[bytes]:
    """Read a file that is sent, and report the progress.

    What is appended to the file meanwhile is not sent: the server has been told its size.

    Yields:
        At most :data:`PIECE_BYTES` bytes.

    Raises:
        OSError: the file cannot be read, or has become shorter.
    """
    sent = 0
    with body.path.open("rb") as file:
        while sent < body.size:
            piece = _check_piece(body, file.read(min(PIECE_BYTES, body.size - sent)))
            yield piece
            sent += len(piece)
            _report(body, sent)


async def read_file_async(body: FileBody) -> AsyncIterator[bytes]:
    """Read a file in worker threads, otherwise as :func:`read_file`.

    Yields:
        At most :data:`PIECE_BYTES` bytes.

    Raises:
        OSError: the file cannot be read, or has become shorter.
    """
    sent = 0
    file = await asyncio.to_thread(body.path.open, "rb")
    try:
        while sent < body.size:
            wanted = min(PIECE_BYTES, body.size - sent)
            piece = _check_piece(body, await asyncio.to_thread(file.read, wanted))
            yield piece
            sent += len(piece)
            _report(body, sent)
    finally:
        await asyncio.to_thread(file.close)


def _check_piece(body: FileBody, piece: bytes) -> bytes:
    if not piece:
        raise OSError(
            f"{body.path} became shorter while it was sent; send it again once nothing writes to it"
        )
    return piece


def _report(body: FileBody, sent: int) -> None:
    if body.on_progress is not None:
        body.on_progress(sent, body.size)


def read_reply(response: httpx.Response, *, with_body: bool = True) -> Reply:
    """Return an answer of httpx.

    Args:
        response: the answer.
        with_body: whether httpx has read the body; not if it was written to a file.
    """
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Reply(response.status_code, headers, response.content if with_body else b"")


def no_response(error: httpx.HTTPError, url: httpx.URL) -> NoResponse:
    """Return why httpx received no complete answer.

    Args:
        error: what httpx raised.
        url: address of the server.
    """
    # The number of an error of the system means nothing to users.
    reason = re.sub(r"^\[Errno -?\d+\] ", "", str(error).strip()) or type(error).__name__
    match error:
        case httpx.ConnectError() | httpx.ConnectTimeout() | httpx.ProxyError():
            unreachable = ServerUnreachable(
                f"no Energy Flow server answers at {url} ({reason}); start one with "
                "`energy-flow serve`, or give the address of a running one"
            )
            return NoResponse(unreachable, broken=False)
        case httpx.TimeoutException():
            late = ResponseTimeout(
                f"the server at {url} did not answer in time; set a longer timeout"
            )
            return NoResponse(late, broken=False)
        case httpx.DecodingError() | httpx.TooManyRedirects():
            unreadable = UnexpectedAnswer(f"the answer from {url} cannot be read: {reason}")
            return NoResponse(unreadable, broken=False)
        case _:
            broken = ServerUnreachable(f"the connection to {url} broke: {reason}")
            return NoResponse(broken, broken=True)


def early_end(url: httpx.URL) -> NoResponse:
    """Return why there are no further events although their run has not ended.

    Args:
        url: address of the server.
    """
    error = ServerUnreachable(f"{url} ended the stream of events before the run ended")
    return NoResponse(error, broken=True)


@contextmanager
def write_atomically(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file that replaces ``path`` at the end of the block, unless it raises.

    Args:
        path: the file; its folder is made if there is none.

    Yields:
        The temporary file, in the same folder.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
