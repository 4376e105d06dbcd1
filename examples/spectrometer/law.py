"""Shows the law that a trained model has learned, beside the true one.

    python examples/spectrometer/law.py MODEL.safetensors [--plot law.png]

A picture holds one blob. The detector of its sign shows it moved: the displacement is that of the
centroid of the detector's picture from the centre of the blob, where a cell has the weight of its
squared value, and values of the other sign count as 0. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from fits import predict_with_flows
from numpy.typing import NDArray
from pictures import SIDE, STRENGTHS, Blobs, deflection, paint

from energy_flow import FlowProcessor, checkpoint

BLOBS = 60
"""Blobs of each strength and sign."""
STEPS = 7
"""Strengths of each sign, from the weakest to the strongest."""
WITHIN = (1.5, 5.0)
"""Range of the centres, in cells: also the strongest blob stays within the picture."""
SEED = 4
NOT_SEEN = float(SIDE)
"""Error in cells of a blob that the detector does not show at all."""
SPREAD = (16.0, 84.0)
"""Percentiles that the plot shows."""

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Point:
    """Blobs of one strength and sign.

    Attributes:
        charge: their peak with its sign.
        law: displacement by the law, in cells.
        learned: median displacement along the axis of the law, in cells; 0 if none is seen.
        low: 16th percentile.
        high: 84th percentile.
        across: median displacement along the other axis.
        error: median of the distance of a displacement from the law, along its axis.
        seen: share of blobs that the detector shows at all.
    """

    charge: float
    law: float
    learned: float
    low: float
    high: float
    across: float
    error: float
    seen: float


def main() -> None:
    """Measure, draw and print."""
    parser = argparse.ArgumentParser(description="Shows the law that a model has learned.")
    parser.add_argument("model", type=Path, metavar="MODEL.safetensors")
    parser.add_argument("--plot", type=Path, default=Path("build/spectrometer/law.png"))
    options = parser.parse_args()
    processor = checkpoint.load(options.model)
    points, errors = measure(processor)
    print(f"{'charge':>8}{'law':>8}{'learned':>9}{'16 to 84 %':>16}{'across':>8}{'error':>8}")
    for point in points:
        spread = f"{point.low:.2f} to {point.high:.2f}"
        print(
            f"{point.charge:+8.2f}{point.law:8.2f}{point.learned:9.2f}{spread:>16}"
            f"{point.across:8.2f}{point.error:8.2f}"
        )
    ends = [point.error for point in points if abs(point.charge) in STRENGTHS]
    print(f"median error {np.median(errors):.2f} cells, at the ends at most {max(ends):.2f}")
    options.plot.parent.mkdir(parents=True, exist_ok=True)
    draw(points, options.plot)
    found = {"median_error": float(np.median(errors)), "median_error_at_ends": max(ends)}
    print(json.dumps({**found, "points": [asdict(point) for point in points]}))


def measure(processor: FlowProcessor) -> tuple[list[Point], Array]:
    """Return the displacements by a model, and the errors of all blobs.

    Args:
        processor: the model.
    """
    random = np.random.Generator(np.random.Philox(SEED))
    points, errors = [], []
    for sign in (1.0, -1.0):
        for strength in np.linspace(*STRENGTHS, STEPS):
            x, y = random.uniform(*WITHIN, (2, BLOBS, 1))
            blobs = Blobs(x, y, np.full_like(x, sign * strength))
            inputs = paint(blobs.x, blobs.y, blobs.charge).astype(np.float32)
            moved = displacements(predict_with_flows(processor, inputs), blobs)
            distance = np.abs(moved[0] - deflection(blobs.charge[:, 0]))
            errors.append(np.nan_to_num(distance, nan=NOT_SEEN))
            points.append(summarize(blobs, moved, errors[-1]))
    return points, np.concatenate(errors)


def displacements(detected: NDArray[np.floating], blobs: Blobs) -> Array:
    """Return by how many cells lone blobs were moved, [2, N]: along the axis of the law, across.

    Positive ones are moved along y and shown by z0, negative ones along x and shown by zdepth. A
    blob that is not shown has nan.

    Args:
        detected: what the detectors see, [N, 2 · S].
        blobs: one a picture, [N, 1].
    """
    is_positive = blobs.charge[:, 0] > 0
    planes = detected.astype(np.float64).reshape(-1, 2, SIDE, SIDE)
    plane = np.where(is_positive[:, None, None], planes[:, 0], -planes[:, 1])
    weights = np.maximum(plane, 0.0) ** 2
    total = weights.sum(axis=(1, 2))
    total[total == 0.0] = np.nan
    cell = np.arange(SIDE)
    along_x = weights.sum(axis=1) @ cell / total - blobs.x[:, 0]
    along_y = weights.sum(axis=2) @ cell / total - blobs.y[:, 0]
    return np.where(is_positive, (along_y, along_x), (along_x, along_y))


def summarize(blobs: Blobs, moved: Array, errors: Array) -> Point:
    """Return the figures of blobs of one strength and sign.

    Args:
        blobs: one a picture, [N, 1].
        moved: their displacements, [2, N].
        errors: distance of these from the law, [N].
    """
    charge = blobs.charge[:1, 0]
    is_seen = ~np.isnan(moved[0])
    along, across = moved[:, is_seen] if is_seen.any() else np.zeros((2, 1))
    low, middle, high = np.percentile(along, (SPREAD[0], 50.0, SPREAD[1]))
    return Point(
        charge=round(float(charge[0]), 6),
        law=float(deflection(charge)[0]),
        learned=float(middle),
        low=float(low),
        high=float(high),
        across=float(np.median(across)),
        error=float(np.median(errors)),
        seen=float(is_seen.mean()),
    )


def draw(points: list[Point], path: Path) -> None:
    """Draw the learned law beside the true one.

    Args:
        points: figures by strength and sign.
        path: a .png file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 4.0), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    strengths = np.array(STRENGTHS)
    axes.plot(strengths, deflection(strengths), color="black", label="the law")
    for sign, marker, color, label in (
        (1.0, "o", "tab:red", "positive blobs, along y"),
        (-1.0, "s", "tab:blue", "negative blobs, along x"),
    ):
        shown = [point for point in points if point.charge * sign > 0 and point.seen > 0]
        learned = np.array([point.learned for point in shown])
        # Beside each other, so that no bar hides another.
        x = np.array([abs(point.charge) for point in shown]) + 0.004 * sign
        below = learned - [point.low for point in shown]
        above = np.array([point.high for point in shown]) - learned
        axes.errorbar(x, learned, (below, above), fmt=marker, color=color, capsize=3, label=label)
    axes.set_xlabel("strength of a blob")
    axes.set_ylabel("displacement in cells, median and 16 to 84 %")
    axes.legend()
    figure.savefig(path)


if __name__ == "__main__":
    main()
