"""The networks of the reference, compared with numbers by hand and with torch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from .cases import make_config, random_weights
from .layers import Float32, GRULayer, LayerNorm, gelu
from .networks import Networks
from .rules import read_rules
from .simulator import simulate

F = np.float32


def test_gelu_and_layer_norm() -> None:
    assert gelu(np.array([0.0, 1.0])).tolist() == [0.0, pytest.approx(0.8413447460685429)]
    norm = LayerNorm(np.array([2.0, 1.0]), np.array([0.5, 0.0]))
    unit = 1 / math.sqrt(1 + 1e-5)
    assert norm(np.array([3.0, 1.0])).tolist() == pytest.approx([2 * unit + 0.5, -unit])


def test_gru_of_width_one() -> None:
    layer = GRULayer(
        weight_ih=np.array([[0.1], [0.2], [0.3]]),
        weight_hh=np.array([[0.4], [0.5], [0.6]]),
        bias_ih=np.array([0.01, 0.02, 0.03]),
        bias_hh=np.array([0.04, 0.05, 0.06]),
    )
    x, h = 2.0, -0.5
    r = 1 / (1 + math.exp(-(0.2 + 0.01 - 0.2 + 0.04)))
    z = 1 / (1 + math.exp(-(0.4 + 0.02 - 0.25 + 0.05)))
    n = math.tanh(0.6 + 0.03 + r * (-0.3 + 0.06))
    assert layer(np.array([x]), np.array([h]))[0] == pytest.approx((1 - z) * n + z * h)


@pytest.mark.parametrize(("sensing", "sensed"), [("none", []), ("gradient", [0.7, -0.8, 0.25])])
def test_networks_agree_with_torch(sensing: str, sensed: list[float]) -> None:
    torch = pytest.importorskip("torch")
    config = make_config(lattice_width=3, carrier_num_layers=2, sensing=sensing)
    weights = random_weights(config, seed=3)
    tensors = {name: torch.tensor(array, dtype=torch.float64) for name, array in weights.items()}
    networks = Networks(read_rules(config, 0), weights)
    functional = torch.nn.functional

    def linear(name: str, x: Any) -> Any:
        return functional.linear(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"])

    def norm(name: str, x: Any) -> Any:
        weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
        return functional.layer_norm(x, x.shape[-1:], weight, bias)

    position, energy = np.array([0.1, -0.2, 0.3], np.float32), F(0.4)
    hidden = np.linspace(-0.5, 0.5, 8, dtype=np.float32).reshape(2, 4)
    x = torch.tensor([*position, energy, *sensed], dtype=torch.float64)
    x = functional.gelu(norm("neuron.layers.1", linear("neuron.layers.0", x)))
    x = functional.gelu(norm("neuron.layers.4", linear("neuron.layers.3", x)))
    x = torch.cat([linear("neuron.layers.6", x), torch.tensor([energy], dtype=torch.float64)])
    gru = torch.nn.GRU(4, 4, num_layers=2, dtype=torch.float64)
    prefix = "carrier.gru."
    gru.load_state_dict({n[len(prefix) :]: t for n, t in tensors.items() if n.startswith(prefix)})
    output, new_hidden = gru(x[None], torch.tensor(hidden, dtype=torch.float64))
    e = torch.tanh(
        linear("carrier.energy_head.2", functional.gelu(linear("carrier.energy_head.0", output)))
    )
    r = linear(
        "carrier.displacement_head.2",
        functional.gelu(linear("carrier.displacement_head.0", output)),
    )
    proposal = networks.propose(position, energy, np.array(sensed), hidden)
    assert float(proposal.energy) == pytest.approx(e.item(), abs=1e-6)
    np.testing.assert_allclose(proposal.displacement, r[0].detach().numpy(), atol=1e-6)
    np.testing.assert_allclose(proposal.hidden, new_hidden.detach().numpy(), atol=1e-6)

    embedding = np.array([0.5, -1.0, 2.0])
    surface = functional.gelu(linear("input_mapper.layers.0", torch.tensor(embedding)))
    surface = linear("input_mapper.layers.3", norm("input_mapper.layers.2", surface))
    surface = torch.tanh(surface).reshape(2, 3) * tensors["input_mapper.energy_scale"]
    surface += tensors["input_mapper.energy_bias"] + tensors["input_mapper.positional_encoding"]
    energies = networks.map_input(embedding)
    np.testing.assert_allclose(energies, surface.numpy(), atol=1e-6)

    back = (torch.tensor(energies) * tensors["output_mapper.position_weights"]).flatten()
    back = functional.gelu(linear("output_mapper.layers.0", back))
    back = linear("output_mapper.layers.3", norm("output_mapper.layers.2", back))
    np.testing.assert_allclose(networks.map_output(energies[None]), back.numpy(), atol=1e-6)


def mappers(**changes: Any) -> tuple[Networks, dict[str, Float32]]:
    config = make_config(lattice_width=3, **changes)
    weights = random_weights(config, seed=3)
    return Networks(read_rules(config, 0), weights), weights


def test_linear_mappers() -> None:
    networks, weights = mappers(mapper="linear", output_dim=5, output_planes="both")
    assert sorted(name for name in weights if "mapper" in name) == [
        "input_mapper.energy_bias",
        "input_mapper.energy_scale",
        "input_mapper.layers.0.bias",
        "input_mapper.layers.0.weight",
        "input_mapper.positional_encoding",
        "output_mapper.layers.0.bias",
        "output_mapper.layers.0.weight",
        "output_mapper.position_weights",
    ]
    embedding = np.array([40.0, -80.0, 20.0])
    inward = weights["input_mapper.layers.0.weight"].astype(np.float64) @ embedding
    inward = (inward + weights["input_mapper.layers.0.bias"]).reshape(2, 3)
    inward = inward * weights["input_mapper.energy_scale"] + weights["input_mapper.energy_bias"]
    energies = networks.map_input(embedding)
    np.testing.assert_allclose(
        energies, inward + weights["input_mapper.positional_encoding"], rtol=1e-6
    )
    # No Tanh limits them.
    assert np.abs(energies).max() > 5

    surfaces = np.linspace(-1, 2, 12, dtype=np.float32).reshape(2, 2, 3)
    outward = (surfaces * weights["output_mapper.position_weights"]).flatten()
    outward = weights["output_mapper.layers.0.weight"] @ outward
    outward = outward + weights["output_mapper.layers.0.bias"]
    assert networks.map_output(surfaces).shape == (5,)
    np.testing.assert_allclose(networks.map_output(surfaces), outward, atol=1e-6)


def test_mlp_reads_both_planes() -> None:
    networks, weights = mappers(output_planes="both", output_dim=2)
    assert weights["output_mapper.position_weights"].shape == (2, 2, 3)
    assert weights["output_mapper.layers.0.weight"].shape == (4, 12)
    surfaces = np.zeros((2, 2, 3), np.float32)
    nothing = networks.map_output(surfaces)
    assert nothing.shape == (2,)
    for plane in (0, 1):
        surfaces = np.zeros((2, 2, 3), np.float32)
        surfaces[plane, 1, 2] = 1
        assert not np.array_equal(networks.map_output(surfaces), nothing)


def test_identity_mappers() -> None:
    networks, weights = mappers(mapper="identity", embedding_dim=6, output_planes="both")
    assert [name for name in weights if "mapper" in name] == [
        "output_mapper.output_gain",
        "output_mapper.output_bias",
    ]
    embedding = np.array([1.0, -2.0, 3.0, -4.0, 5.0, -6.0])
    assert networks.map_input(embedding).tolist() == [[1, -2, 3], [-4, 5, -6]]
    surfaces = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    gain, bias = weights["output_mapper.output_gain"], weights["output_mapper.output_bias"]
    expected = [*(np.arange(6) * gain[0] + bias[0]), *(np.arange(6, 12) * gain[1] + bias[1])]
    np.testing.assert_allclose(networks.map_output(surfaces), expected, rtol=1e-6)
    merged, weights = mappers(mapper="identity", embedding_dim=6)
    assert weights["output_mapper.output_gain"].shape == (1,)
    assert merged.map_output(surfaces[:1]).shape == (6,)


def test_residual_energy_is_added() -> None:
    position, hidden = np.zeros(3, np.float32), np.zeros((1, 4), np.float32)
    nothing = np.zeros(0)
    replaced = mappers()[0].propose(position, F(3.5), nothing, hidden)
    added = mappers(energy_update="residual")[0].propose(position, F(3.5), nothing, hidden)
    assert abs(replaced.energy) < 1
    assert added.energy == pytest.approx(3.5 + replaced.energy, abs=1e-6)
    assert np.array_equal(added.displacement, replaced.displacement)
    assert np.array_equal(added.hidden, replaced.hidden)


def test_bad_weights_are_named() -> None:
    config = make_config()
    weights = random_weights(config)
    weights["neuron.layers.6.bias"][0] = np.nan
    with pytest.raises(ValueError, match=r"neuron\.layers\.6\.bias"):
        simulate(config, weights, np.ones((1, 3)), 0)
    del weights["neuron.layers.6.bias"]
    with pytest.raises(ValueError, match=r"neuron\.layers\.6\.bias"):
        simulate(config, weights, np.ones((1, 3)), 0)
