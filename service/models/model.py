"""A named model, its names and its weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from energy_flow.config.flow_config import MODEL_FIELDS, FlowConfig
from energy_flow.config.presets import preset
from energy_flow.engine.loaded_models import ModelKey, model_key
from energy_flow.errors import ConfigError, Fault
from service.problems import Problem, invalid
from service.schemas.model import ModelFields
from service.store.names import DEFAULT, SERVED_DEFAULT


@dataclass(frozen=True)
class Model:
    """A model that can be loaded.

    Attributes:
        name: Its name.
        config: Its own config.
        trained: Whether its weights come from training.
        digest: SHA-256 of its weights, in hexadecimal.
        created_at: Seconds since the epoch, UTC; of a packaged model, when it was installed.
        checkpoint: Its file; ``None`` for the default model of a preset, whose weights follow from
            its config.
        is_loaded: Whether its networks are in memory.
        position: Number of its row in the index, from 1; below 0 for a model that has none.
        is_packaged: Whether it is part of Energy Flow, and has no row in the index.
        description: What it does, in one line, if that is known.
        sample: File with rows to try it with, if it has them.
        is_served: Whether the Open Inference Protocol offers it: it was made, sent or loaded since
            the server started, and not unloaded since then.
    """

    name: str
    config: FlowConfig
    trained: bool
    digest: str
    created_at: float
    checkpoint: Path | None
    is_loaded: bool
    position: int
    is_packaged: bool = False
    description: str | None = None
    sample: Path | None = None
    is_served: bool = False

    @cached_property
    def networks(self) -> ModelKey:
        """Key of its networks in the engine."""
        return model_key(self.digest, self.config)

    @property
    def is_read_only(self) -> bool:
        """Whether requests can neither delete nor replace it."""
        return self.is_packaged or self.name == DEFAULT

    def check_same(self, digest: str, config: FlowConfig) -> None:
        """Refuse the model if it has other networks than a run that refers to it.

        Args:
            digest: Digest of the weights that the run uses.
            config: Config of the run.

        Raises:
            Problem: 409, naming the model and both digests, or the fields that differ.
        """
        if self.digest != digest:
            # No other model can have the name of one that is part of the package.
            instead = (
                "this version of Energy Flow has another model of that name; simulate again"
                if self.is_packaged
                else "give the name to a model with these weights"
            )
            raise Problem(
                409,
                f"the model {self.name!r} has other weights ({self.digest}) than the run uses "
                f"({digest}); {instead}",
                extra={"model": self.name, "digest": self.digest, "run_digest": digest},
            )
        own, used = self.config.to_dict(), config.to_dict()
        fields = sorted(name for name in MODEL_FIELDS if own[name] != used[name])
        if fields:
            values = ", ".join(f"{name} {own[name]}, not {used[name]}" for name in fields)
            raise Problem(
                409,
                f"the model {self.name!r} has other fields of the model than the run uses: "
                f"{values}; give the name to the model of the run",
                extra={"model": self.name, "digest": self.digest, "fields": fields},
            )


def check_name(name: str) -> None:
    """Refuse a name that no model can have.

    Raises:
        Problem: 422.
    """
    if name == SERVED_DEFAULT:
        message = f"is the name of the model {DEFAULT!r} in /v2; choose another name"
        raise invalid([Fault(("name",), message, name)])


def make_config(fields: ModelFields) -> FlowConfig:
    """Return the config of a new model.

    Args:
        fields: Request for the model.

    Raises:
        ConfigError: The preset or the config is refused, with every fault.
    """
    changes: dict[str, Any] = dict(fields.config)
    if fields.model_seed is not None:
        if changes.get("model_seed", fields.model_seed) != fields.model_seed:
            message = "is given twice, here and in the config; leave one out"
            raise ConfigError(Fault(("model_seed",), message, fields.model_seed))
        changes["model_seed"] = fields.model_seed
    base = preset(fields.preset)
    try:
        return base.replace(changes)
    except ConfigError as error:
        raise ConfigError(
            *(Fault(("config", *fault.loc), fault.msg, fault.got) for fault in error.faults)
        ) from None
