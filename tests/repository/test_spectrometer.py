"""The spectrometer's pictures obey its law, and its programs run."""

from __future__ import annotations

import importlib
import json
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from energy_flow import checkpoint
from energy_flow.training import TrainConfig
from tests.support.repository import EXAMPLES
from tests.support.scripts import printed_by

FOLDER = EXAMPLES / "spectrometer"
QUICK = "quick/64_pictures_moved_by_0.5_to_3/seed_7"
CELLS = 1e-9
"""Float64 sums of a hundred numbers."""


@pytest.fixture(scope="module")
def pictures() -> ModuleType:
    """Import the generator, as the programs beside it do."""
    return import_example("pictures")


def import_example(name: str) -> ModuleType:
    sys.path.insert(0, str(FOLDER))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(FOLDER))


def lone_blob(pictures: ModuleType, x: float, y: float, charge: float) -> Any:
    return pictures.Blobs(*(np.array([[value]]) for value in (x, y, charge)))


def test_pictures_depend_on_the_seed_alone(pictures: ModuleType) -> None:
    first, again, other = (pictures.make_pairs(20, seed) for seed in (1, 1, 2))
    for name, width in (("inputs", 100), ("targets", 200)):
        assert first[name].shape == (20, width)
        assert first[name].dtype == np.float32
        np.testing.assert_array_equal(first[name], again[name])
        assert not np.array_equal(first[name], other[name])


def test_blobs_are_drawn_from_the_ranges(pictures: ModuleType) -> None:
    blobs = pictures.Blobs.draw(2000, 5)
    strength = np.abs(blobs.charge)
    for values, low, high in ((blobs.x, 1, 7), (blobs.y, 1, 7), (strength, 0.4, 1.0)):
        assert values.shape == (2000, 2)
        assert low <= values.min()
        assert values.max() <= high
        # Five standard deviations of the mean of 4,000 uniform numbers.
        assert values.mean() == pytest.approx((low + high) / 2, abs=0.025 * (high - low))
    assert (blobs.charge > 0).mean() == pytest.approx(0.5, abs=0.04)


def test_a_cell_is_at_its_row_times_the_width_plus_its_column(pictures: ModuleType) -> None:
    blob = lone_blob(pictures, x=6.0, y=2.0, charge=0.7)
    picture = pictures.paint(blob.x, blob.y, blob.charge)[0]
    assert picture.argmax() == 2 * 10 + 6
    assert picture[26] == pytest.approx(0.7, abs=CELLS)
    # A cell beside the centre, by the Gaussian of 0.8 cells.
    assert picture[27] == pytest.approx(0.7 * np.exp(-1 / (2 * 0.8**2)), abs=CELLS)
    assert picture[36] == pytest.approx(picture[27], abs=CELLS)


@pytest.mark.parametrize(("strength", "moved"), [(0.4, 0.5), (0.7, 1.75), (1.0, 3.0)])
def test_mass_is_moved_by_the_law(pictures: ModuleType, strength: float, moved: float) -> None:
    for sign, plane, (dx, dy) in ((1.0, 0, (0.0, moved)), (-1.0, 1, (moved, 0.0))):
        charge = sign * strength
        detected = pictures.detect(lone_blob(pictures, 3.0, 4.0, charge)).reshape(2, 100)
        expected = pictures.paint(*(np.array([[v]]) for v in (3.0 + dx, 4.0 + dy, charge)))[0]
        np.testing.assert_allclose(detected[plane], expected, atol=CELLS)
        assert np.abs(detected[1 - plane]).max() == 0.0
        assert (sign * detected[plane]).min() >= 0.0


def test_what_leaves_the_picture_is_cut_off(pictures: ModuleType) -> None:
    centred, leaving = lone_blob(pictures, 3.0, 4.0, 1.0), lone_blob(pictures, 3.0, 7.0, 1.0)
    whole, cut = (pictures.detect(blob)[0, :100] for blob in (centred, leaving))
    # The centre arrives at row 10, the first one outside: less than half of the mass is left, in
    # the last rows, and none comes back in the first ones.
    assert cut.sum() < 0.5 * whole.sum()
    assert cut.reshape(10, 10).argmax(axis=0).tolist() == [9] * 10
    assert cut[:50].max() < 1e-6


def test_blobs_add_up(pictures: ModuleType) -> None:
    both = pictures.Blobs.draw(3, 8)
    apart = [
        pictures.Blobs(both.x[:, k, None], both.y[:, k, None], both.charge[:, k, None])
        for k in range(2)
    ]
    added = sum(pictures.detect(blobs) for blobs in apart)
    np.testing.assert_allclose(pictures.detect(both), added, atol=CELLS)


def test_the_generator_writes_the_files_of_the_recipe(pictures: ModuleType, tmp_path: Path) -> None:
    printed_by(FOLDER / "pictures.py", "--out", tmp_path, "--pictures", "50")
    found = {path.name: load_file(path) for path in sorted(tmp_path.iterdir())}
    rows = {name: len(tensors["inputs"]) for name, tensors in found.items()}
    assert rows == {"test.safetensors": 400, "train.safetensors": 50, "val.safetensors": 400}
    expected = pictures.make_pairs(400, 3)
    for name, tensor in found["test.safetensors"].items():
        np.testing.assert_array_equal(tensor, expected[name])
    fields = tomllib.loads((FOLDER / "recipe.toml").read_text(encoding="utf-8"))
    config = TrainConfig.from_dict(fields)
    assert Path(config.data.train or "").name in found
    assert Path(config.data.val or "").name in found


