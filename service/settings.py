"""``Settings``: everything that an operator can set, from ``ENERGY_FLOW_*`` variables or flags.

Reading happens when :class:`Settings` is called, never at import. Arguments win over the
environment, which wins over the defaults of :mod:`service.settings_table`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

from pydantic import (
    ByteSize,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from energy_flow.choices import LogFormat, Preset, unknown_name
from energy_flow.config.flow_config import FlowConfig, parse_assignments
from energy_flow.config.presets import preset
from energy_flow.errors import ConfigError, Fault
from service.settings_table import (
    PREFIX,
    SETTINGS,
    SettingsTable,
    describe_unknown_variables,
)

_PATH_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]{1,64}){1,8}")
# IP addresses need not be named. Browsers send names in their ASCII form.
_HOST = re.compile(r"\*|(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?")
# As browsers write it: they compare whole origins.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://([a-z0-9_.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?")

# The one driver of PostgreSQL whose errors and options the index knows.
_DRIVER = "psycopg"

_SIZE = TypeAdapter(ByteSize)

_SIZES = tuple(setting.name for setting in SETTINGS if setting.is_size)
_ABOUT = {setting.name: setting.about for setting in SETTINGS}


class Settings(SettingsTable, BaseSettings):
    """How the server runs.

    Args:
        **values: settings by name; they win over the environment.

    Raises:
        pydantic.ValidationError: a name is unknown, or a value is not allowed.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        # Variables are plain text, also those of lists.
        enable_decoding=False,
        extra="forbid",
        frozen=True,
        # The input has the API key in it.
        hide_input_in_errors=True,
    )

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Yield names and values for ``repr`` and ``str``, without secrets."""
        for name, value in super().__repr_args__():
            is_secret = name in _ABOUT and _ABOUT[name].is_secret and value is not None
            yield name, "**********" if is_secret else value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return arguments and the environment as sources; no dotenv, no secrets directory."""
        return init_settings, env_settings

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_variables(cls, values: Any) -> Any:
        fault = describe_unknown_variables([setting.variable for setting in SETTINGS])
        if fault is not None:
            raise ValueError(fault)
        return values

    @field_validator("set", "allowed_hosts", "cors_origins", mode="before")
    @classmethod
    def _split_words(cls, value: Any) -> Any:
        return tuple(value.split()) if isinstance(value, str) else value

    @field_validator(*_SIZES, mode="before")
    @classmethod
    def _read_size(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        with suppress(ValueError):
            return int(value)
        try:
            return int(_SIZE.validate_python(value))
        except ValidationError:
            raise ValueError(
                f"must be a number of bytes, such as 10737418240 or 10GiB (got {value!r})"
            ) from None

    @field_validator("preset", "log_format", mode="before")
    @classmethod
    def _refuse_unknown_name(cls, value: Any, info: ValidationInfo) -> Any:
        known = Preset if info.field_name == "preset" else LogFormat
        if value is not None and value not in list(known):
            raise ValueError(f"cannot be '{value}'; {unknown_name(value, known)}")
        return value

    @field_validator("database_url")
    @classmethod
    def _refuse_unknown_database(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                url = make_url(value)
                url.get_dialect().import_dbapi()
            except ArgumentError:
                # Without the value, which may hold a password.
                raise ValueError(
                    "must be a SQLAlchemy URL, such as sqlite:////path/index.sqlite3"
                ) from None
            except ModuleNotFoundError as error:
                extra = "energy-flow[postgres]" if error.name == _DRIVER else "it"
                raise ValueError(f"needs the package {error.name}; install {extra}") from None
            if url.get_backend_name() == "postgresql" and url.get_driver_name() != _DRIVER:
                raise ValueError(
                    f"needs the driver {_DRIVER} for PostgreSQL: postgresql+{_DRIVER}://..."
                )
        return value

    @field_validator("otel")
    @classmethod
    def _refuse_missing_packages(cls, value: bool) -> bool:
        if value and not _is_installed("opentelemetry.exporter.otlp.proto.http"):
            raise ValueError("needs more packages: pip install 'energy-flow[otel]'")
        return value

    @field_validator("root_path")
    @classmethod
    def _refuse_no_path(cls, value: str | None) -> str | None:
        prefix = (value or "").rstrip("/")
        if prefix and not is_path_prefix(prefix):
            raise ValueError(f"must be a path such as /energy, not {value!r}")
        return prefix or None

    @field_validator("*")
    @classmethod
    def _refuse_out_of_range(cls, value: Any, info: ValidationInfo) -> Any:
        about = _ABOUT[str(info.field_name)]
        reason = about.out_of_range_reason(value) if isinstance(value, int | float) else None
        if reason is not None:
            raise ValueError(f"{reason}, not {value:g}")
        return value

    @field_validator("api_key")
    @classmethod
    def _refuse_empty_key(cls, value: str | None) -> str | None:
        if value is not None and not value.strip():
            raise ValueError("the API key is empty; leave it unset for a server without one")
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _refuse_bad_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not _HOST.fullmatch(name):
                raise ValueError(
                    f"cannot be {name!r}; give a name without a port, such as flows.example.org "
                    "or *.example.org"
                )
        return value

    @field_validator("cors_origins")
    @classmethod
    def _refuse_bad_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"cannot be {origin!r}; give scheme and host in lower case, and the port if "
                    "it is not the usual one, such as https://notebook.example.org"
                )
        return value

    @property
    def needs_key(self) -> bool:
        """Whether the server must not run without an API key: others can reach it."""
        return not self.allow_open and not _is_loopback(self.host)

    @property
    def choose_model(self) -> bool:
        """Whether they choose the default model; otherwise the data directory does."""
        return self.preset is not None or self.model is not None or bool(self.set)

    @property
    def index_url(self) -> URL:
        """SQLAlchemy URL of the index of runs and models."""
        if self.database_url is not None:
            return make_url(self.database_url)
        # As text, `?` and `%` in the path would mean something else.
        path = (self.data_dir / "index.sqlite3").absolute()
        return URL.create("sqlite", database=str(path))


def is_path_prefix(path: str) -> bool:
    """Return whether a text is a path such as ``/energy`` or ``/labs/energy``."""
    is_path = _PATH_PREFIX.fullmatch(path) is not None
    return is_path and not {".", ".."} & set(path.split("/"))


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def default_config(settings: Settings) -> FlowConfig:
    """Return the config of the default model, if that is neither a checkpoint nor packaged.

    Args:
        settings: The server's settings.

    Raises:
        ConfigError: With every fault.
    """
    if settings.model is not None and settings.set:
        message = "changes a preset, but the default model is a checkpoint; leave one of them out"
        raise ConfigError(Fault(("set",), message, list(settings.set)))
    return preset(settings.preset or Preset.DEBUG).replace(parse_assignments(settings.set))


def _is_installed(module: str) -> bool:
    with suppress(ModuleNotFoundError):
        return find_spec(module) is not None
    return False
