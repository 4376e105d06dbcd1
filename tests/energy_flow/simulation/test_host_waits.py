"""A step in tensor operations never synchronises with the host."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from energy_flow.simulation.backends import select_emission
from energy_flow.simulation.backends.tensor.emission import emit_flows
from tests.support.small_model import LIVELY, embeddings, make_varied

# Their results, or the sizes of these, depend on numbers that are on the device.
WAITING = {
    "_local_scalar_dense",
    "equal",
    "is_nonzero",
    "item",
    "masked_select",
    "nonzero",
    "nonzero_numpy",
    "unique_consecutive",
    "_unique2",
    "unique_dim",
}
SAMPLES = 5


class Waits(TorchDispatchMode):
    """Records every operation that waits until the queue of a device is empty."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[str] = []
        self.operations = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        self.operations += 1
        if _waits(str(func), args, kwargs):
            self.seen.append(str(func))
        return func(*args, **kwargs)


def _waits(name: str, args: Any, kwargs: Mapping[str, Any]) -> bool:
    operation, _, overload = name.removeprefix("aten.").partition(".")
    if operation == "repeat_interleave":
        # With a given output size it needs no transfer.
        return "Tensor" in overload and kwargs.get("output_size") is None
    if operation == "segment_reduce":
        return not kwargs.get("unsafe")
    if operation in {"index", "index_put", "index_put_"}:
        return any(one is not None and one.dtype is torch.bool for one in args[1])
    if operation == "lift_fresh":
        # Numbers of the host's that become a tensor; a single one travels with the operation.
        return bool(args[0].dim())
    return operation in WAITING


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"spawn.mode": "percentile", "spawn.percentile": 60.0},
        {"aggregation_mode": "legacy", "boundary": "clamp", "spawn.mode": "off"},
        {"trace.keep": "earliest", "trace.capacity": 7, "convergence.enabled": True},
        {"max_active_flows": 18, "min_displacement": 0.2},
    ],
    ids=str,
)
def test_a_step_waits_for_nothing(options: dict[str, Any]) -> None:
    # In float64 no compiled pass of a CPU's stands in for tensor operations.
    processor = copy.deepcopy(make_varied()).double().eval()
    state = processor.start(embeddings(SAMPLES), options={**LIVELY, **options}, seed=3)
    assert select_emission(state) is emit_flows
    steps = 0
    with Waits() as waits:
        while state.active_flows:
            state = processor.step(state)
            steps += 1
    assert waits.seen == []
    assert waits.operations > 50 * steps


def test_host_waits_are_detected() -> None:
    x = torch.arange(4)
    with Waits() as waits:
        torch.nonzero(x)
        x[x > 1]
        x[x > 1] = torch.zeros(2, dtype=torch.int64)
        torch.repeat_interleave(x, x)
        torch.tensor([1, 2])
        x.sum().item()
        torch.unique(x)
        x[0] = 1
    assert len(waits.seen) == 7