def test_the_law_is_measured_on_the_true_detectors(pictures: ModuleType) -> None:
    law = import_example("law")
    low, high = law.WITHIN
    x, y = np.random.default_rng(0).uniform(low, high, (2, 50, 1))
    for charge in (-1.0, -0.4, 0.7, 1.0):
        blobs = pictures.Blobs(x, y, np.full_like(x, charge))
        along, across = law.displacements(pictures.detect(blobs), blobs)
        # Sums over cells stand for integrals over a blob: within a hundredth of a cell.
        assert along == pytest.approx(pictures.deflection(np.array(charge)), abs=0.01)
        assert across == pytest.approx(0.0, abs=0.01)
    nothing = law.displacements(np.zeros((50, 200)), blobs)
    assert np.isnan(nothing).all()


def test_cells_that_are_moved_by_whole_numbers_give_the_detectors(pictures: ModuleType) -> None:
    peers = import_example("peers")
    moves = (1.0, 3.0)
    # Blobs of one sign that are moved alike, so that each cell has one place to go to.
    x, y = np.random.default_rng(0).uniform(1.0, 5.0, (2, 20, 2))
    for charge in (1.0, -0.7, 0.4):
        blobs = pictures.Blobs(x, y, np.full_like(x, charge))
        expected = pictures.detect(blobs, moves).reshape(-1, 2, 10, 10)
        moved = peers.move_cells(blobs, moves).reshape(-1, 2, 10, 10)
        steps = round(float(pictures.deflection(np.array(charge), moves)))
        # What comes from outside of the picture is not in it.
        inside = (
            (slice(None), 0, slice(steps, None))
            if charge > 0
            else (slice(None), 1, slice(None), slice(steps, None))
        )
        np.testing.assert_allclose(moved[inside], expected[inside], atol=1e-6)


def test_fresh_pictures_are_others_for_every_seed() -> None:
    compare = import_example("compare")
    plan = compare.Plan(Path("build"), (5, 6), fresh=True)
    first, second = (compare.make_pictures(plan, seed) for seed in plan.seeds)
    assert first["test"].digest() == second["test"].digest()
    known = {
        one.digest() for one in compare.make_pictures(compare.Plan(Path("build"), (5,)), 5).values()
    }
    fresh = {one.digest() for one in (*first.values(), second["train"])}
    assert len(fresh) == 4
    assert not fresh & known


def test_comparison_and_law(tmp_path: Path) -> None:
    arguments = ("--quick", "--seeds", "7", "--out", tmp_path)
    printed = printed_by(FOLDER / "compare.py", *arguments)
    found = json.loads(printed.splitlines()[-1])
    parameters = {name: one["parameters"] for name, one in found["table"].items()}
    assert parameters == {
        "ridge regression": 20_200,
        "flow model": 3_848,
        "MLP": 3_812,
        "MLP, equal time": 3_812,
        "MLP, 20 times as large": 76_955,
        "MLP, 20 times as large, equal time": 76_955,
        "CNN": 3_874,
        "CNN, equal time": 3_874,
        "CNN, 5 layers of 3 × 3": 3_610,
        "CNN, 5 layers of 3 × 3, equal time": 3_610,
        "true law, cell by cell": 0,
    }
    trials = {
        name: len(one["trials"][0]) for name, one in found["table"].items() if "trials" in one
    }
    assert min(trials.values()) == trials["flow model"]
    difference = found["flows_minus"]["CNN"]
    low, high = difference["interval"]
    assert low <= difference["difference"] <= high
    r2 = {name: one["r2"] for name, one in found["table"].items()}
    assert difference["difference"] == pytest.approx(r2["flow model"] - r2["CNN"], abs=1e-6)
    ablations = found["ablations"]
    assert set(ablations) == {"as it is", "moves frozen", "x and y off", "z off", "energies kept"}
    assert ablations["as it is"]["r2"] == pytest.approx(r2["flow model"], abs=1e-6)
    for one in ablations.values():
        assert one["z0"][0] + one["zdepth"][0] == pytest.approx(1.0)

    model = tmp_path / QUICK / "model.safetensors"
    assert checkpoint.describe(model)["trained"] is True
    trained_at = model.stat().st_mtime_ns
    assert (
        printed_by(FOLDER / "compare.py", *arguments).splitlines()[-1] == printed.splitlines()[-1]
    )
    assert model.stat().st_mtime_ns == trained_at

    plot = tmp_path / "law.png"
    law = json.loads(printed_by(FOLDER / "law.py", model, "--plot", plot).splitlines()[-1])
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert [point["law"] for point in law["points"][:7]] == pytest.approx(np.linspace(0.5, 3.0, 7))
    errors = [point["error"] for point in law["points"]]
    assert min(errors) <= law["median_error"] <= max(errors)
    ends = [point["error"] for point in law["points"] if abs(point["charge"]) in (0.4, 1.0)]
    assert len(ends) == 4
    assert law["median_error_at_ends"] == max(ends)
