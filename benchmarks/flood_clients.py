"""Clients of ``flood``: plain HTTP over sockets, from addresses of their own.

Hundreds of them share one core, so a client must cost little: rows are sent as ``.npy``, and
answers are tensors.
"""

from __future__ import annotations

import asyncio
import io
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import orjson
from numpy.typing import NDArray
from safetensors.numpy import load

MAX_WAIT_SECONDS = 120.0
TENSORS = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer.

    Attributes:
        status: its status.
        headers: its headers, with names in lower case.
        body: its body.
    """

    status: int
    headers: dict[str, str]
    body: bytes


class Connection:
    """A connection that is opened when it is needed.

    Args:
        url: address of the server.
        source: address of this side.
    """

    def __init__(self, url: str, source: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._host, self._port = parts.hostname, parts.port
        self._source = source
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, method: str, path: str, body: bytes = b"") -> asyncio.StreamReader:
        """Send a request, and return the stream from which its answer can be read."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(
                self._host, self._port, local_addr=(self._source, 0)
            )
        reader, writer = self._streams
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\nAccept: {TENSORS}, */*"
            f"\r\nContent-Type: application/x-npy\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        await writer.drain()
        return reader

    async def request(self, method: str, path: str, body: bytes = b"") -> Answer:
        """Send a request and return its answer.

        Raises:
            OSError: the server has closed the connection.
            EOFError: likewise, in the middle of the answer.
        """
        try:
            async with asyncio.timeout(MAX_WAIT_SECONDS):
                reader = await self.send(method, path, body)
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = head.strip().split("\r\n")
                headers = {
                    name.lower(): value.strip()
                    for name, _, value in (line.partition(":") for line in lines)
                }
                received = await reader.readexactly(int(headers.get("content-length", "0")))
        except BaseException:
            self.close()
            raise
        if headers.get("connection") == "close":
            self.close()
        return Answer(int(first.split()[1]), headers, received)

    def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


@dataclass(slots=True)
class Tally:
    """What clients of one kind have got.

    Attributes:
        flow_steps: flow-steps of right answers.
        latencies: seconds of right answers.
        outcomes: number of requests, by ``right``, ``wrong``, ``lost``, or the status.
        stored: ids of the runs whose answers say that they are stored.
    """

    flow_steps: int = 0
    latencies: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    stored: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Work:
    """What clients may send.

    Attributes:
        rows: all embeddings [N, E].
        surfaces: their surfaces, with their indices as sample keys.
    """

    rows: NDArray[np.float32]
    surfaces: NDArray[np.float32]

    def draw(self, chance: random.Random, counts: tuple[int, ...], *, store: bool) -> Request:
        """Return a request of some rows.

        Args:
            chance: chooses them.
            counts: numbers of rows that it may have.
            store: whether its run is stored.
        """
        count = chance.choice(counts)
        first = chance.randrange(len(self.rows) - count + 1)
        keys = ",".join(str(key) for key in range(first, first + count))
        file = io.BytesIO()
        np.save(file, self.rows[first : first + count])
        path = f"/v1/simulate?outputs=surface&store={str(store).lower()}&sample_keys={keys}"
        return Request(path, file.getvalue(), self.surfaces[first : first + count], store)


@dataclass(frozen=True, slots=True)
class Request:
    """A simulation.

    Attributes:
        path: path and query.
        body: the rows.
        surfaces: what the answer must have.
        store: whether the run is stored.
    """

    path: str
    body: bytes
    surfaces: NDArray[np.float32]
    store: bool

    def check(self, answer: Answer, tally: Tally, seconds: float) -> None:
        """Count an answer.

        Args:
            answer: the answer.
            tally: where it is counted.
            seconds: how long it took.
        """
        if answer.status != 200:
            tally.outcomes[str(answer.status)] += 1
            return
        tensors = load(answer.body)
        members: dict[str, Any] = orjson.loads(tensors["answer"].tobytes())
        if not np.array_equal(tensors["surface"], self.surfaces):
            tally.outcomes["wrong"] += 1
            return
        tally.outcomes["right"] += 1
        tally.flow_steps += members["metrics"]["flow_steps"]
        tally.latencies.append(seconds)
        if self.store:
            tally.stored.append(members["run_id"])


async def call_again_and_again(
    connection: Connection, work: Work, counts: tuple[int, ...], tally: Tally, *, seed: int
) -> None:
    """Send a request after each answer; after a refusal, as late as it asks for.

    Args:
        connection: of the client.
        work: what it may send.
        counts: numbers of rows of a request.
        tally: where answers are counted.
        seed: seed of the choices; every tenth run is stored.
    """
    chance = random.Random(seed)
    try:
        while True:
            request = work.draw(chance, counts, store=chance.random() < 0.1)
            began = time.perf_counter()
            try:
                answer = await connection.request("POST", request.path, request.body)
            except (OSError, EOFError, TimeoutError):
                tally.outcomes["lost"] += 1
                await asyncio.sleep(1)
                continue
            request.check(answer, tally, time.perf_counter() - began)
            if answer.status != 200:
                await asyncio.sleep(float(answer.headers.get("retry-after", "1")))
    finally:
        connection.close()


async def disconnect_again_and_again(
    connection: Connection, work: Work, counts: tuple[int, ...], *, seed: int
) -> None:
    """Send a request, close the connection within a second, and begin again within another.

    Args:
        connection: of the client.
        work: what it may send.
        counts: numbers of rows of a request.
        seed: seed of the choices.
    """
    chance = random.Random(seed)
    try:
        while True:
            request = work.draw(chance, counts, store=True)
            try:
                await connection.send("POST", request.path, request.body)
            except OSError:
                await asyncio.sleep(1)
            await asyncio.sleep(chance.uniform(0, 1))
            connection.close()
            await asyncio.sleep(chance.uniform(0, 1))
    finally:
        connection.close()


async def never_read(url: str, source: str, path: str) -> None:
    """Send a request whose answer does not fit into the connection, and read nothing.

    Args:
        url: address of the server.
        source: address of this side.
        path: path of a large answer.
    """
    # A reader with a small limit stops to read from the socket.
    parts = urlsplit(url)
    while True:
        try:
            _, writer = await asyncio.open_connection(
                parts.hostname, parts.port, local_addr=(source, 0), limit=1024
            )
        except OSError:
            await asyncio.sleep(1)
            continue
        try:
            writer.write(
                f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {TENSORS}\r\n\r\n".encode()
            )
            await writer.wait_closed()
        except OSError:
            await asyncio.sleep(1)
        finally:
            writer.transport.abort()
