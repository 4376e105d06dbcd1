"""GET /openapi.json: the OpenAPI document."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.api.openapi import DocumentedApp
from service.media_types import JSON
from service.threads import Threads, in_thread

router = APIRouter(include_in_schema=False)


@router.get("/openapi.json")
async def read_document(request: Request) -> Response:
    """Return the document."""
    app: DocumentedApp = request.app
    prefix = request.scope["state"].get("path_prefix", "")
    content, etag = await in_thread(Threads.READS, app.encode_document, prefix)
    headers = {"Cache-Control": "no-cache", "ETag": etag}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=JSON, headers=headers)
