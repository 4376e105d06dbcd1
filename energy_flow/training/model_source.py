"""``ModelSource``: which model a training starts from, and with which changes of its config."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from energy_flow.choices import Preset
from energy_flow.config.flow_config import FlowConfig
from energy_flow.config.presets import preset
from energy_flow.config.validation import Group, Values, nest
from energy_flow.errors import ConfigError, Fault


class ModelSource(Group):
    """The model that a training starts from."""

    preset: str | None = Field(None, description="preset of an untrained model; null: debug")
    checkpoint: str | None = Field(
        None, description="checkpoint of a model to train further; null: none"
    )
    config: dict[str, Any] = Field(
        {},
        description="fields that differ from those of the preset, or run-time fields that "
        "differ from those of the checkpoint",
    )


def change_config(base: FlowConfig, changes: Values, *, is_fixed: bool) -> FlowConfig:
    """Return the config of a model with the changes of ``model.config``.

    Args:
        base: config of the preset or the checkpoint.
        changes: values by name, nested or dotted.
        is_fixed: whether the model exists, so that only fields of a run may change.

    Raises:
        ConfigError: faults at ``model.config``.
    """
    try:
        return base.with_options(changes) if is_fixed else base.replace(changes)
    except ConfigError as error:
        faults = (
            Fault(("model", "config", *fault.loc), fault.msg, fault.got) for fault in error.faults
        )
        raise ConfigError(*faults) from None


def model_faults(config: Values, unsure: set[str]) -> list[Fault]:
    """Return what is wrong with the config of an untrained model.

    Args:
        config: complete plain data of a training's config.
        unsure: dotted names of faulty fields or groups, which are skipped.
    """
    model = config["model"]
    if "model" in unsure or model["checkpoint"] is not None:
        return []
    try:
        base = preset(model["preset"] or Preset.DEBUG)
    except ConfigError as error:
        return [Fault(("model", *fault.loc), fault.msg, fault.got) for fault in error.faults]
    if "model.config" in unsure:
        return []
    try:
        change_config(base, nest(model["config"]), is_fixed=False)
    except ConfigError as error:
        return list(error.faults)
    return []
