"""The pages: a bundle of files in the package, built from ``web/``."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.problems import not_found

router = APIRouter(include_in_schema=False)

ASSETS: Final = "assets/"
"""Folder of the files with a digest in their name; they never change."""

_FOREVER = "public, max-age=31536000, immutable"
_REVALIDATE = "no-cache"

_MEDIA_TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "md": "text/markdown; charset=utf-8",
    "svg": "image/svg+xml",
}

# Everything is loaded from this server, and the pages cannot be put into a frame. Pictures for
# downloads are made in the browser (blob:).
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "worker-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}


def is_page(path: str) -> bool:
    """Return whether a path is one of the pages' files.

    They need no API key: they have no data, and ask the user for the key.
    """
    return path in {"/", "/docs"} or path.removeprefix("/") in _bundle()


@router.get("/")
async def read_start(request: Request) -> Response:
    """Return the start page."""
    return _answer_file(request, "index.html")


@router.get("/docs")
async def read_reference(request: Request) -> Response:
    """Return the reference of the API."""
    return _answer_file(request, "docs.html")


@router.get("/assets/{name}")
async def read_asset(request: Request, name: str) -> Response:
    """Return a script, a style sheet or data of the pages."""
    return _answer_file(request, ASSETS + name)


@router.get("/{name}.svg")
async def read_icon(request: Request, name: str) -> Response:
    """Return the icon of the pages."""
    return _answer_file(request, f"{name}.svg")


def _answer_file(request: Request, name: str) -> Response:
    found = _bundle().get(name)
    if found is None:
        raise not_found(f"page {name!r}")
    content, etag = found
    headers = {
        **_HEADERS,
        "Cache-Control": _FOREVER if name.startswith(ASSETS) else _REVALIDATE,
        "ETag": etag,
    }
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    media_type = _MEDIA_TYPES[name.rpartition(".")[2]]
    return Response(content, media_type=media_type, headers=headers)


@cache
def _bundle() -> dict[str, tuple[bytes, str]]:
    """Return every file of the bundle and its ETag by name; together a few megabytes."""
    folder = files("service") / "web" / "dist"
    found = {}
    for prefix, place in (("", folder), (ASSETS, folder / ASSETS)):
        for entry in place.iterdir():
            if entry.is_file():
                content = entry.read_bytes()
                found[prefix + entry.name] = (content, f'"{sha256(content).hexdigest()[:32]}"')
    return found
