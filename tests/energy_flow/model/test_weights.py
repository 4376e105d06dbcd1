"""The weights of a model: names, initial values, digest, and runs with changed weights."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch

from energy_flow import FlowProcessor
from tests.support.small_model import embeddings, make_untrained, small_config

NOT_MODEL = {"noise_std": 0.1, "seed": 3, "precision": "bfloat16", "trace": {"capacity": 5}}


def test_names_are_those_of_checkpoints() -> None:
    names = set(make_untrained().state_dict())
    expected = {
        "input_mapper.energy_scale",
        "input_mapper.energy_bias",
        "input_mapper.positional_encoding",
        "output_mapper.position_weights",
    }
    for layer in (
        *("input_mapper.layers.0", "input_mapper.layers.2", "input_mapper.layers.3"),
        *(f"neuron.layers.{index}" for index in (0, 1, 3, 4, 6)),
        *("carrier.energy_head.0", "carrier.energy_head.2"),
        *("carrier.displacement_head.0", "carrier.displacement_head.2"),
        *("output_mapper.layers.0", "output_mapper.layers.2", "output_mapper.layers.3"),
    ):
        expected |= {f"{layer}.weight", f"{layer}.bias"}
    for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        expected.add(f"carrier.gru.{kind}_l0")
    assert names == expected


def test_initial_values() -> None:
    weights = make_untrained().state_dict()
    assert weights["input_mapper.energy_scale"].tolist() == [1.0]
    assert weights["input_mapper.energy_bias"].tolist() == [0.0]
    assert bool((weights["output_mapper.position_weights"] == 1).all())
    assert 0.005 < float(weights["input_mapper.positional_encoding"].std()) < 0.04
    for name, tensor in weights.items():
        assert tensor.dtype == torch.float32, name
        if name.startswith("carrier.") and "bias" in name:
            assert bool((tensor == 0).all()), name
    recurrent = weights["carrier.gru.weight_hh_l0"].double()
    # Semi-orthogonal: a float32 QR decomposition is good to about 1e-6.
    torch.testing.assert_close(
        recurrent.T @ recurrent, torch.eye(16, dtype=torch.float64), atol=1e-5, rtol=0
    )
    xavier = (6.0 / (9 + 48)) ** 0.5
    assert 0.9 * xavier < float(weights["carrier.gru.weight_ih_l0"].abs().max()) <= xavier
    first = weights["input_mapper.layers.0.weight"]
    assert 0.9 * 8**-0.5 < float(first.abs().max()) <= 8**-0.5


def test_model_seed_decides_the_weights_and_run_fields_do_not() -> None:
    digest = make_untrained().digest()
    assert FlowProcessor(small_config()).digest() == digest
    assert FlowProcessor(small_config(**NOT_MODEL)).digest() == digest
    assert FlowProcessor(small_config(model_seed=1)).digest() != digest


def _replaced(processor: FlowProcessor) -> None:
    weights = processor.state_dict()
    processor.load_state_dict({name: 2 * tensor for name, tensor in weights.items()})


def _stepped(processor: FlowProcessor) -> None:
    bias = processor.carrier.get_parameter("energy_head.2.bias")
    bias.grad = torch.ones_like(bias)
    torch.optim.SGD([bias], lr=0.5).step()
    bias.grad = None


def _exchanged(processor: FlowProcessor) -> None:
    weights = {name: 2 * tensor for name, tensor in processor.state_dict().items()}
    processor.load_state_dict(weights, assign=True)


def _assigned(processor: FlowProcessor) -> None:
    bias = processor.carrier.get_parameter("energy_head.2.bias")
    bias.data = bias.data + 0.5


def _from_vector(processor: FlowProcessor) -> None:
    weights = list(processor.parameters())
    vector = torch.nn.utils.parameters_to_vector(weights).detach()
    torch.nn.utils.vector_to_parameters(2 * vector, weights)


@pytest.mark.parametrize("change", [_replaced, _exchanged, _stepped, _assigned, _from_vector])
def test_a_run_uses_the_weights_of_the_moment(change: Callable[[FlowProcessor], None]) -> None:
    processor = copy.deepcopy(make_untrained())
    x = embeddings(2)
    old = processor.simulate(x).outputs["surface"]
    change(processor)
    new = processor.simulate(x).outputs["surface"]
    fresh = copy.deepcopy(make_untrained())
    fresh.load_state_dict(processor.state_dict())
    np.testing.assert_array_equal(new, fresh.simulate(x).outputs["surface"])
    assert not np.array_equal(new, old)


def test_digest_follows_the_weights() -> None:
    processor = FlowProcessor(small_config())
    before = processor.digest()
    processor.simulate(embeddings(1))
    assert processor.digest() == before
    with torch.no_grad():
        processor.get_parameter("input_mapper.energy_bias").add_(1e-6)
    assert processor.digest() != before
