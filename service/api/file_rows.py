"""Bodies that are files of embeddings, from their bytes to rows."""

from __future__ import annotations

import asyncio

import numpy as np
from fastapi import Request
from numpy.typing import NDArray

from energy_flow.choices import DatasetFormat
from service.api.bodies import wait_for_disconnect
from service.content_codings import Decoder
from service.datasets.formats.reader import GZIP
from service.datasets.loaded_rows import MemoryStorage, load_body
from service.datasets.parsing.parsers import Conversion
from service.lifespan import Service
from service.problems import Problem
from service.requests.columns import Selection
from service.threads import Threads, in_thread


async def decompress(body: bytes, limit: int) -> bytes:
    """Return a file without its compression, if it begins as gzip files do.

    Args:
        body: The file.
        limit: Most bytes that it may have.

    Raises:
        Problem: 400, it is damaged; 413, it has more bytes.
    """
    if not body.startswith(GZIP):
        return body
    return await in_thread(Threads.BODIES, _decompress, body, limit)


async def load_rows(
    service: Service, request: Request, body: bytes, file_format: DatasetFormat, column: str | None
) -> NDArray[np.float32]:
    """Return the embeddings of a file, float32 [rows, dim].

    Args:
        service: The service.
        request: The request, whose body has been read.
        body: The file.
        file_format: Its format.
        column: Column of the embeddings, if one was named.

    Raises:
        Problem: The file is refused; 499, the client disconnected.
        OSError: A temporary file cannot be written.
    """
    conversion = service.parsers.conversion()
    watch = asyncio.create_task(wait_for_disconnect(request))
    watch.add_done_callback(lambda _: conversion.cancel())
    try:
        return await in_thread(
            Threads.UPLOADS, _load, service, body, file_format, column, conversion
        )
    finally:
        watch.cancel()


def _load(
    service: Service,
    body: bytes,
    file_format: DatasetFormat,
    column: str | None,
    conversion: Conversion,
) -> NDArray[np.float32]:
    limit, folder = service.settings.max_body_bytes, service.datasets.scratch_folder()
    selection = Selection(column, has_targets=False)
    with MemoryStorage(limit, folder) as storage:
        return load_body(body, file_format, selection, storage, conversion).inputs


def _decompress(body: bytes, limit: int) -> bytes:
    decoder = Decoder("gzip")
    decoded = bytearray()
    for piece in decoder.decode(body):
        decoded += piece
        if len(decoded) > limit:
            raise Problem(
                413,
                f"the body has more than {limit:,} bytes when it is decompressed, the limit",
                extra={"limit_bytes": limit},
            )
    decoder.finish()
    return bytes(decoded)
