"""Pictures of charged blobs, and what a spectrometer's two detectors see of them.

A picture holds blobs of either sign. Positive ones arrive at the exit plane z0, moved along y;
negative ones arrive at zdepth, moved along x, with their negative values. How far a blob is moved
depends on its strength, as in a mass spectrometer: ``deflection`` is the law.

    python examples/spectrometer/pictures.py [--out FOLDER] [--pictures N] [--moves NEAR FAR]

writes train.safetensors, val.safetensors and test.safetensors to FOLDER.

Shape legend: N pictures, K blobs of a picture, H and W height and width, S = H · W.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

SIDE = 10
"""Cells of a picture along x and y."""
SIGMA = 0.8
"""Width of a blob in cells."""
CENTRES = (1.0, 7.0)
"""Range of the centres of blobs along x and y, in cells."""
STRENGTHS = (0.4, 1.0)
"""Range of the peaks of blobs, without their sign."""
MOVES = (0.5, 3.0)
"""Deflection of the weakest and the strongest blob, in cells."""
SEEDS = {"train": 1, "val": 2, "test": 3}
PICTURES = {"train": 1000, "val": 400, "test": 400}
"""Pictures to train on, to choose by, and to measure with."""

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Blobs:
    """Blobs of some pictures.

    Attributes:
        x: column of each centre, in cells, [N, K].
        y: row of each centre, in cells, [N, K].
        charge: peak with its sign, [N, K].
    """

    x: Array
    y: Array
    charge: Array

    @classmethod
    def draw(cls, pictures: int, seed: int, blobs: int = 2) -> Blobs:
        """Return random blobs.

        Args:
            pictures: N.
            seed: equal seeds give equal blobs.
            blobs: K.
        """
        rng = np.random.Generator(np.random.Philox(seed))
        shape = (pictures, blobs)
        x, y = rng.uniform(*CENTRES, shape), rng.uniform(*CENTRES, shape)
        sign = np.where(rng.random(shape) < 0.5, -1.0, 1.0)
        return cls(x, y, sign * rng.uniform(*STRENGTHS, shape))


def deflection(charge: Array, moves: tuple[float, float] = MOVES) -> Array:
    """Return by how many cells blobs are moved: linear in their strength.

    Args:
        charge: peaks, of any sign.
        moves: deflection of the weakest and the strongest blob.
    """
    (weakest, strongest), (near, far) = STRENGTHS, moves
    return near + (far - near) * (np.abs(charge) - weakest) / (strongest - weakest)


def paint(x: Array, y: Array, charge: Array) -> Array:
    """Return pictures of Gaussian blobs, [N, S], cell (x, y) at y · W + x.

    Args:
        x: columns of the centres, [N, K].
        y: rows of the centres, [N, K].
        charge: peaks, [N, K].
    """
    cell = np.arange(SIDE, dtype=np.float64)
    along_x = np.exp(-((cell - x[..., None]) ** 2) / (2 * SIGMA**2))
    along_y = np.exp(-((cell - y[..., None]) ** 2) / (2 * SIGMA**2))
    pictures: Array = np.einsum("nk,nkh,nkw->nhw", charge, along_y, along_x)
    return pictures.reshape(len(x), -1)


def detect(blobs: Blobs, moves: tuple[float, float] = MOVES) -> Array:
    """Return what the detectors see, [N, 2 · S]: plane z0, then zdepth.

    Args:
        blobs: of the pictures.
        moves: deflection of the weakest and the strongest blob, in cells.
    """
    moved = deflection(blobs.charge, moves)
    positive, negative = np.maximum(blobs.charge, 0.0), np.minimum(blobs.charge, 0.0)
    z0 = paint(blobs.x, blobs.y + moved, positive)
    zdepth = paint(blobs.x + moved, blobs.y, negative)
    return np.concatenate((z0, zdepth), axis=1)


def make_pairs(
    pictures: int, seed: int, moves: tuple[float, float] = MOVES
) -> dict[str, NDArray[np.float32]]:
    """Return pictures and what the detectors see of them, as a training reads them.

    Args:
        pictures: N.
        seed: equal seeds give equal pictures.
        moves: deflection of the weakest and the strongest blob, in cells.

    Returns:
        ``inputs`` [N, S] and ``targets`` [N, 2 · S].
    """
    blobs = Blobs.draw(pictures, seed)
    inputs = paint(blobs.x, blobs.y, blobs.charge)
    return {"inputs": inputs.astype(np.float32), "targets": detect(blobs, moves).astype(np.float32)}


def add_moves(parser: argparse.ArgumentParser) -> None:
    """Add the option for the range of the deflection.

    Args:
        parser: of a command line.
    """
    parser.add_argument(
        "--moves",
        type=float,
        nargs=2,
        default=MOVES,
        metavar=("NEAR", "FAR"),
        help="cells by which the weakest and the strongest blob are moved",
    )


def main() -> None:
    """Write the pictures to train on, to choose by, and to measure with."""
    parser = argparse.ArgumentParser(description="Makes the pictures of the spectrometer.")
    parser.add_argument("--out", type=Path, default=Path("build/spectrometer"), metavar="FOLDER")
    parser.add_argument(
        "--pictures", type=int, default=PICTURES["train"], metavar="N", help="pictures to train on"
    )
    add_moves(parser)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name, pictures in {**PICTURES, "train": options.pictures}.items():
        path = options.out / f"{name}.safetensors"
        save_file(make_pairs(pictures, SEEDS[name], tuple(options.moves)), path)
        print(f"{path}: {pictures} pictures")


if __name__ == "__main__":
    main()
