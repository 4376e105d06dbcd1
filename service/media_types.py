"""Media types of bodies and answers, each declared once."""

from __future__ import annotations

from typing import Final

from energy_flow.choices import DatasetFormat

JSON: Final = "application/json"
NPY: Final = DatasetFormat.NPY.media_type
OCTET_STREAM: Final = "application/octet-stream"
"""``.safetensors`` files, which have no media type of their own, and tensors behind JSON."""
PNG: Final = "image/png"
EVENT_STREAM: Final = "text/event-stream"
PROBLEM: Final = "application/problem+json"
"""Refusals (RFC 9457)."""
