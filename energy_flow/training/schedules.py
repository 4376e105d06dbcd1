"""Values that change while training: learning rate, displacement scale, exploration noise."""

from __future__ import annotations

import math

from energy_flow.training.config import Decay, Ramp


def value_at(ramp: Ramp | None, own: float, step: int, steps: int) -> float:
    """The value for one optimiser step.

    It goes straight from ``start`` to ``peak`` over the warm-up, then to ``end``, straight or by
    ``(1 + cos(π · progress)) / 2``. ``start`` is the value before the first step and ``end`` that
    after the last, so neither is spent on a step unless it is the peak.

    Args:
        own: what the field says; stands for whatever is null.
        step: in [0, steps).
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
    progress = min(max(progress, 0.0), 1.0)
    share = (
        1.0 - progress if ramp.decay is Decay.LINEAR else 0.5 * (1 + math.cos(math.pi * progress))
    )
    return end + (peak - end) * share
