"""``Settings``: everything that an operator can set, from ``ENERGY_FLOW_*`` variables or flags.

Reading happens when :class:`Settings` is called, never at import. Arguments win over the
environment, which wins over the defaults below.
"""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

PREFIX = "ENERGY_FLOW_"

MEBIBYTE = 2**20
GIBIBYTE = 2**30


class Settings(BaseSettings):
    """How the server runs.

    Raises:
        pydantic.ValidationError: an unknown ``ENERGY_FLOW_*`` name, a value out of range, or an
            address that others can reach without an API key.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="forbid", frozen=True, env_ignore_empty=True
    )

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    data_dir: Path = Field(
        Path(".energy-flow"), description="where everything is kept; made if missing"
    )
    database_url: str | None = Field(
        None, description="SQLAlchemy URL of the index; SQLite in the data directory if unset"
    )
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    preset: str = Field("debug", description="config of the default model")
    model: Path | None = Field(
        None, description="checkpoint of the default model; wins over the preset"
    )
    set: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="FIELD=VALUE changes to the preset, such as embedding_dim=384; "
        "in the environment separated by spaces",
    )
    warm_up: bool = Field(False, description="prepare the default model before the server is ready")
    memory_limit: float = Field(
        0.85, gt=0, le=1, description="share of the device's memory that runs may fill"
    )
    max_queued_flow_steps: int = Field(
        10_000_000_000, ge=1, description="flow-steps that may wait; beyond it, 429"
    )
    max_body_bytes: int = Field(
        64 * MEBIBYTE, ge=1024, description="largest JSON or .npy body of a request"
    )
    max_upload_bytes: int = Field(
        4 * GIBIBYTE, ge=1024, description="largest file that is streamed to disk"
    )
    max_samples: int = Field(1_000_000, ge=1, description="most embeddings in one run")
    api_key: SecretStr | None = Field(
        None, description="expected as 'Authorization: Bearer'; unset: open"
    )
    allow_open: bool = Field(
        False, description="permit an address that others can reach without an API key"
    )
    keep_runs_bytes: int = Field(
        10 * GIBIBYTE, ge=0, description="finished runs beyond this are removed, oldest first"
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="lines for people, or one JSON object a line"
    )
    drain_seconds: float = Field(
        30.0, ge=0, description="what running work gets when the server is told to stop"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment; no dotenv and no secrets directory."""
        return init_settings, env_settings

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_variables(cls, values: Any) -> Any:
        known = {PREFIX + name.upper() for name in cls.model_fields}
        unknown = sorted(
            name
            for name in os.environ
            if name.upper().startswith(PREFIX) and name.upper() not in known
        )
        if unknown:
            raise ValueError(
                f"unknown environment variables {', '.join(unknown)}; "
                f"known are {', '.join(sorted(known))}"
            )
        return values

    @field_validator("set", mode="before")
    @classmethod
    def _split_assignments(cls, value: Any) -> Any:
        return tuple(value.split()) if isinstance(value, str) else value

    @field_validator("api_key")
    @classmethod
    def _refuse_empty_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().strip():
            raise ValueError("the API key is empty; leave it unset for an open server")
        return value

    @model_validator(mode="after")
    def _refuse_open_address(self) -> Settings:
        if self.api_key is None and not self.allow_open and not _is_loopback(self.host):
            raise ValueError(
                f"host {self.host!r} can be reached by others and there is no API key; "
                f"set {PREFIX}API_KEY, or {PREFIX}ALLOW_OPEN=1 to serve without one"
            )
        return self

    @property
    def index_url(self) -> str:
        """SQLAlchemy URL of the index of runs and models."""
        if self.database_url is not None:
            return self.database_url
        return f"sqlite:///{(self.data_dir / 'index.sqlite3').absolute()}"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
