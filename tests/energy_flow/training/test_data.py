"""Pairs: accepted and refused files, their split, and the order of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from energy_flow.errors import DataError
from energy_flow.training.data import Pairs, batch_rows, noise_seed
from tests.support.small_training import WIDTH, pairs


def write(path: Path, **tensors: Any) -> Path:
    save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, path)
    return path


def test_a_file_is_read(tmp_path: Path) -> None:
    made = pairs(10)
    inputs = made.inputs.astype(np.float16)
    path = write(tmp_path / "pairs.safetensors", inputs=inputs, targets=made.targets)
    read = Pairs.read(path)
    np.testing.assert_array_equal(read.inputs, inputs.astype(np.float32))
    np.testing.assert_array_equal(read.targets, made.targets)
    assert (len(read), read.width) == (10, WIDTH)
    some = Pairs.read(path, (3, 7))
    np.testing.assert_array_equal(some.targets, made.targets[3:7])
    assert some.rows.tolist() == [3, 4, 5, 6]
    assert some.digest() != read.digest() == Pairs.read(path).digest()


def test_files_that_are_refused(tmp_path: Path) -> None:
    good = np.ones((4, WIDTH), dtype=np.float32)
    bad = good.copy()
    bad[2, 1] = np.nan
    cases = {
        "targets": {"inputs": good},
        "as many rows as the inputs": {"inputs": good, "targets": good[:3]},
        "finite": {"inputs": good, "targets": bad},
    }
    for number, (message, tensors) in enumerate(cases.items()):
        path = write(tmp_path / f"{number}.safetensors", **tensors)
        with pytest.raises(DataError, match=message):
            Pairs.read(path)
    (tmp_path / "text.safetensors").write_text("no tensors here")
    with pytest.raises(DataError, match="cannot be read"):
        Pairs.read(tmp_path / "text.safetensors")
    (tmp_path / "pairs.jsonl").write_text('{"inputs": [1], "targets": [1]}\n')
    with pytest.raises(DataError, match=r"is no \.safetensors file; .* Pairs\.of"):
        Pairs.read(tmp_path / "pairs.jsonl")
    with pytest.raises(FileNotFoundError):
        Pairs.read(tmp_path / "missing.safetensors")
    path = write(tmp_path / "good.safetensors", inputs=good, targets=good)
    with pytest.raises(DataError, match="must end at 4"):
        Pairs.read(path, (2, 5))


@pytest.mark.parametrize(
    ("targets", "has"), [(np.ones(4), 1), ([0.0] * 4, 1), (np.ones((4, 2, 2)), 3), ([], 1)]
)
def test_a_tensor_has_two_dimensions(targets: Any, has: int) -> None:
    with pytest.raises(DataError) as refusal:
        Pairs.of(np.ones((4, 3)), targets)
    (fault,) = refusal.value.faults
    assert fault.loc == ("targets",)
    assert fault.msg == f"must have two dimensions, [rows, width], and has {has}"
    assert fault.got == list(np.shape(targets))


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([[1.0, 2.0], [3.0]], "targets.1: must hold 2 numbers"),
        ([1.0, [2.0]], "targets.0: must be a list of numbers"),
    ],
)
def test_rows_of_other_shapes_are_named(targets: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Pairs.of(np.ones((2, 3)), targets)


def test_targets_may_have_another_width() -> None:
    made = Pairs.of(np.ones((4, 3), dtype=np.float32), np.ones((4, 5), dtype=np.float32))
    assert (made.width, made.target_width) == (3, 5)
    with pytest.raises(DataError, match="as many rows"):
        Pairs.of(np.ones((4, 3)), np.ones((5, 3)))


def test_the_spread_of_targets_is_their_variance_in_all_columns() -> None:
    made = pairs(50)
    assert made.target_spread == pytest.approx(float(made.targets.var(axis=0).sum()), rel=1e-5)
    same = Pairs.of(made.inputs, np.full_like(made.targets, 0.1))
    assert same.target_spread == 0.0


def test_both_faults_of_a_pair_are_reported() -> None:
    bad = np.full((3, WIDTH), np.inf, dtype=np.float32)
    with pytest.raises(DataError) as refusal:
        Pairs.of(bad, bad)
    assert [fault.loc[0] for fault in refusal.value.faults] == ["inputs", "targets"]


def test_a_split_keeps_every_row_once() -> None:
    made = pairs(100)
    train, held_out = made.split(0.2, seed=1)
    assert len(held_out) == 20
    assert sorted([*train.rows, *held_out.rows]) == list(range(100))
    np.testing.assert_array_equal(held_out.rows, made.split(0.2, seed=1)[1].rows)
    assert held_out.rows.tolist() != made.split(0.2, seed=2)[1].rows.tolist()


def test_rows_with_the_same_target_stay_on_one_side() -> None:
    made = pairs(60)
    targets = made.targets[np.arange(60) // 3]
    train, held_out = Pairs.of(made.inputs, targets).split(0.3, seed=0)
    assert len(held_out) == 18
    assert not {row // 3 for row in train.rows} & {row // 3 for row in held_out.rows}


def test_nothing_is_held_out_of_a_share_of_nothing() -> None:
    train, held_out = pairs(10).split(0.0, seed=0)
    assert (len(train), len(held_out)) == (10, 0)


def test_an_epoch_has_every_row_once_in_its_own_order() -> None:
    epochs = [
        np.concatenate([batch_rows(20, 5, seed=3, step=4 * epoch + step) for step in range(4)])
        for epoch in range(3)
    ]
    for order in epochs:
        assert sorted(order) == list(range(20))
    assert len({tuple(order) for order in epochs}) == 3
    assert batch_rows(20, 5, seed=4, step=0).tolist() != epochs[0][:5].tolist()


def test_rows_that_fill_no_batch_are_left_out_of_an_epoch() -> None:
    seen = np.concatenate([batch_rows(11, 4, seed=0, step=step) for step in (0, 1)])
    assert len(set(seen.tolist())) == 8


def test_every_step_has_a_noise_of_its_own() -> None:
    seeds = [noise_seed(seed, step) for seed in (0, 1, 2**62) for step in range(50)]
    assert len(set(seeds)) == 150
    assert all(0 <= seed < 2**63 for seed in seeds)
