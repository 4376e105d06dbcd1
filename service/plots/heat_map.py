"""Heat maps as PNG, drawn by matplotlib's objects; no window system, no global state."""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

PANEL_INCHES = 4.8
DOTS_PER_INCH = 110

# matplotlib keeps fonts in caches that are not made for several threads.
_drawing = threading.Lock()


def heat_map(panels: Mapping[str, NDArray[Any]], title: str) -> bytes:
    """One picture with a panel for each surface [H, W], on a common scale.

    The origin is the corner of x = −1, y = −1. Takes up to a second the first time, when
    matplotlib is loaded.
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
