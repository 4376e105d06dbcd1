"""Combinations of a training's settings that are refused, and those that give a warning.

Each rule reads plain config data. :func:`find_model_faults` and :func:`find_model_warnings` have
those that depend on the model.
"""

from __future__ import annotations

from energy_flow.choices import (
    AggregationMode,
    BackPropagationMode,
    ComparedOutput,
    EnergyUpdate,
    InitialHead,
    MapperKind,
    Negatives,
    Plane,
)
from energy_flow.config.flow_config import FlowConfig
from energy_flow.config.messages import describe_width
from energy_flow.config.validation import Rule, Values, nest
from energy_flow.errors import Fault
from energy_flow.training.gradient_modes import GRADIENT_MODES
from energy_flow.training.initial_weights import InitialWeights
from energy_flow.training.schedules import SCHEDULED_OPTIONS, Schedule

_RAMP_VALUES = ("start", "peak", "end")
_MODES_WITH_STEPS = tuple(mode for mode, one in GRADIENT_MODES.items() if one.takes_steps)


def _weights(config: Values) -> list[float]:
    return [term["weight"] for term in config["losses"].values() if term is not None]


def _needs_negatives_in_batch(config: Values) -> bool:
    term = config["losses"]["info_nce"]
    return term is not None and term["weight"] > 0 and term["negatives"] == Negatives.BATCH


def _takes_steps(config: Values) -> bool:
    return GRADIENT_MODES[BackPropagationMode(config["back_propagation"]["mode"])].takes_steps


def _changes_weights(config: Values) -> bool:
    return bool(config["model"]["initial"] != InitialWeights().model_dump(mode="json"))


def _replaces_energies(config: Values) -> bool:
    changes = nest(config["model"]["config"])
    return bool(changes.get("energy_update", EnergyUpdate.REPLACE) == EnergyUpdate.REPLACE)


REFUSED = (
    Rule(
        ("model.preset", "model.checkpoint"),
        lambda c: c["model"]["preset"] is not None and c["model"]["checkpoint"] is not None,
        lambda c: (
            "a training starts from model.preset or from model.checkpoint; leave one of them out"
        ),
    ),
    Rule(
        ("model.initial", "model.checkpoint"),
        lambda c: c["model"]["checkpoint"] is not None and _changes_weights(c),
        lambda c: (
            "is for untrained models, and model.checkpoint names a model with weights; leave one "
            "of them out"
        ),
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
        lambda c: not any(_weights(c)),
        lambda c: f"at least one of {', '.join(c['losses'])} needs a weight above 0",
    ),
    Rule(
        ("back_propagation.steps", "back_propagation.mode"),
        lambda c: _takes_steps(c) != (c["back_propagation"]["steps"] is not None),
        lambda c: f"must be set with mode {', '.join(_MODES_WITH_STEPS)}, and with no other mode",
    ),
    Rule(
        ("batch.accumulation", "batch.rows"),
        lambda c: c["batch"]["rows"] % c["batch"]["accumulation"] != 0,
        lambda c: f"must divide batch.rows = {c['batch']['rows']}",
    ),
    Rule(
        ("losses.info_nce", "batch.rows"),
        lambda c: _needs_negatives_in_batch(c) and c["batch"]["rows"] < 2,
        lambda c: "needs batch.rows of at least 2; or set losses.info_nce.negatives to train",
    ),
    Rule(
        ("length.epochs", "length.steps"),
        lambda c: (c["length"]["epochs"] is None) == (c["length"]["steps"] is None),
        lambda c: "give either length.epochs or length.steps",
    ),
    Rule(
        ("early_stopping.patience", "data.held_out"),
        lambda c: c["early_stopping"]["patience"] is not None and c["data"]["held_out"] == 0,
        lambda c: "early stopping needs rows that are held out; set data.held_out above 0",
    ),
    Rule(
        ("schedule.displacement_scale",),
        lambda c: any(
            (c["schedule"]["displacement_scale"] or {}).get(name) == 0 for name in _RAMP_VALUES
        ),
        lambda c: "start, peak and end must be above 0",
    ),
)


