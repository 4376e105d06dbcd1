"""Heat maps of surfaces as PNG, drawn without a window system or Matplotlib's global state."""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

PANEL_INCHES = 4.8
DOTS_PER_INCH = 110

# Matplotlib's font caches are not thread-safe.
_drawing = threading.Lock()


def heat_map(panels: Mapping[str, NDArray[Any]], title: str) -> bytes:
    """Draw a panel for each surface, on a common colour scale.

    The origin is the corner of x = -1, y = -1. The first call imports Matplotlib, which can take a
    second.

    Args:
        panels: Surfaces [H, W] by their titles; at least one.
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
        low = min(float(values.min()) for values in panels.values())
        high = max(float(values.max()) for values in panels.values())
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for axis, (name, values) in zip(axes, panels.items(), strict=True):
            image = axis.imshow(
                values, origin="lower", cmap="viridis", vmin=low, vmax=high, interpolation="nearest"
            )
            axis.set_xlabel("x (cell)")
            axis.set_ylabel("y (cell)")
            if len(panels) > 1:
                axis.set_title(name)
        figure.colorbar(image, ax=list(axes), shrink=0.9)
        figure.suptitle(title)
        target = io.BytesIO()
        figure.savefig(target, format="png")
        return target.getvalue()
