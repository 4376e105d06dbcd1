"""The OpenAPI document."""

from __future__ import annotations

import threading
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from energy_flow.config.flow_config import FlowConfig
from service.api.examples import make_examples
from service.media_types import JSON
from service.schemas.json_schema import make_schemas


class DocumentedApp(FastAPI):
    """An application whose OpenAPI document has all schemas, and examples that it answers.

    Making the document takes some tenths of a second, so the event loop must not do it.

    Args:
        read_config: Returns the config of the default model.
        preset: Name of the preset of new models.
        options: Options of FastAPI.
    """

    def __init__(
        self, *, read_config: Callable[[], FlowConfig], preset: str, **options: Any
    ) -> None:
        self._read_config = read_config
        self._preset = preset
        self._document_lock = threading.Lock()
        self._config: FlowConfig | None = None
        self._encoded = (b"", "")
        super().__init__(**options)

    def openapi(self) -> dict[str, Any]:
        """Return the document."""
        return _make_document(self, self._read_config(), self._preset)

    @property
    def has_document(self) -> bool:
        """Whether the document has been made for a server that is ready."""
        return self._config is not None

    def encode_document(self, prefix: str = "") -> tuple[bytes, str]:
        """Return the document as JSON and its ETag, made for the config of the default model.

        The server calls it once it is ready; a request meanwhile waits, in a thread of its own.

        Args:
            prefix: Path below which a proxy has the server; empty if there is none.
        """
        config = self._read_config()
        with self._document_lock:
            # The model of a checkpoint is known only once the server is ready.
            if self._config != config:
                content = orjson.dumps(_make_document(self, config, self._preset))
                self._config = config
                self._encoded = content, _make_etag(content)
            content, etag = self._encoded
        if prefix:
            content = content[:-1] + b',"servers":' + orjson.dumps([{"url": prefix}]) + b"}"
            etag = _make_etag(content)
        return content, etag


def _make_etag(content: bytes) -> str:
    return f'"{sha256(content).hexdigest()[:32]}"'


def _make_document(app: FastAPI, config: FlowConfig, preset: str) -> dict[str, Any]:
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas.update(make_schemas())
    for path, examples in make_examples(config, preset).items():
        document["paths"][path]["post"]["requestBody"]["content"][JSON]["examples"] = examples
    return document
