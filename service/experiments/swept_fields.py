"""Which fields a sweep may vary, and what kind of value each takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from pydantic import BaseModel

from energy_flow.config.flow_config import RUN_FIELDS, FlowConfig
from energy_flow.config.validation import group_at
from energy_flow.training import TrainConfig

# Files, and what follows from the experiment itself.
_NOT_SWEPT = ("checkpoints", "data", "model", "seed")


@dataclass(frozen=True)
class SweptFields:
    """The fields of a config that a sweep may vary.

    Attributes:
        config: a class of nested groups. tops: its fields, of which all members may vary.
    """

    config: type[BaseModel]
    tops: tuple[str, ...]

    @cached_property
    def known(self) -> tuple[str, ...]:
        """Their dotted names."""
        return tuple(_leaves(self.config, self.tops))

    def number(self, field: str) -> type[int] | type[float] | None:
        """Whether a known field takes integers, other numbers, or no numbers."""
        return self._numbers[field]

    @cached_property
    def _numbers(self) -> dict[str, type[int] | type[float] | None]:
        # Schemas take milliseconds, and a sweep asks for every value that it draws.
        return {field: self._number(field) for field in self.known}

    def _number(self, field: str) -> type[int] | type[float] | None:
        *groups, member = field.split(".")
        owner = group_at(self.config, tuple(groups))
        assert owner is not None
        schema = owner.model_json_schema()["properties"][member]
        types = {one.get("type") for one in schema.get("anyOf", [schema])}
        return int if "integer" in types else float if "number" in types else None


def _leaves(config: type[BaseModel], names: Iterable[str], prefix: str = "") -> Iterator[str]:
    for name in names:
        group = group_at(config, (name,))
        if group is None:
            yield prefix + name
        else:
            yield from _leaves(group, group.model_fields, f"{prefix}{name}.")


OF_A_RUN = SweptFields(FlowConfig, tuple(sorted(RUN_FIELDS)))
OF_A_TRAINING = SweptFields(
    TrainConfig, tuple(name for name in TrainConfig.model_fields if name not in _NOT_SWEPT)
)
