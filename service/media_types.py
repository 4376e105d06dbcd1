"""Media types of bodies and answers, each declared once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from energy_flow.choices import DatasetFormat, TraceFormat

JSON: Final = "application/json"
NPY: Final = DatasetFormat.NPY.media_type
OCTET_STREAM: Final = "application/octet-stream"
"""``.safetensors`` files, which have no media type of their own, and tensors behind JSON."""
PNG: Final = "image/png"
EVENT_STREAM: Final = "text/event-stream"
PROBLEM: Final = "application/problem+json"
"""Refusals (RFC 9457)."""
FILE_FORMATS: Final[Mapping[str, DatasetFormat]] = {
    **{known.media_type: known for known in DatasetFormat if known.media_type},
    # Streams have a media type of their own.
    TraceFormat.ARROW.media_type: DatasetFormat.ARROW,
}
"""Formats of files of embeddings; ``.safetensors`` has no media type of its own."""
