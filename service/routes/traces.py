"""A run's event trace: filtered, in any of its formats, streamed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import FileResponse, Response, StreamingResponse

from energy_flow.errors import Fault
from energy_flow.trace.records import KINDS
from service import cursors
from service.dependencies import ServiceDep, choose_format
from service.openapi import REFUSALS
from service.problems import invalid, not_found
from service.routes.runs import find_run
from service.store.catalog import ENDED
from service.store.run_folder import RunFolder

if TYPE_CHECKING:
    from energy_flow.trace.formats import TraceFilter, TraceFormat

router = APIRouter(prefix="/v1/runs", tags=["runs"])

MOST_RECORDS = 1_000_000
NEXT_CURSOR = "Next-Cursor"
COMPLETE = "Trace-Complete"

_MANY = "repeatable, or several with commas"


@router.get("/{run_id}/trace", response_class=Response, responses=REFUSALS)
async def read_trace(
    run_id: str,
    request: Request,
    service: ServiceDep,
    trace_format: Annotated[
        str | None, Query(alias="format", description="parquet or ndjson; else by Accept")
    ] = None,
    kind: Annotated[list[str] | None, Query(description=f"{', '.join(KINDS)}; {_MANY}")] = None,
    sample: Annotated[list[str] | None, Query(description=_MANY)] = None,
    flow: Annotated[list[str] | None, Query(description=_MANY)] = None,
    step_from: Annotated[int | None, Query(description="first step")] = None,
    step_to: Annotated[int | None, Query(description="last step")] = None,
    limit: Annotated[
        int | None, Query(ge=1, le=MOST_RECORDS, description="records, at most")
    ] = None,
    cursor: Annotated[
        str | None, Query(description="of an earlier answer: only what came after it")
    ] = None,
) -> Response:
    """Records sorted by (sample, seq); of a run that goes on, of the samples that have ended.

    ``Next-Cursor`` goes on after these records, also when more come later; ``Trace-Complete`` says
    whether none will.
    """
    from energy_flow.trace.formats import FORMATS, TraceFilter

    media_types = {name: known.media_type for name, known in FORMATS.items()}
    chosen = choose_format(trace_format, request.headers.get("accept", ""), media_types, "a trace")
    kinds = _names(kind)
    samples, flows = _numbers("sample", sample), _numbers("flow", flow)
    after = None if cursor is None else cursors.decode(cursor, 2)
    keep = TraceFilter(
        kinds=kinds,
        samples=samples,
        flows=flows,
        step_from=step_from,
        step_to=step_to,
        after=None if after is None else (after[0], after[1]),
    )
    # The state first: what has ended by then is in the files that are listed next.
    row = await find_run(service, run_id)
    ended = row.state in ENDED
    folder = service.archive.folder(run_id)
    first_sample = max(after[0] if after else 0, min(samples, default=0) if samples else 0)
    try:
        part = await asyncio.to_thread(_select, folder, first_sample, keep, limit)
    except FileNotFoundError:
        raise not_found(f"run {run_id!r}") from None
    headers = {
        COMPLETE: "true" if ended and part.exhausted else "false",
        "Content-Disposition": f'attachment; filename="{run_id}.{chosen}"',
    }
    if part.last is not None:
        headers[NEXT_CURSOR] = cursors.encode(*part.last)
    media_type = media_types[chosen]
    if chosen == "parquet" and ended and keep.keeps_all and limit is None and len(part.paths) == 1:
        return FileResponse(part.paths[0], media_type=media_type, headers=headers)
    written = _written(FORMATS[chosen], part)
    return StreamingResponse(written, media_type=media_type, headers=headers)


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
    from energy_flow.trace.formats import columns_of, last_record, read_batches

    paths = folder.trace_parts(first_sample)
    end = last_record(paths) or keep.after
    if limit is None:
        return _Part(paths, lambda: read_batches(paths, keep), end, True)
    held = list(read_batches(paths, keep, limit))
    if sum(len(batch) for batch in held) < limit:
        return _Part(paths, lambda: iter(held), end, True)
    columns = columns_of(held[-1:])
    last = (int(columns["sample"][-1]), int(columns["seq"][-1]))
    return _Part(paths, lambda: iter(held), last, last == end)


def _written(trace_format: TraceFormat, part: _Part) -> Iterator[bytes]:
    yield from (piece for piece in trace_format.write(part.batches()) if piece)


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
