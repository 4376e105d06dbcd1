"""Presets: ``debug`` for a laptop, ``experiment`` for a study, ``optimized`` for a large GPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from energy_flow.choices import Precision, Preset, must_be_one_of
from energy_flow.config.flow_config import ConvergenceConfig, FlowConfig, SpawnConfig, TraceConfig
from energy_flow.errors import ConfigError, Fault


def debug() -> FlowConfig:
    """Return a small config: 20 × 20 × 10, two GRU layers of 256, float32."""
    return FlowConfig()


def experiment() -> FlowConfig:
    """Return a config for studies: 28 × 28 × 60, three GRU layers of 512, bfloat16."""
    return FlowConfig(
        lattice_width=28,
        lattice_height=28,
        lattice_depth=60,
        carrier_hidden_size=512,
        carrier_num_layers=3,
        precision=Precision.BFLOAT16,
        noise_std=0.2,
        spawn=SpawnConfig(threshold=0.4),
        convergence=ConvergenceConfig(threshold=0.95, min_steps=5, patience=8),
    )


def optimized() -> FlowConfig:
    """Return a config for large GPUs: 100 × 100 × 50, three GRU layers of 1024, bfloat16."""
    return FlowConfig(
        lattice_width=100,
        lattice_height=100,
        lattice_depth=50,
        carrier_hidden_size=1024,
        carrier_num_layers=3,
        precision=Precision.BFLOAT16,
        noise_std=0.1,
        spawn=SpawnConfig(threshold=0.16, max_children=3),
        max_active_flows=2 * 100 * 100,
        convergence=ConvergenceConfig(threshold=0.95, min_steps=5, patience=12),
        trace=TraceConfig(capacity=16384),
    )


PRESETS: Mapping[str, Callable[[], FlowConfig]] = {
    Preset.DEBUG.value: debug,
    Preset.EXPERIMENT.value: experiment,
    Preset.OPTIMIZED.value: optimized,
}


def preset(name: str) -> FlowConfig:
    """Return the preset of this name.

    Args:
        name: of ``choices.Preset``.

    Raises:
        ConfigError: there is no such preset.
    """
    if name not in PRESETS:
        raise ConfigError(Fault(("preset",), must_be_one_of(name, PRESETS), name))
    return PRESETS[name]()
