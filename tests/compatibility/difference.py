"""How an answer of today differs from the recorded one."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

CLOSE = 1e-5
"""How far floats that are computed anew may be from the recorded ones, absolute and relative to 1.

On another kind of machine, sums of products are rounded in another order: the networks' energies
and positions are of the order of 1 and pass a few dozen float32 roundings (6e-8 each) a step.
Counts must be equal: the recorded inputs lead to no decision that such a difference changes.
"""

CLOSE_IN_BFLOAT16 = 2**-8
"""The same where the processor rounds products of bfloat16 elsewhere: one rounding of bfloat16.

The recorded numbers were computed with AVX-512. Some runs and a training compute in bfloat16.
"""

PACKAGED_MODELS = ("dictionary", "spectrometer")
"""Models that are part of versions after 0.1.0, whose lists are without them."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What counts as equal.

    Attributes:
        is_exact: floats must be the same bits.
        ignored: matches the dotted path of what may have any value, such as ``items.3.created_at``.
            It has to be there all the same.
        stopped: names and ids of experiments that cannot go on; entries of lists that have one of
            them are left out.
    """

    is_exact: bool
    ignored: re.Pattern[str]
    stopped: tuple[str, ...] = ()

    def differences(self, recorded: Any, now: Any, path: str = "") -> Iterator[str]:
        """Every difference, in words.

        Members, packaged models and faults of a refusal that were not there are none.
        """
        if isinstance(recorded, dict) and isinstance(now, dict):
            for name, value in recorded.items():
                inner = f"{path}.{name}" if path else name
                if name in now:
                    yield from self.differences(value, now[name], inner)
                else:
                    yield f"{inner} is missing, was {_short(value)}"
        elif isinstance(recorded, list) and isinstance(now, list):
            recorded, now = (
                [one for one in entries if not mentions(one, self.stopped)]
                for entries in (recorded, now)
            )
            now = _without_new_faults(recorded, _without_new_models(recorded, now))
            if len(recorded) != len(now) and not self.ignored.fullmatch(path):
                yield f"{path} has {len(now)} entries, had {len(recorded)}: {_short(now)}"
            for place, (one, other) in enumerate(zip(recorded, now, strict=False)):
                yield from self.differences(one, other, f"{path}.{place}" if path else str(place))
        elif not self._is_same(recorded, now) and not self.ignored.fullmatch(path):
            yield f"{path or 'the body'} is {_short(now)}, was {_short(recorded)}"

    def _is_same(self, recorded: Any, now: Any) -> bool:
        if isinstance(recorded, float) and isinstance(now, int | float) and not self.is_exact:
            close = find_tolerance()
            return math.isclose(recorded, now, rel_tol=close, abs_tol=close)
        if isinstance(recorded, bool) or isinstance(now, bool):
            return recorded is now
        return bool(recorded == now)


def mentions(entry: Any, names: tuple[str, ...]) -> bool:
    """Return whether a document has one of some names in it.

    Args:
        entry: plain JSON data.
        names: what is looked for.
    """
    text = json.dumps(entry) if names else ""
    return any(name in text for name in names)


@cache
def find_tolerance() -> float:
    """Return how far floats that are computed anew may be from the recorded ones."""
    import torch

    has_avx512 = "AVX512" in torch.backends.cpu.get_cpu_capability()
    return CLOSE if has_avx512 else CLOSE_IN_BFLOAT16


def _without_new_faults(recorded: list[Any], now: list[Any]) -> list[Any]:
    """Leave out faults at other places, if the lists have faults."""
    if not all(isinstance(one, dict) and "loc" in one for one in [*recorded, *now]):
        return now
    places = [fault["loc"] for fault in recorded]
    return [fault for fault in now if fault["loc"] in places]


def _without_new_models(recorded: list[Any], now: list[Any]) -> list[Any]:
    """Return a list of today without models that the version did not have."""
    names = {one.get("name") for one in recorded if isinstance(one, dict)}
    new = set(PACKAGED_MODELS) - names
    return [one for one in now if not (isinstance(one, dict) and one.get("name") in new)]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:120] + "…"
