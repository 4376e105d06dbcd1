"""Answers with the trace of a run: filtered, in any format, streamed."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from fastapi import Request
from starlette.responses import Response

from energy_flow.choices import TraceFormat
from energy_flow.trace.batches import FORMAT_VERSION, columns_of
from energy_flow.trace.formats import StepCounter, encode_trace
from energy_flow.trace.reader import TraceFilter, last_of
from energy_flow.trace.records import KINDS
from service.api.answers import Responses, describe_answers
from service.api.content_negotiation import choose_format
from service.api.find_run import find_simulation
from service.api.pagination import encode_cursor
from service.api.piece_stream import PieceStream
from service.api.stored_file import StoredFile
from service.api.trace_query import MEDIA_TYPES, TraceQuery, TraceSelection
from service.lifespan import Service
from service.problems import not_found
from service.schemas.json_schema import BINARY
from service.store.stored_run import StoredRun
from service.store.verification.verified_file import VerifiedFile
from service.threads import Threads, in_thread

NEXT_CURSOR: Final = "Next-Cursor"
COMPLETE: Final = "Trace-Complete"
FORMAT: Final = "Trace-Format-Version"

TRACE_ANSWERS: Final[Responses] = {
    **describe_answers(content=dict.fromkeys(MEDIA_TYPES.values(), BINARY)),
    206: {"description": "A range of the stored file"},
    304: {"description": "The caller has the stored file"},
}
"""Answers of a route that returns a trace."""


async def answer_trace(
    run_id: str, request: Request, service: Service, query: TraceQuery
) -> Response:
    """Return the trace of a run.

    Args:
        run_id: Id of the run.
        request: The request.
        service: The service.
        query: Its query parameters.

    Raises:
        Problem: 404, there is no such simulation; 406, the format is not known; 422, with every
            fault of a parameter.
    """
    chosen = TraceFormat(choose_format(request, query.trace_format, MEDIA_TYPES, "a trace"))
    keep, limit = query.make_filter(), query.limit
    # The state is read first: the files that are listed next have at least what it promises.
    row = await find_simulation(service, run_id)
    first_sample = max(keep.after[0] if keep.after else 0, min(keep.samples or (), default=0))
    stop = max(keep.samples) + 1 if keep.samples else None

    def select() -> _Part:
        with service.archive.noticing_removal(run_id):
            return _select(service.archive.open(row), (first_sample, stop), keep, limit)

    part = await in_thread(Threads.FILES, select)
    headers = {
        COMPLETE: "true" if row.is_complete and part.is_exhausted else "false",
        FORMAT: FORMAT_VERSION,
        "Content-Disposition": f'attachment; filename="{run_id}{chosen.suffixes[0]}"',
        "Vary": "Accept",
    }
    if part.last is not None:
        headers[NEXT_CURSOR] = encode_cursor(*part.last)
    is_whole = row.is_complete and keep.keeps_all and limit is None and len(part.paths) == 1
    if is_whole and chosen is TraceFormat.PARQUET:
        return await _answer_stored_file(part.paths[0], request, chosen.media_type, headers)

    def read_counters() -> tuple[StepCounter, ...]:
        return part.run.step_counters() if row.is_complete else ()

    pieces = (piece for piece in encode_trace(chosen, part.read(), read_counters) if piece)
    return PieceStream(pieces, chosen.media_type, headers)


async def count_trace(run_id: str, service: Service, query: TraceSelection) -> dict[str, Any]:
    """Return how many records of a trace there are of each step and kind.

    Args:
        run_id: Id of the run.
        service: The service.
        query: Which records.

    Raises:
        Problem: 404, there is no such simulation; 422, with every fault of a parameter.
    """
    keep = query.make_filter()
    row = await find_simulation(service, run_id)
    first = min(keep.samples or (), default=0)
    stop = max(keep.samples) + 1 if keep.samples else None

    def count() -> dict[str, Any]:
        counts: Counter[tuple[int, int]] = Counter()
        with service.archive.noticing_removal(run_id):
            trace = service.archive.open(row).trace
            for batch in trace.read(trace.files(first, stop), keep):
                columns = columns_of((batch,))
                pairs = np.stack([columns["step"].astype(np.int64), columns["kind"]], axis=1)
                found, times = np.unique(pairs, axis=0, return_counts=True)
                counts.update(dict(zip(map(tuple, found.tolist()), times.tolist(), strict=True)))
        steps = sorted({step for step, _ in counts})
        return {
            "records": counts.total(),
            "steps": [
                {"step": step} | {kind: counts[step, code] for code, kind in enumerate(KINDS)}
                for step in steps
            ],
        }

    return await in_thread(Threads.FILES, count)


async def _answer_stored_file(
    file: Path | VerifiedFile, request: Request, media_type: str, headers: dict[str, str]
) -> Response:
    """Return the file as a whole or in ranges; nothing of it if the caller has it."""
    path = file.path if isinstance(file, VerifiedFile) else file
    try:
        stat = await in_thread(Threads.READS, path.stat)
    except FileNotFoundError:
        raise not_found(f"trace of run {path.parent.name!r}") from None
    # The files of ended runs never change, so these values identify their bytes.
    identity = f"{path.parent.name}-{stat.st_size}-{stat.st_mtime_ns}"
    tag = f'"{hashlib.sha256(identity.encode()).hexdigest()[:32]}"'
    headers |= {"ETag": tag, "Cache-Control": "private, no-cache, no-transform"}
    held = request.headers.get("if-none-match", "")
    tags = {entry.strip().removeprefix("W/") for entry in held.split(",")}
    if tag in tags or "*" in tags:
        return Response(status_code=304, headers=headers)
    return StoredFile(file, media_type=media_type, headers=headers, stat_result=stat)


@dataclass(frozen=True, slots=True)
class _Part:
    """The selected records.

    Attributes:
        run: Files of the run.
        paths: Files that have them.
        read: Returns them in batches.
        last: (sample, seq) of the last one.
        is_exhausted: Whether no stored record follows.
    """

    run: StoredRun
    paths: Sequence[Path | VerifiedFile]
    read: Callable[[], Iterator[Any]]
    last: tuple[int, ...] | None
    is_exhausted: bool


def _select(
    run: StoredRun, samples: tuple[int, int | None], keep: TraceFilter, limit: int | None
) -> _Part:
    paths = run.trace.files(*samples)
    try:
        end = run.trace.last_record(paths) or keep.after
    except FileNotFoundError:  # The run has just ended, and its parts are one file now.
        paths = run.trace.files(*samples)
        end = run.trace.last_record(paths) or keep.after
    if limit is None:
        # Once the answer has begun, it could not be refused any more.
        run.trace.check(paths)
        return _Part(run, paths, lambda: _read(run, paths, keep, end), end, True)
    # Counted first and read again, so that a million records are not held in memory.
    last, count = keep.after, 0
    for batch in _read(run, paths, keep, end, limit):
        last, count = last_of(batch), count + len(batch)
    if count < limit:
        return _Part(run, paths, lambda: _read(run, paths, keep, end), end, True)
    part = replace(keep, until=last)
    return _Part(run, paths, lambda: _read(run, paths, part, last), last, last == end)


def _read(
    run: StoredRun,
    paths: Sequence[Path | VerifiedFile],
    keep: TraceFilter,
    end: tuple[int, int] | None,
    limit: int | None = None,
) -> Iterator[Any]:
    """Yield the records up to ``end``, also if the parts become one file meanwhile."""
    last, count = keep.after, 0
    try:
        for batch in run.trace.read(paths, keep, limit):
            yield batch
            last, count = last_of(batch), count + len(batch)
    except FileNotFoundError:
        rest = replace(keep, after=last, until=end)
        left = None if limit is None else limit - count
        yield from run.trace.read(run.trace.files(), rest, left)
