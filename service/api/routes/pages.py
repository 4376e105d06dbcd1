"""The pages: a bundle of files that lies in the package, built from ``web/``."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.problems import not_found

router = APIRouter(include_in_schema=False)

ASSETS: Final = "/assets/"
"""Where the files with a digest in their name are; they never change."""

_FOREVER = "public, max-age=31536000, immutable"
_ASK_FIRST = "no-cache"

_MEDIA_TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "md": "text/markdown; charset=utf-8",
    "svg": "image/svg+xml",
}

# Everything comes from this server, and nobody may put the pages into a frame. Pictures for
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
    "X-Content-Type-Options": "nosniff",
}


def is_page(path: str) -> bool:
    """Whether a path is one of the pages' files, which hold nothing of anybody's.

    They need no API key: they are what asks for it.
    """
    return path in {"/", "/docs"} or path.removeprefix("/") in _bundle()


@router.get("/")
@router.head("/")
async def read_start(request: Request) -> Response:
    """The page that all others begin as."""
    return _answer(request, "index.html")


@router.get("/docs")
@router.head("/docs")
async def read_reference(request: Request) -> Response:
    """The API's reference."""
    return _answer(request, "docs.html")


@router.get("/assets/{name}")
@router.head("/assets/{name}")
async def read_asset(request: Request, name: str) -> Response:
    """A script, a style or data of the pages."""
    return _answer(request, f"assets/{name}")


@router.get("/{name}.svg")
@router.head("/{name}.svg")
async def read_icon(request: Request, name: str) -> Response:
    """The pages' icon."""
    return _answer(request, f"{name}.svg")


def _answer(request: Request, name: str) -> Response:
    found = _bundle().get(name)
    if found is None:
        raise not_found(f"page {name!r}")
    content, etag = found
    headers = {
        **_HEADERS,
        "Cache-Control": _FOREVER if name.startswith("assets/") else _ASK_FIRST,
        "ETag": etag,
    }
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    media_type = _MEDIA_TYPES[name.rpartition(".")[2]]
    return Response(content, media_type=media_type, headers=headers)


@cache
def _bundle() -> dict[str, tuple[bytes, str]]:
    """Every file of the bundle by its name, with its ETag; a few megabytes in all."""
    folder = files("service") / "web" / "dist"
    found = {}
    for prefix, place in (("", folder), ("assets/", folder / "assets")):
        for entry in place.iterdir():
            if entry.is_file():
                content = entry.read_bytes()
                found[prefix + entry.name] = (content, f'"{sha256(content).hexdigest()[:32]}"')
    return found
