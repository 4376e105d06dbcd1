"""How answers of a server are shown: one short line, and a small table in a notebook."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from html import escape


class Displayed(ABC):
    """Something that is shown by a few facts about it."""

    __slots__ = ()

    @abstractmethod
    def _facts(self) -> Mapping[str, object]:
        """Return the facts by name, in order; those that are ``None`` are left out."""

    def __repr__(self) -> str:
        facts = ", ".join(f"{name}={value}" for name, value in _shown(self._facts()).items())
        return f"{type(self).__name__}({facts})"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>"
            for name, value in _shown(self._facts()).items()
        )
        return f"<table><caption>{type(self).__name__}</caption>{rows}</table>"


def _shown(facts: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in facts.items() if value is not None}
