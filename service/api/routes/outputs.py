"""A run's outputs: as JSON, as .npy or .safetensors, as a picture."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Request
from numpy.typing import NDArray
from starlette.responses import FileResponse, Response, StreamingResponse

from energy_flow.errors import Fault
from service.api.dependencies import ServiceDep, choose_format
from service.api.find_run import find_ended_run
from service.api.openapi import REFUSALS
from service.json_encoding import array_pieces, to_json
from service.problems import Problem, invalid, not_found
from service.requests.safetensors_body import SAFETENSORS
from service.safetensors_header import make_header
from service.schemas import OutputName
from service.store.atomic_files import npy_header
from service.store.tables import RunRow

router = APIRouter(prefix="/v1/runs", tags=["runs"])

MEDIA_TYPES = {
    "json": "application/json",
    "npy": "application/x-npy",
    "safetensors": SAFETENSORS,
    "png": "image/png",
}
_CONTENT: dict[int | str, dict[str, Any]] = {
    200: {"content": {media_type: {} for media_type in MEDIA_TYPES.values()}}
}
_SLICE_BYTES = 2**20


@router.get("/{run_id}/outputs/{name}", response_class=Response, responses={**REFUSALS, **_CONTENT})
async def read_output(
    run_id: str,
    name: OutputName,
    request: Request,
    service: ServiceDep,
    output_format: Annotated[
        str | None,
        Query(
            alias="format",
            description="json, npy, safetensors or png; else by Accept",
            json_schema_extra={"enum": list(MEDIA_TYPES)},
        ),
    ] = None,
    sample: Annotated[int | None, Query(ge=0, description="this sample only")] = None,
    sample_from: Annotated[int | None, Query(ge=0, description="first sample")] = None,
    sample_to: Annotated[int | None, Query(ge=0, description="sample to stop before")] = None,
    plane: Annotated[
        Literal["z0", "zdepth"] | None, Query(description="of a picture; default: both")
    ] = None,
) -> Response:
    """An output [samples, …] of a run that has ended, whole or in part."""
    chosen = choose_format(output_format, request.headers.get("accept", ""), MEDIA_TYPES, name)
    row = await find_ended_run(service, run_id)
    if name not in row.request["outputs"]:
        held = ", ".join(row.request["outputs"]) or "none"
        raise not_found(f"output {name!r} of run {run_id!r}; it has {held}")
    folder = service.archive.folder(run_id)
    try:
        array = await asyncio.to_thread(folder.output, name)
    except FileNotFoundError:
        raise not_found(f"output {name!r} of run {run_id!r}: no sample of it was kept") from None
    first, stop = _range(sample, sample_from, sample_to, len(array))
    if chosen == "png":
        return await _picture(row, name, array, first, plane)
    if chosen == "npy":
        if (first, stop) == (0, len(array)):
            return FileResponse(
                folder.output_path(name),
                media_type=MEDIA_TYPES["npy"],
                filename=f"{run_id}-{name}.npy",
            )
        pieces = _npy_pieces(array[first:stop])
    elif chosen == "safetensors":
        pieces = _safetensors_pieces(name, array[first:stop])
    else:
        pieces = _json_pieces(row, name, array[first:stop], first)
    return StreamingResponse(pieces, media_type=MEDIA_TYPES[chosen])


def _range(
    sample: int | None, sample_from: int | None, sample_to: int | None, samples: int
) -> tuple[int, int]:
    """First sample and the one before which to stop."""
    if sample is not None and (sample_from is not None or sample_to is not None):
        said = "is given together with sample_from or sample_to; give one or the other"
        raise invalid([Fault(("sample",), said, sample)])
    if sample is not None:
        sample_from, sample_to = sample, sample + 1
    first = 0 if sample_from is None else sample_from
    stop = samples if sample_to is None else sample_to
    if not first < stop <= samples:
        said = f"must be a part of the {samples} samples that there are"
        where = "sample" if sample is not None else "sample_from"
        raise invalid([Fault((where,), said, {"from": first, "to": stop})])
    return first, stop


def _json_pieces(row: RunRow, name: str, array: NDArray[Any], first: int) -> Iterator[bytes]:
    head = {
        "run_id": row.run_id,
        "name": name,
        "dtype": str(array.dtype),
        "shape": list(array.shape),
        "first_sample": first,
    }
    yield to_json(head)[:-1] + b',"data":'
    yield from array_pieces(array)
    yield b"}"


def _npy_pieces(array: NDArray[Any]) -> Iterator[bytes]:
    yield npy_header(array.dtype, array.shape)
    yield from _row_pieces(array)


def _safetensors_pieces(name: str, array: NDArray[Any]) -> Iterator[bytes]:
    yield make_header({name: ("I32" if array.dtype.kind == "i" else "F32", array.shape)})
    yield from _row_pieces(array)


def _row_pieces(array: NDArray[Any]) -> Iterator[bytes]:
    rows = max(_SLICE_BYTES // max(array[:1].nbytes, 1), 1)
    for start in range(0, len(array), rows):
        yield np.ascontiguousarray(array[start : start + rows]).tobytes()


async def _picture(
    row: RunRow, name: str, array: NDArray[Any], sample: int, plane: str | None
) -> Response:
    from service.plots.heat_map import heat_map

    if name == "embedding":
        known = ", ".join(known for known in MEDIA_TYPES if known != "png")
        raise Problem(406, f"an embedding has no picture; known formats are {known}")
    values = np.array(array[sample])
    panels = {name: values} if name == "surface" else {"z0": values[0], "zdepth": values[1]}
    if plane is not None and name != "surface":
        panels = {plane: panels[plane]}
    title = f"{name}, sample {sample} of run {row.run_id[:8]}"
    png = await asyncio.to_thread(heat_map, panels, title)
    return Response(png, media_type=MEDIA_TYPES["png"])
