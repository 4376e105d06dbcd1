"""Metadata of the server and its models."""

from __future__ import annotations

from typing import Any, Final

from energy_flow.config.flow_config import FlowConfig
from service.models.model import Model
from service.open_inference.served_models import VERSION, served_name
from service.open_inference.tensors import input_tensors, output_tensors
from service.store.names import SERVED_DEFAULT

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
"""Requests are not traced; the trace of the simulation is an output."""


def describe_server(version: str) -> dict[str, Any]:
    """Return the name, version and extensions of the server.

    Args:
        version: Version of the package.
    """
    return {"name": SERVED_DEFAULT, "version": version, "extensions": list(EXTENSIONS)}


def describe_model(model: Model) -> dict[str, Any]:
    """Return the inputs and outputs of a model."""
    return {
        "name": served_name(model),
        "versions": [VERSION],
        "platform": PLATFORM,
        "inputs": input_tensors(model.config),
        "outputs": output_tensors(model.config),
    }


def describe_config(model: Model) -> dict[str, Any]:
    """Return the config of a model.

    A batch is an axis of the tensors, so ``max_batch_size`` is 0: no other batching.
    """
    return {
        "name": served_name(model),
        "platform": PLATFORM,
        "backend": PLATFORM,
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": 0,
        "input": [_describe_tensor(tensor) for tensor in input_tensors(model.config)],
        "output": [_describe_tensor(tensor) for tensor in output_tensors(model.config)],
        "parameters": _describe_parameters(model.config, model.trained),
    }


def describe_entry(model: Model) -> dict[str, str]:
    """Return the entry of a model in the index of the repository."""
    is_ready = model.is_served
    return {
        "name": served_name(model),
        "version": VERSION,
        "state": "READY" if is_ready else "UNAVAILABLE",
        "reason": "" if is_ready else "unloaded",
    }


def _describe_tensor(tensor: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": tensor["name"],
        "data_type": f"TYPE_{tensor['datatype']}",
        "dims": tensor["shape"],
    }


def _describe_parameters(config: FlowConfig, trained: bool) -> dict[str, dict[str, str]]:
    parameters = {
        "trained": str(trained).lower(),
        "coord_version": str(config.coord_version),
        "lattice_depth": str(config.lattice_depth),
        "max_steps": str(config.max_steps),
    }
    return {name: {"string_value": value} for name, value in parameters.items()}
