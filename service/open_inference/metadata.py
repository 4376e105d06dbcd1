"""What the server and its models say of themselves."""

from __future__ import annotations

from typing import Any, Final

from energy_flow.config.flow_config import FlowConfig
from service.models.registry import SERVED_DEFAULT, Model
from service.open_inference.inference import VERSION, served_name
from service.open_inference.tensors import input_tensors, output_tensors

PLATFORM: Final = "energy_flow"
EXTENSIONS: Final = (
    "binary_tensor_data",
    "logging",
    "model_configuration",
    "model_repository",
    "parameters",
    "statistics",
    "trace",
)

TRACE_SETTING: Final = {
    "trace_level": ["OFF"],
    "trace_rate": "1000",
    "trace_count": "-1",
    "log_frequency": "0",
    "trace_file": "",
    "trace_mode": "triton",
}
"""Requests are not traced; the simulation's own trace comes with each answer."""


def server_metadata(version: str) -> dict[str, Any]:
    """Name, version and extensions."""
    return {"name": SERVED_DEFAULT, "version": version, "extensions": list(EXTENSIONS)}


def model_metadata(model: Model) -> dict[str, Any]:
    """A model's inputs and outputs."""
    return {
        "name": served_name(model),
        "versions": [VERSION],
        "platform": PLATFORM,
        "inputs": input_tensors(model.config),
        "outputs": output_tensors(model.config),
    }


def model_config(model: Model) -> dict[str, Any]:
    """A model's config. Its batches are axes of its tensors, so that there is no batching of any
    other sort."""
    return {
        "name": served_name(model),
        "platform": PLATFORM,
        "backend": PLATFORM,
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": 0,
        "input": [_tensor(one) for one in input_tensors(model.config)],
        "output": [_tensor(one) for one in output_tensors(model.config)],
        "parameters": _config_parameters(model.config, model.trained),
    }


def index_entry(model: Model) -> dict[str, str]:
    """A model in the repository's index."""
    ready = model.is_loaded
    return {
        "name": served_name(model),
        "version": VERSION,
        "state": "READY" if ready else "UNAVAILABLE",
        "reason": "" if ready else "unloaded",
    }


def _tensor(view: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": view["name"],
        "data_type": f"TYPE_{view['datatype']}",
        "dims": view["shape"],
    }


def _config_parameters(config: FlowConfig, trained: bool) -> dict[str, dict[str, str]]:
    told = {
        "trained": str(trained).lower(),
        "coord_version": str(config.coord_version),
        "lattice_depth": str(config.lattice_depth),
        "max_steps": str(config.max_steps),
    }
    return {name: {"string_value": value} for name, value in told.items()}
