"""``Schedule``: values that change during a training. A new field of a run is a line there."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated

from pydantic import Field

from energy_flow.choices import AggregationMode, Decay
from energy_flow.config.flow_config import RUN_FIELDS, FlowConfig
from energy_flow.config.validation import Group

DECAYS: Mapping[Decay, Callable[[float], float]] = MappingProxyType(
    {
        Decay.LINEAR: lambda progress: 1.0 - progress,
        Decay.COSINE: lambda progress: 0.5 * (1.0 + math.cos(math.pi * progress)),
    }
)
"""Share of the way from end to peak that is left, by the share of the decay that is done."""


class Ramp(Group):
    """A value over a training: from ``start`` to ``peak``, then to ``end``.

    ``start`` is the value before the first step, and ``end`` that after the last. A null stands for
    the value of the field itself.
    """

    start: float | None = Field(
        None, ge=0, description="value before the first step; null: the field's own"
    )
    peak: float | None = Field(
        None, ge=0, description="value at the end of the warm-up; null: the field's own"
    )
    end: float | None = Field(
        None, ge=0, description="value after the last step; null: the field's own"
    )
    warm_up: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0, description="share of all steps from start to peak"
    )
    decay: Decay = Field(Decay.COSINE, description="shape of the way from peak to end")


class SignedRamp(Ramp):
    """A ramp whose values may be negative."""

    start: float | None = Field(
        None, ge=-1e6, le=1e6, description="value before the first step; null: the field's own"
    )
    peak: float | None = Field(
        None, ge=-1e6, le=1e6, description="value at the end of the warm-up; null: the field's own"
    )
    end: float | None = Field(
        None, ge=-1e6, le=1e6, description="value after the last step; null: the field's own"
    )


class Schedule(Group):
    """The values that change; a field that is null keeps its own value."""

    learning_rate: Ramp | None = Field(
        Ramp(start=0.0, end=0.0, warm_up=0.05), description="how optimiser.learning_rate changes"
    )
    displacement_scale: Ramp | None = Field(
        None, description="how displacement_scale of the runs changes"
    )
    noise_std: Ramp | None = Field(None, description="how noise_std of the runs changes")
    field_strength: SignedRamp | None = Field(
        None, description="how field_strength of the runs changes"
    )
    background: Ramp | None = Field(
        None, description="how background of the runs changes; for aggregation_mode splat alone"
    )

    def options_at(self, model: FlowConfig, step: int, steps: int) -> dict[str, float]:
        """Return the options of the runs of one optimiser step.

        There is no ``background`` where the model's aggregation mode has none.

        Args:
            model: config with the own values of the fields.
            step: number of the step, in [0, steps).
            steps: number of all steps.
        """
        own = {name: getattr(model, name) for name in SCHEDULED_OPTIONS}
        if model.aggregation_mode is AggregationMode.SPLAT:
            own["background"] = model.background_weight
        else:
            del own["background"]
        return {
            name: value_at(getattr(self, name), value, step, steps) for name, value in own.items()
        }


SCHEDULED_OPTIONS = tuple(name for name in Schedule.model_fields if name in RUN_FIELDS)
"""Fields of a run that may change; a model is measured and used with its own values of them."""


def value_at(ramp: Ramp | None, own: float, step: int, steps: int) -> float:
    """Return the value for one optimiser step.

    It is linear during the warm-up. ``start`` is the value before the first step and ``end`` that
    after the last, so no step has these values unless they equal the peak.

    Args:
        ramp: how the value changes; not at all if none.
        own: value of the field itself, which stands for what the ramp leaves out.
        step: number of the step, in [0, steps).
        steps: number of all steps.
    """
    if ramp is None:
        return own
    start, peak, end = (
        own if value is None else value for value in (ramp.start, ramp.peak, ramp.end)
    )
    warm_up = ramp.warm_up * steps
    if step + 1 < warm_up:
        return start + (peak - start) * (step + 1) / warm_up
    progress = (step - warm_up) / (steps - warm_up) if steps > warm_up else 0.0
    return end + (peak - end) * DECAYS[ramp.decay](min(max(progress, 0.0), 1.0))
