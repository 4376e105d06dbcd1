"""A picture of one sample: its surface, and the paths of its flows seen along z and along y."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.plots.unreached_cells import COLOUR

PANEL_INCHES = 4.8
DOTS_PER_INCH = 120
TICKS = (-1.0, -0.5, 0.0, 0.5, 1.0)

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
        # Cell centres are on the grid from -1 to 1; the outer cells reach half a cell further.
        across, up = (1 + 1 / (side - 1) for side in (surface.shape[1], surface.shape[0]))
        image = axis.imshow(
            surface,
            origin="lower",
            cmap="viridis",
            extent=(-across, across, -up, up),
            interpolation="nearest",
        )
        axis.set_facecolor(COLOUR)
        has_masked = np.ma.is_masked(surface)
        name = "surface (grey: not reached)" if has_masked else "surface"
        axis.set(title=name, xlabel="x", ylabel="y", xticks=TICKS, yticks=TICKS)
        figure.colorbar(image, ax=axis, shrink=0.8)
    lines: Any = None
    for axis, (right, above) in zip(axes, (("x", "y"), ("x", "z")), strict=True):
        lines = _draw_lines(axis, path, right, above)
        axis.set(title=f"paths, {right} and {above}", xlabel=right, ylabel=above)
        axis.set(xlim=(-1.02, 1.02), ylim=(-1.02, 1.02), aspect="equal")
    axes[-1].axhline(0.0, color="0.5", linewidth=0.6, linestyle=":")
    figure.colorbar(lines, ax=axes, shrink=0.8, label="energy")
    figure.suptitle(title)
    figure.savefig(to, format="png")


def _draw_lines(axis: Any, path: Columns, across: str, up: str) -> Any:
    """Draw a line for each move of each flow, coloured by the energy after the move."""
    from matplotlib.collections import LineCollection

    order = np.lexsort((path["step"], path["flow"]))
    flow = path["flow"][order]
    points = np.stack([path[name][order] for name in (across, up)], axis=1).astype(np.float64)
    moves = np.flatnonzero(flow[1:] == flow[:-1])
    segments: Any = np.stack((points[moves], points[moves + 1]), axis=1)
    width = float(np.clip(60 / max(len(np.unique(flow)), 1), 0.25, 1.5))
    lines = LineCollection(segments, cmap="plasma", linewidths=width)
    lines.set_array(path["energy"][order][moves + 1])
    axis.add_collection(lines)
    return lines
