"""Which chunks enter the pools: the order of submission, the reserve, and no starvation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from energy_flow import FlowProcessor
from energy_flow.engine import RunListener, RunRequest
from energy_flow.engine.capacity import Admission, Capacity, chunk_samples
from energy_flow.engine.schedule import Chunk, Run
from energy_flow.errors import ConfigError
from energy_flow.model.networks import STEP_ROWS
from energy_flow.simulation.footprint import footprint, require_fit
from tests.support.pretended_device import DEVICE, move_to_pretended_device, pretended_device
from tests.support.small_model import CELLS, make_untrained, small_config

SAMPLES = 40
"""Samples that the pool of these tests admits; ten of them are the reserve."""
ENTERS, WAITS, BLOCKS = Admission.ENTERS, Admission.WAITS, Admission.BLOCKS


def chunk(samples: int, of: int | None = None, *, exclusive: bool = False) -> Chunk:
    """Return a chunk of a new run of ``of`` samples; by default the complete run."""
    total = samples if of is None else of
    config = small_config()
    embeddings = np.zeros((total, config.embedding_dim), dtype=np.float32)
    request = RunRequest("run", "digest", config, embeddings, 0, range(total))
    return Chunk(Run(request, make_untrained(), RunListener(), 1), 0, samples, exclusive)


def holding(*chunks: Chunk, limit_bytes: int | None = None) -> Capacity:
    capacity = Capacity(SAMPLES * CELLS, limit_bytes)
    for one in chunks:
        capacity.reserve(one, one.flows)
    return capacity


def test_complete_runs_use_the_whole_pool_and_parts_leave_the_reserve() -> None:
    assert holding(chunk(30)).admit(chunk(10)) is ENTERS
    assert holding(chunk(30)).admit(chunk(11)) is BLOCKS
    assert holding(chunk(20)).admit(chunk(10, of=100)) is ENTERS
    assert holding(chunk(21)).admit(chunk(10, of=100)) is not ENTERS


def test_while_a_part_waits_complete_runs_enter_the_reserve_alone() -> None:
    capacity = holding(chunk(30, of=100))
    assert capacity.admit(chunk(10, of=100)) is WAITS
    capacity.reserve(small := chunk(6), small.flows)
    assert capacity.admit(chunk(5)) is BLOCKS
    assert capacity.admit(chunk(4)) is ENTERS


def test_parts_do_not_pass_a_part_that_waits() -> None:
    capacity = holding(chunk(25, of=100))
    assert capacity.admit(chunk(10, of=100)) is WAITS
    assert capacity.admit(chunk(1, of=2)) is WAITS
    assert capacity.admit(chunk(1)) is ENTERS


@pytest.mark.parametrize("freed", range(21))
def test_complete_runs_do_not_refill_what_a_waiting_part_needs(freed: int) -> None:
    """However much of a pool full of small runs is freed, the part enters first."""
    capacity = holding(*(chunk(1) for _ in range(SAMPLES - freed)))
    admission = capacity.admit(chunk(10, of=100))
    assert admission is (ENTERS if freed >= 20 else WAITS)
    if admission is WAITS:
        assert capacity.admit(chunk(1)) is BLOCKS


def test_a_chunk_that_does_not_fit_beside_the_reserve_blocks_those_behind_it() -> None:
    """Runs that enter the reserve would keep it waiting; one sample can be as large as that."""
    assert holding(chunk(10)).admit(chunk(20, of=40)) is ENTERS
    assert holding(chunk(10)).admit(chunk(21, of=42)) is BLOCKS
    assert holding(chunk(1)).admit(chunk(50)) is BLOCKS
    assert holding().admit(chunk(50)) is ENTERS


def test_runs_pass_a_run_with_chunks_in_the_pool() -> None:
    capacity = holding(chunk(30, of=100))
    active = chunk(10, of=100)
    active.run.in_flight = 1
    assert capacity.admit(active) is WAITS
    assert capacity.admit(chunk(10)) is ENTERS


def test_an_exclusive_chunk_needs_an_empty_pool_and_blocks_others() -> None:
    assert holding(chunk(1)).admit(chunk(2, of=4, exclusive=True)) is BLOCKS
    assert holding().admit(chunk(2, of=4, exclusive=True)) is ENTERS
    assert holding(chunk(2, of=4, exclusive=True)).admit(chunk(1)) is BLOCKS
    assert holding(chunk(2, of=4, exclusive=True)).admit(chunk(1, of=2)) is BLOCKS


def test_a_chunk_without_memory_blocks_those_behind_it() -> None:
    first, second = chunk(30, of=100), chunk(10, of=100)
    workspace = footprint(small_config(), 0).workspace
    limit = first.bytes + second.bytes + workspace
    assert holding(first, limit_bytes=limit).admit(second) is WAITS
    assert holding(first, limit_bytes=limit - 1).admit(second) is BLOCKS


def test_records_that_are_written_out_use_the_memory_of_the_host() -> None:
    """Where the pools are on a device with a memory of its own."""
    config = small_config(trace={"keep": "lossless"})
    on_cpu, on_device = footprint(config, 1), footprint(config, 1, device=DEVICE)
    assert (on_device.host, on_device.spilled) == (on_cpu.spilled, 0)
    assert on_device.samples == on_cpu.samples - on_cpu.spilled
    limit = 3 * on_device.host
    processor = FlowProcessor(config)
    with pretended_device():
        move_to_pretended_device(processor)
        chunks = []
        for samples in (1, 2):
            embeddings = np.zeros((samples, config.embedding_dim), dtype=np.float32)
            request = RunRequest("run", "digest", config, embeddings, 0, range(samples))
            chunks.append(Chunk(Run(request, processor, RunListener(), 1), 0, samples))
        one, two = chunks
        capacity = Capacity(SAMPLES * CELLS, None, host_limit_bytes=limit)
        capacity.reserve(two, two.flows)
        assert capacity.admit(one) is ENTERS
        assert capacity.admit(two) is BLOCKS
    assert chunk_samples(config, 10**6, None, DEVICE, limit) == 3
    require_fit(config, 10**12, DEVICE, limit)
    with pytest.raises(ConfigError, match="of the host"):
        require_fit(config, 10**12, DEVICE, on_device.host - 1)


def test_the_workspace_is_that_of_the_heights_of_the_device() -> None:
    config = small_config()
    heights = STEP_ROWS["cuda"] / STEP_ROWS["cpu"]
    one, other = (footprint(config, 1, device=place) for place in (DEVICE, torch.device("cpu")))
    assert one.workspace == pytest.approx(heights * other.workspace)
