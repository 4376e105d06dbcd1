"""Pictures of answers with Matplotlib, which is imported when the first one is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TICKS = (-1.0, -0.5, 0.0, 0.5, 1.0)
UNREACHED = "0.87"
"""Grey behind surfaces, in place of the cells that no flow reached, as Matplotlib names it."""

Columns = Mapping[str, NDArray[Any]]


def choose_axes(axes: Axes | None) -> Axes:
    """Return the axes to draw in: those that are given, or those of a new figure.

    Raises:
        ImportError: Matplotlib is not installed.
    """
    if axes is not None:
        return axes
    try:
        from matplotlib import pyplot
    except ImportError:
        raise ImportError('pictures need Matplotlib: pip install "energy-flow[plots]"') from None
    return pyplot.subplots(layout="constrained")[1]


def draw_surface(axes: Axes, surface: NDArray[Any]) -> Any:
    """Draw a surface over the places of its cells, and return the image.

    Args:
        axes: where to draw.
        surface: values of the cells, [H, W]; masked ones stay grey.
    """
    # Cell centres are on the grid from -1 to 1; the outer cells reach half a cell further.
    across, up = (1 + 1 / max(side - 1, 1) for side in (surface.shape[1], surface.shape[0]))
    image = axes.imshow(
        surface,
        origin="lower",
        cmap="viridis",
        extent=(-across, across, -up, up),
        interpolation="nearest",
    )
    axes.set_facecolor(UNREACHED)
    axes.set(xlabel="x", ylabel="y", xticks=TICKS, yticks=TICKS)
    return image


def draw_paths(axes: Axes, path: Columns, across: str, up: str) -> Any:
    """Draw a line for each move of each flow, coloured by the energy after it; return the lines.

    Args:
        axes: where to draw.
        path: columns ``flow``, ``step``, ``x``, ``y``, ``z`` and ``energy`` of a replay, each [n].
        across: name of the column along the picture.
        up: name of the column that goes up.
    """
    from matplotlib.collections import LineCollection

    order = np.lexsort((path["step"], path["flow"]))
    flow = path["flow"][order]
    points = np.stack([path[name][order] for name in (across, up)], axis=1).astype(np.float64)
    moves = np.flatnonzero(flow[1:] == flow[:-1])
    segments: Any = np.stack((points[moves], points[moves + 1]), axis=1)
    width = float(np.clip(60 / max(len(np.unique(flow)), 1), 0.25, 1.5))
    lines = LineCollection(segments, cmap="plasma", linewidths=width)
    lines.set_array(path["energy"][order][moves + 1])
    axes.add_collection(lines)
    axes.set(xlabel=across, ylabel=up, xlim=(-1.02, 1.02), ylim=(-1.02, 1.02), aspect="equal")
    return lines


def add_colour_bar(axes: Axes, drawn: Any, label: str) -> None:
    """Show beside axes what the colours of an image or of lines mean.

    Args:
        axes: where they were drawn.
        drawn: the image or the lines.
        label: name of the values.
    """
    figure = axes.get_figure(root=True)
    # Axes that were removed belong to no figure.
    if figure is not None:
        figure.colorbar(drawn, ax=axes, shrink=0.8, label=label)
