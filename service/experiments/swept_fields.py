"""The fields that a sweep may vary, and the type of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from pydantic import BaseModel

from energy_flow.config.flow_config import RUN_FIELDS, FlowConfig
from energy_flow.config.validation import find_group
from energy_flow.training import TrainConfig

# Files, and what the experiment itself sets.
_NOT_SWEPT = ("checkpoints", "data", "model", "seed")


@dataclass(frozen=True)
class SweptFields:
    """The fields of a config that a sweep may vary.

    Attributes:
        config: A class of nested groups.
        tops: Its fields; all members of each may vary.
    """

    config: type[BaseModel]
    tops: tuple[str, ...]

    @cached_property
    def known(self) -> tuple[str, ...]:
        """Dotted names of the fields."""
        return tuple(_leaves(self.config, self.tops))

    def number(self, field: str) -> type[int] | type[float] | None:
        """Return the type of number of a known field; ``None`` if it is no number."""
        return self._numbers[field]

    @cached_property
    def _numbers(self) -> dict[str, type[int] | type[float] | None]:
        # Computed once: a schema takes milliseconds, and every drawn value needs a type.
        return {field: self._number(field) for field in self.known}

    def _number(self, field: str) -> type[int] | type[float] | None:
        *groups, member = field.split(".")
        owner = find_group(self.config, tuple(groups))
        assert owner is not None
        schema = owner.model_json_schema()["properties"][member]
        types = {one.get("type") for one in schema.get("anyOf", [schema])}
        return int if "integer" in types else float if "number" in types else None


def _leaves(config: type[BaseModel], names: Iterable[str], prefix: str = "") -> Iterator[str]:
    for name in names:
        group = find_group(config, (name,))
        if group is None:
            yield prefix + name
        else:
            yield from _leaves(group, group.model_fields, f"{prefix}{name}.")


OF_A_RUN = SweptFields(FlowConfig, tuple(sorted(RUN_FIELDS)))
OF_A_TRAINING = SweptFields(
    TrainConfig, tuple(name for name in TrainConfig.model_fields if name not in _NOT_SWEPT)
)
