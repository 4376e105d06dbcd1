"""The one transfer of a step: what is packed on the device is unpacked on the host."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from energy_flow.choices import OUTCOMES, Reason
from energy_flow.simulation.step_counts import StepCounts
from energy_flow.telemetry.counters import COUNT_COLUMNS, OUTCOME_COLUMNS, Count, Sum
from energy_flow.trace.records import KINDS, REFLECT, SPAWN, TERMINATE


@pytest.mark.parametrize("samples", [0, 1, 7])
def test_unpacking_gives_what_was_packed(samples: int) -> None:
    generator = torch.Generator().manual_seed(samples)
    counts = torch.randint(0, 2**40, (samples, COUNT_COLUMNS), generator=generator)
    sums = torch.randn((samples, len(Sum)), generator=generator, dtype=torch.float64)
    sums.view(-1)[::3] = torch.nan
    surviving = torch.randint(0, 9, (len(KINDS),), generator=generator)
    unpacked = StepCounts.unpack(StepCounts.pack(counts, sums, surviving).numpy())
    np.testing.assert_array_equal(unpacked.counts, counts.numpy())
    np.testing.assert_array_equal(unpacked.sums, sums.numpy())
    np.testing.assert_array_equal(unpacked.surviving, surviving.numpy())


def test_groups() -> None:
    counts = np.zeros((2, COUNT_COLUMNS), dtype=np.int64)
    flows = 10 ** np.arange(OUTCOMES)
    counts[0, :OUTCOME_COLUMNS:2] = flows
    counts[1, 1:OUTCOME_COLUMNS:2] = 2 * flows
    counts[:, Count.SPAWNED] = 4, 5
    counts[:, Count.REFLECTED] = 6, 7
    step = StepCounts(counts, np.zeros((2, len(Sum))), np.zeros(len(KINDS), dtype=np.int64))
    tallied = sum(10**reason.code for reason in Reason if reason is not Reason.STALLED)
    active = 10 ** len(Reason)
    assert step.scores == 3 * tallied
    assert step.survivors == 3 * active
    assert step.births == 9
    assert step.active.tolist() == [active + 4, 2 * active + 5]
    assert step.has_failures
    assert step.events[SPAWN] == 9
    assert step.events[REFLECT] == 13
    assert step.events[TERMINATE] == 3 * (tallied + 10**Reason.STALLED.code)
