"""Combinations of a training's settings: those that are refused, and those that are only told."""

from __future__ import annotations

from energy_flow.config.flow_config import FlowConfig
from energy_flow.config.presets import preset
from energy_flow.config.validation import Rule, Values, nest
from energy_flow.errors import ConfigError, Fault

RAMP_VALUES = ("start", "peak", "end")


def _terms(config: Values) -> dict[str, float]:
    return {name: term["weight"] for name, term in config["losses"].items() if term is not None}


def _info_nce(config: Values) -> bool:
    term = config["losses"]["info_nce"]
    return term is not None and term["weight"] > 0 and term["negatives"] == "batch"


REFUSED = (
    Rule(
        ("model.preset", "model.checkpoint"),
        lambda c: c["model"]["preset"] is not None and c["model"]["checkpoint"] is not None,
        lambda c: "a preset makes an untrained model and a checkpoint is one; give one of them",
    ),
    Rule(
        ("data.rows",),
        lambda c: (
            c["data"]["rows"] is not None and not 0 <= c["data"]["rows"][0] < c["data"]["rows"][1]
        ),
        lambda c: "must be [from, to] with 0 <= from < to",
    ),
    Rule(
        ("losses",),
        lambda c: not any(_terms(c).values()),
        lambda c: f"at least one of {', '.join(c['losses'])} needs a weight above 0",
    ),
    Rule(
        ("back_propagation.steps", "back_propagation.mode"),
        lambda c: (
            (c["back_propagation"]["mode"] == "truncated")
            != (c["back_propagation"]["steps"] is not None)
        ),
        lambda c: "mode truncated needs steps, and no other mode takes them",
    ),
    Rule(
        ("batch.accumulation", "batch.rows"),
        lambda c: c["batch"]["rows"] % c["batch"]["accumulation"] != 0,
        lambda c: f"must divide batch.rows = {c['batch']['rows']}",
    ),
    Rule(
        ("losses.info_nce", "batch.rows"),
        lambda c: _info_nce(c) and c["batch"]["rows"] < 2,
        lambda c: "needs at least 2 rows in a batch to tell apart; or set negatives to train",
    ),
    Rule(
        ("length.epochs", "length.steps"),
        lambda c: (c["length"]["epochs"] is None) == (c["length"]["steps"] is None),
        lambda c: "give either length.epochs or length.steps",
    ),
    Rule(
        ("early_stopping.patience", "data.held_out"),
        lambda c: c["early_stopping"]["patience"] is not None and c["data"]["held_out"] == 0,
        lambda c: "early stopping looks at rows held out of train; set data.held_out above 0",
    ),
    Rule(
        ("schedule.displacement_scale",),
        lambda c: any(
            (c["schedule"]["displacement_scale"] or {}).get(name) == 0 for name in RAMP_VALUES
        ),
        lambda c: "start, peak and end must be above 0",
    ),
)


def _idle_warm_up(field: str) -> Rule:
    return Rule(
        (f"schedule.{field}",),
        lambda c: (
            c["schedule"][field] is not None
            and c["schedule"][field]["start"] is not None
            and c["schedule"][field]["warm_up"] == 0
        ),
        lambda c: f"schedule.{field}.start has no effect: its warm_up is 0",
    )


def _ends_elsewhere(field: str) -> Rule:
    return Rule(
        (f"schedule.{field}",),
        lambda c: c["schedule"][field] is not None and c["schedule"][field]["end"] is not None,
        lambda c: (
            f"schedule.{field} ends at {c['schedule'][field]['end']:g}; the model is measured and "
            f"used with the {field} of its own config, which should be the same"
        ),
    )


TOLD = (
    _idle_warm_up("learning_rate"),
    _idle_warm_up("displacement_scale"),
    _idle_warm_up("noise_std"),
    _ends_elsewhere("displacement_scale"),
    _ends_elsewhere("noise_std"),
    Rule(
        ("data.held_out",),
        lambda c: c["data"]["held_out"] == 0,
        lambda c: "data.held_out = 0: nothing is measured on the way and the last weights are kept",
    ),
)


def changed_config(base: FlowConfig, changes: Values, *, fixed: bool) -> FlowConfig:
    """A model's config with the changes of ``model.config``.

    Args:
        fixed: the model exists, so only run-time fields may change.

    Raises:
        ConfigError: under ``model.config``.
    """
    try:
        return base.with_options(changes) if fixed else base.replace(changes)
    except ConfigError as error:
        raise ConfigError(
            *(
                Fault(("model", "config", *fault.loc), fault.msg, fault.got)
                for fault in error.faults
            )
        ) from None


def model_faults(config: Values, unsure: set[str]) -> list[Fault]:
    """What is wrong with the config of the untrained model that is asked for."""
    model = config["model"]
    if "model" in unsure or model["checkpoint"] is not None:
        return []
    try:
        base = preset(model["preset"] or "debug")
    except ConfigError as error:
        return [Fault(("model", *fault.loc), fault.msg, fault.got) for fault in error.faults]
    if "model.config" in unsure:
        return []
    try:
        changed_config(base, nest(model["config"]), fixed=False)
    except ConfigError as error:
        return list(error.faults)
    return []
