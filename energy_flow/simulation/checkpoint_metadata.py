"""What a checkpoint states about itself, read without torch."""

from __future__ import annotations

import json
from pathlib import Path

from energy_flow.config.flow_config import COORD_VERSION, FlowConfig
from energy_flow.errors import CheckpointError, ConfigError, Fault
from energy_flow.runtime.safetensors_header import SafetensorsError, read_header

FORMAT = "energy_flow"
FIRST_VERSION = "1"
"""Version of a file whose config has none of :data:`SECOND_FIELDS`."""
SECOND_VERSION = "2"
SECOND_FIELDS = (
    "mapper",
    "output_dim",
    "output_planes",
    "energy_update",
    "sensing",
    "field_strength",
    "background",
)
"""Fields that version 2 has added; a file of version 1 means their defaults."""


def read_config(path: Path) -> FlowConfig:
    """Return the config of a checkpoint, without a check of its tensors.

    Args:
        path: of the file.

    Raises:
        CheckpointError: the file is not a checkpoint of this format.
        OSError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            metadata = read_header(file).metadata
    except SafetensorsError as error:
        raise damaged_file(error) from None
    return parse_config(check_metadata(metadata))


def damaged_file(error: SafetensorsError) -> CheckpointError:
    """Return the refusal of a file that is not a safetensors file."""
    return CheckpointError(Fault((), f"is not a safetensors file, or is damaged: {error}"))


def check_metadata(metadata: dict[str, str]) -> dict[str, str]:
    """Return the metadata of a checkpoint if this version reads it.

    Args:
        metadata: texts by name.

    Raises:
        CheckpointError: the format, or a version of it, is another one.
    """
    expected = {
        "format": (FORMAT,),
        "format_version": (FIRST_VERSION, SECOND_VERSION),
        "coord_version": (str(COORD_VERSION),),
    }
    if "trained" in metadata:
        expected["trained"] = ("true", "false")
    faults = [
        Fault(
            (name,),
            f"this version reads {name} {' and '.join(known)}, the checkpoint has "
            f"{metadata.get(name, 'none')}",
            metadata.get(name),
        )
        for name, known in expected.items()
        if metadata.get(name) not in known
    ]
    if faults:
        raise CheckpointError(*faults)
    return metadata


def parse_config(metadata: dict[str, str]) -> FlowConfig:
    """Return the config in the metadata of a checkpoint.

    Args:
        metadata: as :func:`check_metadata` returns it.

    Raises:
        CheckpointError: the config is missing or refused.
    """
    try:
        fields = json.loads(metadata["config"])
        config = FlowConfig.from_dict(fields)
    except ConfigError as error:
        raise CheckpointError(
            *(Fault(("config", *fault.loc), fault.msg, fault.got) for fault in error.faults)
        ) from None
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        raise CheckpointError(Fault(("config",), "must hold the config as a JSON object")) from None
    newer = [name for name in SECOND_FIELDS if name in fields]
    if newer and metadata["format_version"] == FIRST_VERSION:
        message = f"belongs to format_version {SECOND_VERSION}, not {FIRST_VERSION}"
        raise CheckpointError(*(Fault(("config", name), message, fields[name]) for name in newer))
    return config
