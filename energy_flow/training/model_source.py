"""``ModelSource``: which model a training starts from, and with which changes of its config."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from energy_flow.choices import InitialMappers, MapperKind, Preset
from energy_flow.config.flow_config import FlowConfig
from energy_flow.config.presets import preset
from energy_flow.config.validation import Group, Values, nest
from energy_flow.errors import ConfigError, Fault
from energy_flow.training.combinations import find_model_faults
from energy_flow.training.initial_weights import InitialWeights


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
    initial: InitialWeights = Field(
        InitialWeights(), description="how the weights of an untrained model begin"
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


def untrained_config(
    base: FlowConfig, changes: Values, width: int | None, target_width: int | None
) -> FlowConfig:
    """Return the config of an untrained model, with the widths of the data.

    It has the width of the inputs and that of the targets, unless ``changes`` names
    ``embedding_dim`` or ``output_dim``. With mapper identity, both follow from the lattice.

    Args:
        base: config of the preset.
        changes: values by name, nested or dotted.
        width: number of components of the inputs; that of ``base`` if none.
        target_width: number of components of the targets; what the config gives if none.

    Raises:
        ConfigError: faults at ``model.config``.
    """
    changes = nest(changes)
    if _has_identity(base, changes):
        width = _count_cells(base, changes)
    if width is not None:
        base = base.replace({"embedding_dim": width})
    config = change_config(base, changes, is_fixed=False)
    follows_lattice = config.mapper is MapperKind.IDENTITY
    if target_width is None or follows_lattice or changes.get("output_dim") is not None:
        return config
    if config.output_width == target_width:
        return config
    return change_config(config, {"output_dim": target_width}, is_fixed=False)


def known_config(source: ModelSource) -> FlowConfig | None:
    """Return the config of an untrained model before the widths of its data are known.

    Args:
        source: without faults.

    Returns:
        The config; none where the model is in a checkpoint.
    """
    if source.checkpoint is not None:
        return None
    return untrained_config(preset(source.preset or Preset.DEBUG), source.config, None, None)


def model_faults(config: Values, unsure: set[str]) -> list[Fault]:
    """Return what is wrong with an untrained model, as far as the widths of its data do not matter.

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
    changes = nest(model["config"])
    try:
        made = untrained_config(base, changes, None, None)
    except ConfigError as error:
        return list(error.faults)
    follows_lattice = made.mapper is MapperKind.IDENTITY
    has_width = follows_lattice or changes.get("embedding_dim") is not None
    has_target_width = follows_lattice or changes.get("output_dim") is not None
    faults = find_model_faults(
        config,
        made,
        made.embedding_dim if has_width else None,
        made.output_width if has_target_width else None,
    )
    if model["initial"]["mappers"] != InitialMappers.DRAWN and made.mapper is not MapperKind.LINEAR:
        message = (
            f"is for mapper linear, and the model has mapper {made.mapper}; set "
            "model.config.mapper to linear, or leave it out"
        )
        loc = ("model", "initial", "mappers")
        faults.append(Fault(loc, message, model["initial"]["mappers"]))
    return faults


def _has_identity(base: FlowConfig, changes: Values) -> bool:
    return bool(changes.get("mapper", base.mapper) == MapperKind.IDENTITY)


def _count_cells(base: FlowConfig, changes: Values) -> int | None:
    """Return S, or nothing where the lattice is faulty, which is reported at its own fields."""
    width = changes.get("lattice_width", base.lattice_width)
    height = changes.get("lattice_height", base.lattice_height)
    if not all(isinstance(side, int) and 0 < side < 2**15 for side in (width, height)):
        return None
    return int(width * height)
