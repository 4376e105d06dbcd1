"""Networks compiled for a CPU, compared with float64 and with tensor operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numba import njit, prange
from torch import Tensor

from energy_flow import FlowConfig
from energy_flow.choices import Sensing
from energy_flow.model.backends import select_proposal
from energy_flow.model.backends.interface import HiddenBlock, Tape
from energy_flow.model.backends.numba import network_passes
from energy_flow.model.backends.numba.networks import NumbaNetworks
from energy_flow.model.backends.tensor.networks import TensorNetworks
from energy_flow.model.carrier import EnergyCarrier
from energy_flow.model.neuron import SimpleNeuron
from energy_flow.runtime.numba_support import supports_numba

SHAPES: list[dict[str, Any]] = [
    {"neuron_hidden_dim": 32, "carrier_hidden_size": 32, "carrier_num_layers": 2},
    {"neuron_hidden_dim": 16, "carrier_hidden_size": 16, "carrier_num_layers": 1},
    {
        "neuron_hidden_dim": 5,
        "carrier_hidden_size": 7,
        "carrier_num_layers": 3,
        "sensing": "gradient",
    },
    {"neuron_hidden_dim": 20, "carrier_hidden_size": 4, "carrier_num_layers": 2},
]


# Of hidden states, and of products.
DTYPES = [
    (torch.float32, torch.float32),
    (torch.bfloat16, torch.bfloat16),
    (torch.bfloat16, torch.float32),
]


@pytest.fixture(autouse=True)
def _without_gradients() -> Any:
    with torch.no_grad():
        yield


def networks(
    shape: dict[str, Any], dtype: torch.dtype, products: torch.dtype | None = None
) -> tuple[Any, Any]:
    """Return a packed neuron and carrier with larger weights than those of a new model."""
    config = FlowConfig.from_dict(shape)
    generator = torch.Generator().manual_seed(7)
    neuron, carrier = SimpleNeuron(config), EnergyCarrier(config)
    for part in (neuron, carrier):
        for weight in part.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.5)
    packed = neuron.pack(dtype)
    products = products or dtype
    return (
        packed.with_product_dtype(products),
        carrier.pack(packed, dtype).with_product_dtype(products),
    )


def block(shape: dict[str, Any], dtype: torch.dtype, rows: int) -> tuple[Tensor, Any]:
    """Features, and stored states in another order than the flows that have them."""
    generator = torch.Generator().manual_seed(8)
    position = torch.rand((rows, 3), generator=generator) * 2 - 1
    energy = torch.rand(rows, generator=generator) * 2 - 1
    width = Sensing(shape.get("sensing", "none")).width
    sensed = torch.rand((rows, width), generator=generator) * 2 - 1
    features = torch.cat((position, energy.unsqueeze(1), sensed), dim=1)
    stored = tuple(
        (torch.rand((2 * rows, shape["carrier_hidden_size"]), generator=generator) * 2 - 1).to(
            dtype
        )
        for _ in range(shape["carrier_num_layers"])
    )
    source = torch.randperm(2 * rows, generator=generator)[:rows]
    return features, HiddenBlock(stored, source)


def columns(proposal: Any) -> list[Tensor]:
    return [
        column.double() for column in (proposal.energy, proposal.displacement, *proposal.hidden)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize(("dtype", "products"), DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_as_close_to_float64_as_tensor_operations(
    shape: dict[str, Any], dtype: torch.dtype, products: torch.dtype, fresh: bool
) -> None:
    neuron, carrier = networks(shape, dtype, products)
    is_compiled = isinstance(select_proposal(neuron, carrier), NumbaNetworks)
    assert is_compiled == supports_numba(torch.device("cpu"))
    features, stored = block(shape, dtype, 45)
    hidden = None if fresh else stored
    out = tuple(rows.new_full((45, rows.shape[1]), 9.0) for rows in stored.rows)
    tapes = [Tape() for _ in range(3)]
    compiled = NumbaNetworks(neuron, carrier)(features, hidden, out, tapes[0])
    assert all(state is place for state, place in zip(compiled.hidden, out, strict=True))
    tensors = TensorNetworks(neuron, carrier)(features, hidden, (), tapes[1])
    neuron, carrier = networks(shape, torch.float64)
    if hidden is not None:
        hidden = HiddenBlock(tuple(rows.double() for rows in hidden.rows), hidden.source)
    exact_networks = TensorNetworks(neuron, carrier)
    truth = exact_networks(features.double(), hidden, (), tapes[2])

    taped = (tape.tensors for tape in tapes)
    # Beyond r and z, gates are padded with numbers that nothing reads.
    gates = 2 * shape["carrier_hidden_size"]
    kept = [[column[:, :gates] for column in tape] for tape in taped]
    everything = (
        [*columns(proposal), *tape]
        for proposal, tape in zip((compiled, tensors, truth), kept, strict=True)
    )
    for mine, its, exact in zip(*everything, strict=True):
        allowed = 3 * (its.double() - exact.double()).abs().max() + 1e-6
        assert float((mine.double() - exact.double()).abs().max()) <= float(allowed)


@pytest.mark.parametrize("shape", SHAPES)
def test_products_in_float32_are_no_less_exact(shape: dict[str, Any]) -> None:
    """With the same weights and states, rounded; in compiled passes and in tensor operations."""
    features, stored = block(shape, torch.bfloat16, 64)
    exact, narrow, wide, written = [], [], [], []
    for hidden in (None, stored):
        neuron, carrier = networks(shape, torch.bfloat16, torch.float64)
        exact += columns(TensorNetworks(neuron, carrier)(features.double(), hidden))
        neuron, carrier = networks(shape, torch.bfloat16)
        narrow += columns(TensorNetworks(neuron, carrier)(features, hidden))
        neuron, carrier = networks(shape, torch.bfloat16, torch.float32)
        wide += columns(NumbaNetworks(neuron, carrier)(features, hidden))
        out = tuple(rows.new_full((64, rows.shape[1]), 9.0) for rows in stored.rows)
        tensors = TensorNetworks(neuron, carrier)
        in_place = tensors(features, hidden, out)
        assert all(state is place for state, place in zip(in_place.hidden, out, strict=True))
        written += columns(in_place)
        elsewhere = columns(tensors(features, hidden))
        assert all(map(torch.equal, columns(in_place), elsewhere))
    for truth, few, *many in zip(exact, narrow, wide, written, strict=True):
        for mine in many:
            assert float((mine - truth).abs().max()) <= float((few - truth).abs().max()) + 1e-6


def test_heads_of_bfloat16_round_their_first_product_once() -> None:
    """Weights and states are rounded to bfloat16, and so is the product; the bias is float32."""
    neuron, carrier = networks(SHAPES[0], torch.bfloat16)
    _, exact = networks(SHAPES[0], torch.float64)
    features, stored = block(SHAPES[0], torch.bfloat16, 256)
    for compute in (NumbaNetworks(neuron, carrier), TensorNetworks(neuron, carrier)):
        tape = Tape()
        state = compute(features, stored, (), tape).hidden[-1].double()
        product = state @ exact.heads_in.weight.bfloat16().double()
        expected = product.bfloat16().float() + exact.heads_in.bias.float()
        before = tape.tensors[-1]
        assert before.dtype == torch.float32
        # A sum that is rounded in float32 may lie on the other side of a tie.
        assert float((before == expected).float().mean()) > 0.99


@pytest.mark.parametrize(("dtype", "products"), DTYPES)
def test_a_tape_changes_no_bit(dtype: torch.dtype, products: torch.dtype) -> None:
    neuron, carrier = networks(SHAPES[0], dtype, products)
    features, stored = block(SHAPES[0], dtype, 64)
    compiled = NumbaNetworks(neuron, carrier)
    for hidden in (None, stored):
        alone = compiled(features, hidden)
        taped = compiled(features, hidden, (), Tape())
        for mine, its in zip(columns(alone), columns(taped), strict=True):
            assert torch.equal(mine, its)


def test_nan_stays_nan() -> None:
    neuron, carrier = networks(SHAPES[0], torch.float32)
    features, stored = block(SHAPES[0], torch.float32, 4)
    features[1, 3] = torch.nan
    stored.rows[1][stored.source[2], 3] = torch.nan
    proposal = NumbaNetworks(neuron, carrier)(features, stored)
    assert proposal.energy.isnan().tolist() == [False, True, True, False]


def every(function: Any) -> Callable[[Any], Any]:
    """Return a scalar function applied to an array, in a parallel loop as in the kernels."""

    def loop(x: Any, out: Any) -> None:
        for i in prange(x.shape[0]):
            out[i] = function(x[i])

    compiled = njit(loop, parallel=True, error_model="numpy")

    def call(x: Any) -> Any:
        out = np.empty_like(x)
        compiled(x, out)
        return out

    return call


@pytest.mark.slow
def test_numbers_are_within_the_documented_error() -> None:
    x = np.concatenate(
        (
            np.linspace(-20, 20, 400_001, dtype=np.float32),
            np.geomspace(1e-30, 1, 10_001, dtype=np.float32),
        )
    )
    double = torch.from_numpy(x).double()
    exp = torch.from_numpy(every(network_passes.exp)(x)).double()
    assert float(((exp / double.exp() - 1).abs() - 3e-8 * double.abs()).max()) < 2e-7
    tanh = torch.from_numpy(every(network_passes.tanh)(x)).double()
    assert float((tanh - double.tanh()).abs().max()) < 2e-7
    gelu = torch.from_numpy(every(network_passes.gelu)(x)).double()
    gap = (gelu - torch.nn.functional.gelu(double)).abs()
    assert float((gap - 3e-7 * double.abs()).max()) <= 0


def test_bfloat16_rounds_as_pytorch_does() -> None:
    generator = np.random.default_rng(3)
    words = generator.integers(0, 2**32, 200_000, dtype=np.uint32)
    special = [np.inf, -np.inf, np.nan, 0.0, -0.0, 3.4e38, 1e-45, 1.00390625, 1.01171875]
    x = np.concatenate((words.view(np.float32), np.array(special, np.float32)))

    def loop(row: Any, out: Any) -> None:
        network_passes.convert(row, out)

    out = np.empty(x.shape, np.uint16)
    njit(loop)(x, out)
    expected = torch.from_numpy(x).bfloat16()
    rounded = torch.from_numpy(out).view(torch.bfloat16)
    assert torch.equal(rounded.isnan(), expected.isnan())
    assert torch.equal(rounded[~rounded.isnan()], expected[~expected.isnan()])
