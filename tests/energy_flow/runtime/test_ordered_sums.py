"""Sums of floats in a fixed order, on a pretended device."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from energy_flow.runtime.ordered_sums import add_rows_, sum_segments, take_rows
from tests.support.pretended_device import PretendedTensor, pretended_device

LENGTHS = [3, 0, 1, 257, 40, 0, 64, 2]


def make_rows(seed: int, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((count, 3), generator=generator, dtype=torch.float64).exp()


def sum_on_device(rows: Tensor, lengths: list[int], longest: int | None = None) -> Tensor:
    length = torch.tensor(lengths)
    segment = torch.repeat_interleave(torch.arange(len(lengths)), length)
    with pretended_device() as watch:
        moved, *of = (PretendedTensor(one) for one in (rows, length, segment))
        sums = sum_segments(moved, of[0], of[1], longest or max(lengths))
        assert watch.unordered == {}
        assert not watch.mixtures
        held: Tensor = sums.held  # type: ignore[attr-defined]
    return held


def test_sums_of_segments_are_those_of_the_numbers() -> None:
    rows = make_rows(0, sum(LENGTHS))
    sums = sum_on_device(rows, LENGTHS)
    length = torch.tensor(LENGTHS)
    segment = torch.repeat_interleave(torch.arange(len(LENGTHS)), length)
    on_cpu = sum_segments(rows, length, segment, max(LENGTHS))
    for one, cpu, part in zip(sums, on_cpu, torch.split(rows, LENGTHS), strict=True):
        for column in range(3):
            exact = math.fsum(part[:, column].tolist())
            assert float(one[column]) == pytest.approx(exact, rel=1e-15, abs=0)
            assert float(cpu[column]) == pytest.approx(exact, rel=1e-13, abs=0)


def test_a_sum_depends_on_its_own_rows_alone() -> None:
    rows = make_rows(1, 257)
    alone = sum_on_device(rows, [257])
    others = make_rows(2, 1000)
    others[4] = torch.nan
    around = torch.cat((others[:5], rows, others[5:]))
    among = sum_on_device(around, [5, 257, 995], longest=5000)
    assert torch.equal(among[1], alone[0])
    assert among[0].isnan().all()
    assert not among[2].isnan().any()


def test_gradients_reach_each_row_once() -> None:
    rows = make_rows(3, 20).requires_grad_()
    weights = torch.tensor([2.0, 3.0, 5.0], dtype=torch.float64)
    length, segment = torch.tensor([7, 0, 13]), torch.tensor([0] * 7 + [2] * 13)
    with pretended_device():
        moved = PretendedTensor(rows.detach(), requires_grad=True)
        sums = sum_segments(moved, PretendedTensor(length), PretendedTensor(segment), 13)
        torch.autograd.backward((sums * PretendedTensor(weights.unsqueeze(1))).sum())
        assert moved.grad is not None
        found = moved.grad.held  # type: ignore[attr-defined]
    assert torch.equal(found, weights[segment].unsqueeze(1).expand(-1, 3))


def test_rows_that_are_taken_or_added_several_times() -> None:
    rows, index = make_rows(4, 4), torch.tensor([2, 0, 2, 2, 3])
    summands = make_rows(5, 5)
    expected = rows.clone()
    for place, one in zip(index.tolist(), summands, strict=True):
        expected[place] += one
    on_cpu = rows.clone()
    add_rows_(on_cpu, index, summands)
    assert torch.equal(on_cpu, expected)
    with pretended_device() as watch:
        moved = PretendedTensor(rows.clone(), requires_grad=True)
        taken = take_rows(moved, PretendedTensor(index))
        torch.autograd.backward((taken * PretendedTensor(summands)).sum())
        total = PretendedTensor(rows.clone())
        add_rows_(total, PretendedTensor(index), PretendedTensor(summands))
        assert watch.unordered == {}
        assert moved.grad is not None
        gradient = moved.grad.held  # type: ignore[attr-defined]
    assert torch.equal(total.held, expected)
    torch.testing.assert_close(gradient, expected - rows)
