"""The inputs and outputs of runs as JSON, ``.npy``, ``.safetensors`` or pictures."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Final

import numpy as np
from fastapi import APIRouter, Query, Request
from numpy.typing import NDArray
from starlette.responses import Response

from energy_flow.choices import Axis, Output, Plane
from energy_flow.engine import EmbeddingSource
from energy_flow.errors import Fault
from service.api.answers import describe_answers
from service.api.content_negotiation import choose_format, format_parameter
from service.api.dependencies import ServiceDep
from service.api.find_run import RunId, find_ended_run
from service.api.piece_stream import PieceStream
from service.api.stored_file import StoredFile
from service.json_encoding import array_pieces, to_json
from service.media_types import JSON, NPY, OCTET_STREAM, PNG
from service.problems import Problem, invalid, not_found
from service.safetensors_header import dtype_of, make_header
from service.schemas.json_schema import BINARY
from service.schemas.run import InputsAnswer, OutputAnswer
from service.store.npy_file import PART_BYTES, npy_header
from service.store.stored_run import StoredRun
from service.store.tables import RunRow
from service.store.verification.verified_file import VerifiedFile
from service.threads import Threads, in_thread

router = APIRouter(prefix="/v1/runs", tags=["runs"])

INPUT_MEDIA_TYPES: Final = {"json": JSON, "npy": NPY, "safetensors": OCTET_STREAM}
MEDIA_TYPES: Final = {**INPUT_MEDIA_TYPES, "png": PNG}

Pieces = Generator[bytes, None, None]


@dataclass(frozen=True, slots=True)
class Part:
    """Consecutive samples of an input or output of a run, encoded a piece at a time.

    Attributes:
        run_id: Id of the run.
        name: Name of the array.
        dtype: Type of the numbers.
        shape: Shape of the part, [samples, …].
        first: First sample.
        pieces: Arrays whose concatenation is the part; they are read once.
    """

    run_id: str
    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    first: int
    pieces: Iterable[NDArray[Any]]

    def encode(self, name: str) -> Pieces:
        """Yield the bytes of a format.

        Args:
            name: ``json``, ``npy`` or ``safetensors``.
        """
        if name == "json":
            yield from self._encode_json()
            return
        if name == "npy":
            yield npy_header(self.dtype, self.shape)
        else:
            yield make_header({self.name: (dtype_of(np.empty(0, self.dtype)), self.shape)})
        for piece in self.pieces:
            yield np.ascontiguousarray(piece).tobytes()

    def _encode_json(self) -> Pieces:
        head = {
            "run_id": self.run_id,
            "name": self.name,
            "dtype": str(self.dtype),
            "shape": list(self.shape),
            "first_sample": self.first,
        }
        yield to_json(head)[:-1] + b',"data":'
        separator = b"["
        for piece in self.pieces:
            yield separator + b"".join(array_pieces(piece))[1:-1]
            separator = b","
        yield b"]}"


@router.get(
    "/{run_id}/inputs",
    response_class=Response,
    responses=describe_answers(InputsAnswer, content={NPY: BINARY, OCTET_STREAM: BINARY}),
)
async def read_inputs(
    run_id: RunId,
    request: Request,
    service: ServiceDep,
    input_format: Annotated[str | None, format_parameter(INPUT_MEDIA_TYPES)] = None,
    sample: Annotated[int | None, Query(ge=0, description="only this sample")] = None,
    sample_from: Annotated[int | None, Query(ge=0, description="first sample")] = None,
    sample_to: Annotated[int | None, Query(ge=0, description="sample behind the last one")] = None,
) -> Response:
    """Return the embeddings of a run [samples, embedding_dim], whole or in part."""
    chosen = choose_format(request, input_format, INPUT_MEDIA_TYPES, "inputs")
    row = await find_ended_run(service, run_id)
    first, stop = _parse_range(sample, sample_from, sample_to, row.samples)
    width: int = row.config["embedding_dim"]
    rows = max(PART_BYTES // (width * np.dtype(np.float32).itemsize), 1)

    def read(source: EmbeddingSource) -> Iterator[NDArray[np.float32]]:
        return (source.read(start, min(start + rows, stop)) for start in range(first, stop, rows))

    def open_verified() -> EmbeddingSource:
        with service.archive.noticing_removal(run_id):
            if row.dataset_digest is None and not service.archive.open(row).has_inputs():
                raise not_found(f"input of run {run_id!r}: it was not stored")
            source = service.archive.inputs(row)
            # Once the answer has begun, it could not be refused any more.
            for _ in read(source):
                pass
            return source

    pieces = read(await in_thread(Threads.FILES, open_verified))
    part = Part(run_id, "inputs", np.dtype(np.float32), (stop - first, width), first, pieces)
    return PieceStream(part.encode(chosen), INPUT_MEDIA_TYPES[chosen])


@router.get(
    "/{run_id}/outputs/{name}",
    response_class=Response,
    responses=describe_answers(
        OutputAnswer, content={NPY: BINARY, OCTET_STREAM: BINARY, PNG: BINARY}
    ),
)
async def read_output(
    run_id: RunId,
    name: Output,
    request: Request,
    service: ServiceDep,
    output_format: Annotated[str | None, format_parameter(MEDIA_TYPES)] = None,
    sample: Annotated[int | None, Query(ge=0, description="only this sample")] = None,
    sample_from: Annotated[int | None, Query(ge=0, description="first sample")] = None,
    sample_to: Annotated[int | None, Query(ge=0, description="sample behind the last one")] = None,
    plane: Annotated[Plane | None, Query(description="of a picture; default: both")] = None,
) -> Response:
    """Return an output [samples, …] of a run that has ended, whole or in part."""
    output = name.value
    chosen = choose_format(request, output_format, MEDIA_TYPES, output)
    row = await find_ended_run(service, run_id)
    if output not in row.request["outputs"]:
        stored = ", ".join(row.request["outputs"]) or "none"
        raise not_found(f"output {output!r} of run {run_id!r}; it has {stored}")

    def read() -> Part | VerifiedFile | _Picture:
        with service.archive.noticing_removal(run_id):
            run = service.archive.open(row)
            if not run.has_output(output):
                raise not_found(f"output {output!r} of run {run_id!r}: none of its samples ended")
            stored = run.output(output)
            first, stop = _parse_range(sample, sample_from, sample_to, row.samples_done)
            if chosen == "png":
                return _Picture(_read_sample(run, row, output, first), first)
            if chosen == "npy" and stop - first == len(stored):
                stored.file.check()
                return stored.file
            shape = (stop - first, *stored.shape[1:])
            pieces = stored.read_parts(first, stop)
            return Part(run_id, output, stored.dtype, shape, first, pieces)

    selected = await in_thread(Threads.FILES, read)
    if isinstance(selected, _Picture):
        return await _answer_picture(row, output, selected, plane)
    if isinstance(selected, VerifiedFile):
        return StoredFile(selected, media_type=NPY, filename=f"{run_id}-{output}.npy")
    return PieceStream(selected.encode(chosen), MEDIA_TYPES[chosen])


@dataclass(frozen=True, slots=True)
class _Picture:
    """What a picture shows.

    Attributes:
        values: An output of one sample.
        sample: Number of the sample.
    """

    values: NDArray[Any]
    sample: int


def _parse_range(
    sample: int | None, sample_from: int | None, sample_to: int | None, samples: int
) -> tuple[int, int]:
    """Return the first sample and the one behind the last."""
    if sample is not None and (sample_from is not None or sample_to is not None):
        message = "is given together with sample_from or sample_to; give one or the other"
        raise invalid([Fault(("sample",), message, sample)])
    if sample is not None:
        sample_from, sample_to = sample, sample + 1
    first = 0 if sample_from is None else sample_from
    stop = samples if sample_to is None else sample_to
    if not first < stop <= samples:
        message = f"must select at least one of the {samples} samples"
        name = "sample" if sample is not None else "sample_from"
        raise invalid([Fault((name,), message, {"from": first, "to": stop})])
    return first, stop


def _read_sample(run: StoredRun, row: RunRow, name: str, sample: int) -> NDArray[Any]:
    """Return an output of one sample, without the cells that are not reached where it is known."""
    from service.plots.unreached_cells import find_marks, hide_unreached

    values: NDArray[Any] = run.output(name).read(sample, sample + 1)[0]
    marks = find_marks(row.request["outputs"], row.config["aggregation_mode"])
    if marks is None or name == Output.REACHED or Axis.X not in Output(name).axes:
        return values
    return hide_unreached(values, run.output(marks.value).read(sample, sample + 1)[0])


async def _answer_picture(
    row: RunRow, name: str, picture: _Picture, plane: Plane | None
) -> Response:
    from service.plots.heat_map import heat_map

    values = picture.values
    if values.ndim < 2:
        known = ", ".join(known for known in MEDIA_TYPES if known != "png")
        raise Problem(406, f"the output {name!r} has no picture; known formats are {known}")
    if values.ndim == 2:
        panels = {name: values}
    else:
        panels = {shown.value: values[shown.code] for shown in Plane if plane in (None, shown)}
    title = f"{name}, sample {picture.sample} of run {row.run_id[:8]}"
    png = await in_thread(Threads.BODIES, heat_map, panels, title)
    return Response(png, media_type=PNG)
