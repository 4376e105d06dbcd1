"""Models by the names that they have in the protocol."""

from __future__ import annotations

from typing import Final

from energy_flow.choices import unknown_name
from service.models.model import Model
from service.models.registry import ModelRegistry
from service.problems import Problem
from service.store.names import DEFAULT, SERVED_DEFAULT

VERSION: Final = "1"
"""The one version of every model; other weights have another name."""


def find_served_model(models: ModelRegistry, name: str, version: str | None = None) -> Model:
    """Return a model.

    Args:
        models: All models.
        name: Name in the protocol.
        version: Its version; any if ``None``.

    Raises:
        Problem: 404, there is no such model or version.
    """
    known = {served_name(model): model for model in models.newest_first()}
    if name not in known:
        raise Problem(404, f"there is no model {name!r}; {unknown_name(name, sorted(known))}")
    if version not in (None, VERSION):
        raise Problem(404, f"there is no version {version!r}; the only one is {VERSION!r}")
    return known[name]


def served_name(model: Model) -> str:
    """Return the name of a model in the protocol."""
    return SERVED_DEFAULT if model.name == DEFAULT else model.name