def _start_without_warm_up(field: str) -> Rule:
    return Rule(
        (f"schedule.{field}",),
        lambda c: (
            c["schedule"][field] is not None
            and c["schedule"][field]["start"] is not None
            and c["schedule"][field]["warm_up"] == 0
        ),
        lambda c: (
            f"schedule.{field}.start has no effect, because its warm_up is 0; set "
            f"schedule.{field}.warm_up above 0"
        ),
    )


def _end_of_its_own(field: str) -> Rule:
    return Rule(
        (f"schedule.{field}",),
        lambda c: c["schedule"][field] is not None and c["schedule"][field]["end"] is not None,
        lambda c: (
            f"schedule.{field} ends at {c['schedule'][field]['end']:g}; the model is measured and "
            f"used with the {field} of its own config, which should be the same"
        ),
    )


WARNED = (
    *(_start_without_warm_up(field) for field in Schedule.model_fields),
    *(_end_of_its_own(field) for field in SCHEDULED_OPTIONS),
    Rule(
        ("model.initial.energy_head", "model.config"),
        lambda c: (
            c["model"]["initial"]["energy_head"] == InitialHead.ZERO and _replaces_energies(c)
        ),
        lambda c: (
            "model.initial.energy_head = zero with energy_update replace: all energies become 0 in "
            "the first step, so at first no gradient reaches the input mapper; set "
            "model.config.energy_update to residual"
        ),
    ),
    Rule(
        ("data.held_out",),
        lambda c: c["data"]["held_out"] == 0,
        lambda c: (
            "data.held_out = 0: nothing is measured during the training, and the last weights are "
            "kept"
        ),
    ),
)


def find_model_faults(
    config: Values, model: FlowConfig, width: int | None, target_width: int | None
) -> list[Fault]:
    """Return which loss terms and schedules do not suit a model.

    Args:
        config: complete plain data of a training's config.
        model: config of the model.
        width: number of components of an input embedding; not known yet if none.
        target_width: number of components of an output embedding; not known yet if none.
    """
    faults: list[Fault] = []
    losses, cells = config["losses"], len(Plane) * model.surface_cells
    for name, term in losses.items():
        on_planes = term is not None and term.get("on") == ComparedOutput.PLANES
        if on_planes and target_width is not None and target_width != cells:
            message = (
                f"planes has 2 * lattice_width * lattice_height = {cells} cells to compare with a "
                f"target, and targets of this model have {describe_width(target_width)}; set "
                "it to embedding, or use a lattice with half as many cells as a target has "
                "components"
            )
            faults.append(Fault(("losses", name, "on"), message, term["on"]))
    if (
        losses["surface"] is not None
        and width is not None
        and target_width is not None
        and width != target_width
    ):
        message = (
            "compares surfaces with the energies that a target would start with, and needs targets "
            f"as wide as inputs; this model has inputs of {describe_width(width)} and targets of "
            f"{target_width}; leave the term out"
        )
        faults.append(Fault(("losses", "surface"), message, losses["surface"]))
    ramp = config["schedule"]["background"]
    if ramp is not None and model.aggregation_mode is not AggregationMode.SPLAT:
        message = (
            f"aggregation_mode {model.aggregation_mode} has no background; set the model's "
            "aggregation_mode to splat, or leave schedule.background out"
        )
        faults.append(Fault(("schedule", "background"), message, ramp))
    return faults


def find_model_warnings(config: Values, model: FlowConfig) -> list[str]:
    """Return a message for every loss that is allowed and leaves a part of a model untrained.

    Args:
        config: complete plain data of a training's config.
        model: config of the model.
    """
    terms = {
        name: term
        for name, term in config["losses"].items()
        if term is not None and term["weight"] > 0
    }
    is_trained = any(
        name != "surface" and term.get("on") != ComparedOutput.PLANES
        for name, term in terms.items()
    )
    if is_trained or model.mapper is MapperKind.IDENTITY:
        return []
    names = " and ".join(f"losses.{name}" for name in terms)
    return [
        f"the loss ({names}) does not depend on the embedding, so the output mapper (mapper "
        f"{model.mapper}) gets no gradient and keeps its initial weights, but the best weights and "
        "early stopping are judged by the embedding; add a loss on the embedding, or use a model "
        "with mapper identity"
    ]
