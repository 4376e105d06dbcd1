"""A run's event trace: filtered, in any of its formats, streamed."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from pydantic import WithJsonSchema
from starlette.responses import FileResponse, Response, StreamingResponse

from energy_flow.errors import Fault
from energy_flow.trace.formats import (
    FORMAT_VERSION,
    FORMATS,
    StepCounter,
    TraceFilter,
    last_of,
    last_record,
    read_batches,
)
from energy_flow.trace.records import KINDS
from service.api import cursors
from service.api.dependencies import choose_format
from service.api.find_run import find_simulation
from service.lifespan import Service
from service.problems import invalid, not_found
from service.store.catalog import ENDED
from service.store.run_folder import RunFolder
from service.store.step_counters import step_counters

MOST_RECORDS = 1_000_000
NEXT_CURSOR = "Next-Cursor"
COMPLETE = "Trace-Complete"
FORMAT = "Trace-Format-Version"

_MANY = "repeatable, or several with commas"
_A_KIND = f"({'|'.join(KINDS)})"
_Kinds = Annotated[str, WithJsonSchema({"type": "string", "pattern": f"^{_A_KIND}(,{_A_KIND})*$"})]
_Indices = Annotated[
    str, WithJsonSchema({"type": "string", "pattern": r"^[0-9]{1,18}(,[0-9]{1,18})*$"})
]


@dataclass(frozen=True, slots=True)
class TraceQuery:
    """Which records are asked for, and in which format."""

    trace_format: Annotated[
        str | None,
        Query(
            alias="format",
            description="parquet, arrow, ndjson, csv, perfetto; else by Accept",
            json_schema_extra={"enum": ["parquet", "arrow", "ndjson", "csv", "perfetto"]},
        ),
    ] = None
    kind: Annotated[list[_Kinds] | None, Query(description=f"{', '.join(KINDS)}; {_MANY}")] = None
    sample: Annotated[list[_Indices] | None, Query(description=_MANY)] = None
    flow: Annotated[list[_Indices] | None, Query(description=_MANY)] = None
    step_from: Annotated[int | None, Query(description="first step")] = None
    step_to: Annotated[int | None, Query(description="last step")] = None
    limit: Annotated[int | None, Query(ge=1, le=MOST_RECORDS, description="records, at most")] = (
        None
    )
    cursor: Annotated[
        str | None, Query(description="of an earlier answer: only what came after it")
    ] = None


TraceQueryDep = Annotated[TraceQuery, Depends()]


async def trace_of(run_id: str, request: Request, service: Service, query: TraceQuery) -> Response:
    """Answer a request for the trace of a run.

    Raises:
        Problem: 404, 406 or 422.
    """
    media_types = {name: known.media_type for name, known in FORMATS.items()}
    chosen = choose_format(
        query.trace_format, request.headers.get("accept", ""), media_types, "a trace"
    )
    kinds, limit = _names(query.kind), query.limit
    samples, flows = _numbers("sample", query.sample), _numbers("flow", query.flow)
    after = None if query.cursor is None else cursors.decode(query.cursor, 2)
    keep = TraceFilter(
        kinds=kinds,
        samples=samples,
        flows=flows,
        step_from=query.step_from,
        step_to=query.step_to,
        after=None if after is None else (after[0], after[1]),
    )
    # The state first: what has ended by then is in the files that are listed next.
    row = await find_simulation(service, run_id)
    ended = row.state in ENDED
    folder = service.archive.folder(run_id)
    first_sample = max(after[0] if after else 0, min(samples, default=0) if samples else 0)
    try:
        part = await asyncio.to_thread(_select, folder, first_sample, keep, limit)
    except FileNotFoundError:
        raise not_found(f"run {run_id!r}") from None
    headers = {
        COMPLETE: "true" if ended and part.exhausted else "false",
        FORMAT: FORMAT_VERSION,
        "Content-Disposition": f'attachment; filename="{run_id}.{FORMATS[chosen].suffix}"',
        "Vary": "Accept",
    }
    if part.last is not None:
        headers[NEXT_CURSOR] = cursors.encode(*part.last)
    media_type = media_types[chosen]
    if chosen == "parquet" and ended and keep.keeps_all and limit is None and len(part.paths) == 1:
        return await _stored_file(part.paths[0], request, media_type, headers)
    counters: tuple[StepCounter, ...] = ()
    if FORMATS[chosen].shows_counters and ended:
        counters = await asyncio.to_thread(step_counters, folder)
    written = (piece for piece in FORMATS[chosen].pieces(part.batches(), counters) if piece)
    return StreamingResponse(written, media_type=media_type, headers=headers)


async def _stored_file(
    path: Path, request: Request, media_type: str, headers: dict[str, str]
) -> Response:
    """The file as it lies there: as a whole, in ranges, or not at all where the caller has it."""
    try:
        stat = await asyncio.to_thread(path.stat)
    except FileNotFoundError:
        raise not_found(f"trace of run {path.parent.name!r}") from None
    # Files of ended runs never change, so these numbers stand for their bytes.
    told = f"{path.parent.name}-{stat.st_size}-{stat.st_mtime_ns}"
    tag = f'"{hashlib.sha256(told.encode()).hexdigest()[:32]}"'
    headers |= {"ETag": tag, "Cache-Control": "private, no-cache, no-transform"}
    known = {entry.strip().removeprefix("W/") for entry in _if_none_match(request).split(",")}
    if tag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return FileResponse(path, media_type=media_type, headers=headers, stat_result=stat)


def _if_none_match(request: Request) -> str:
    return request.headers.get("if-none-match", "")


@dataclass(frozen=True, slots=True)
class _Part:
    """The records to answer with.

    Attributes:
        paths: files that hold them.
        batches: gives them.
        last: (sample, seq) after which to go on.
        exhausted: nothing that is there now comes after them.
    """

    paths: list[Path]
    batches: Callable[[], Iterator[Any]]
    last: tuple[int, ...] | None
    exhausted: bool


def _select(folder: RunFolder, first_sample: int, keep: TraceFilter, limit: int | None) -> _Part:

    paths = folder.trace_parts(first_sample)
    try:
        end = last_record(paths) or keep.after
    except FileNotFoundError:  # the run has just ended
        paths = folder.trace_parts(first_sample)
        end = last_record(paths) or keep.after
    if limit is None:
        return _Part(paths, lambda: _batches(folder, paths, keep, end), end, True)
    # Counted first and read again, so that a million records are not held.
    last, count = keep.after, 0
    for batch in _batches(folder, paths, keep, end, limit):
        last, count = last_of(batch), count + len(batch)
    if count < limit:
        return _Part(paths, lambda: _batches(folder, paths, keep, end), end, True)
    part = replace(keep, until=last)
    return _Part(paths, lambda: _batches(folder, paths, part, last), last, last == end)


def _batches(
    folder: RunFolder,
    paths: list[Path],
    keep: TraceFilter,
    end: tuple[int, int] | None,
    limit: int | None = None,
) -> Iterator[Any]:
    """The records up to ``end``; while they are read, the parts may become one file."""

    last, count = keep.after, 0
    try:
        for batch in read_batches(paths, keep, limit):
            yield batch
            last, count = last_of(batch), count + len(batch)
    except FileNotFoundError:
        rest = replace(keep, after=last, until=end)
        left = None if limit is None else limit - count
        yield from read_batches(folder.trace_parts(), rest, left)


def _split(texts: list[str] | None) -> list[str] | None:
    if texts is None:
        return None
    return [entry.strip() for text in texts for entry in text.split(",")]


def _names(texts: list[str] | None) -> frozenset[str] | None:
    names = _split(texts)
    if names is None:
        return None
    faults = [
        Fault(("kind",), f"known are {', '.join(KINDS)}", name)
        for name in names
        if name not in KINDS
    ]
    if faults:
        raise invalid(faults)
    return frozenset(names)


def _numbers(name: str, texts: list[str] | None) -> frozenset[int] | None:
    entries = _split(texts)
    if entries is None:
        return None
    faults = [
        Fault((name,), "must be an integer from 0", entry)
        for entry in entries
        if not (entry.isascii() and entry.isdecimal() and len(entry) < 19)
    ]
    if faults:
        raise invalid(faults)
    return frozenset(int(entry) for entry in entries)
