"""Heat maps of surfaces as PNG, drawn without a window system or Matplotlib's global state."""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.plots.unreached_cells import COLOUR

PANEL_INCHES = 4.8
DOTS_PER_INCH = 110

# Matplotlib's font caches are not thread-safe.
_drawing = threading.Lock()


def heat_map(panels: Mapping[str, NDArray[Any]], title: str) -> bytes:
    """Draw a panel for each surface, on a common colour scale.

    The origin is the corner of x = -1, y = -1. The first call imports Matplotlib, which can take a
    second.

    Args:
        panels: Surfaces [H, W] by their titles; at least one. Masked cells are grey.
        title: Title of the picture.

    Returns:
        A PNG file.
    """
    with _drawing:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(
            figsize=(PANEL_INCHES * len(panels) + 0.8, PANEL_INCHES),
            dpi=DOTS_PER_INCH,
            layout="constrained",
        )
        FigureCanvasAgg(figure)
        low, high = _find_range(panels)
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for axis, (name, values) in zip(axes, panels.items(), strict=True):
            image = axis.imshow(
                values, origin="lower", cmap="viridis", vmin=low, vmax=high, interpolation="nearest"
            )
            axis.set_facecolor(COLOUR)
            axis.set_xlabel("x (cell)")
            axis.set_ylabel("y (cell)")
            if len(panels) > 1:
                axis.set_title(name)
        figure.colorbar(image, ax=list(axes), shrink=0.9)
        has_masked = any(np.ma.is_masked(values) for values in panels.values())
        figure.suptitle(f"{title} (grey: not reached)" if has_masked else title)
        target = io.BytesIO()
        figure.savefig(target, format="png")
        return target.getvalue()


def _find_range(panels: Mapping[str, NDArray[Any]]) -> tuple[float, float]:
    """Return the ends of the colour scale: 0 and 1 of booleans, and where all cells are masked."""
    numbers = np.concatenate([np.ma.compressed(values) for values in panels.values()])
    if numbers.size == 0 or numbers.dtype == np.bool_:
        return 0.0, 1.0
    low, high = float(numbers.min()), float(numbers.max())
    # With a scale of no length, Matplotlib gives equal numbers of two panels other colours.
    return (low, high) if low < high else (low - 0.5, high + 0.5)
