"""The results of experiments as tables."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from energy_flow.choices import ResultFormat, ResultRows
from service.api.answers import describe_answers
from service.api.content_negotiation import choose_format, format_parameter
from service.api.dependencies import ExperimentId, ServiceDep
from service.experiments.results import tabulate_points, tabulate_trials, to_csv, to_parquet
from service.json_encoding import to_json
from service.lifespan import Service
from service.schemas.experiment import ResultTable
from service.schemas.json_schema import BINARY
from service.store.tables import ExperimentRow
from service.threads import Threads, in_thread

router = APIRouter(prefix="/v1/experiments", tags=["experiments"])

MEDIA_TYPES = {known.value: known.media_type for known in ResultFormat}


@router.get(
    "/{experiment_id}/results",
    response_class=Response,
    responses=describe_answers(
        ResultTable,
        content={
            ResultFormat.CSV.media_type: {"schema": {"type": "string"}},
            ResultFormat.PARQUET.media_type: BINARY,
        },
    ),
)
async def read_results(
    experiment_id: ExperimentId,
    request: Request,
    service: ServiceDep,
    result_format: Annotated[str | None, format_parameter(MEDIA_TYPES)] = None,
    of: Annotated[
        ResultRows,
        Query(description="a row a trial, or a row a point with mean and std over its seeds"),
    ] = ResultRows.TRIALS,
) -> Response:
    """Return the results so far: parameters, metrics and times."""
    chosen = ResultFormat(choose_format(request, result_format, MEDIA_TYPES, "a table of results"))
    row = await service.experiments.find(experiment_id)
    data = await in_thread(Threads.BODIES, _encode, service, row, of, chosen)
    headers = {"Vary": "Accept"}
    if chosen is not ResultFormat.JSON:
        name = f"{row.name}-{of}.{chosen}"
        headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return Response(data, media_type=chosen.media_type, headers=headers)


def _encode(service: Service, row: ExperimentRow, of: ResultRows, chosen: ResultFormat) -> bytes:
    trials = service.experiments.store.trials(row.experiment_id)
    table = (tabulate_trials if of is ResultRows.TRIALS else tabulate_points)(row, trials)
    if chosen is ResultFormat.CSV:
        return to_csv(table)
    if chosen is ResultFormat.PARQUET:
        return to_parquet(table)
    return to_json(
        {
            "experiment_id": row.experiment_id,
            "name": row.name,
            "state": row.state,
            "columns": list(table.columns),
            "rows": table.rows,
            "next_cursor": None,
        }
    )
