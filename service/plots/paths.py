"""A picture of one sample: its surface, and the paths of its flows seen along z and along y."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from energy_flow import plots

PANEL_INCHES = 4.8
DOTS_PER_INCH = 120

Columns = Mapping[str, NDArray[Any]]


def draw_paths(path: Columns, surface: NDArray[Any] | None, title: str, to: Path) -> None:
    """Draw a surface and the path of every flow, and write them as PNG.

    Args:
        path: Columns ``flow``, ``step``, ``x``, ``y``, ``z`` and ``energy`` of a replay, each [n].
        surface: Surface [H, W], if there is one. Masked cells are grey.
        title: Title of the picture.
        to: File to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = 2 if surface is None else 3
    figure = Figure(
        figsize=(PANEL_INCHES * panels + 0.8, PANEL_INCHES),
        dpi=DOTS_PER_INCH,
        layout="constrained",
    )
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(1, panels))
    if surface is not None:
        axis = axes.pop(0)
        image = plots.draw_surface(axis, surface)
        has_masked = np.ma.is_masked(surface)
        axis.set_title("surface (grey: not reached)" if has_masked else "surface")
        figure.colorbar(image, ax=axis, shrink=0.8)
    lines: Any = None
    for axis, (right, above) in zip(axes, (("x", "y"), ("x", "z")), strict=True):
        lines = plots.draw_paths(axis, path, right, above)
        axis.set_title(f"paths, {right} and {above}")
    axes[-1].axhline(0.0, color="0.5", linewidth=0.6, linestyle=":")
    figure.colorbar(lines, ax=axes, shrink=0.8, label="energy")
    figure.suptitle(title)
    figure.savefig(to, format="png")
