"""The server's settings, each declared once: name, type, default, description, group, bounds.

:class:`service.settings.Settings` reads and checks them; the options of ``energy-flow serve`` and
their help are made from them. This module imports the standard library alone, so that the help
works where the server's packages are not installed.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, get_args, get_type_hints

from energy_flow.choices import LogFormat, Preset, names_of, unknown_name

PREFIX: Final = "ENERGY_FLOW_"
"""Start of the names of the environment variables."""

CLIENT_VARIABLES: Final = (f"{PREFIX}URL",)
"""Variables that only clients read; a server with the same environment ignores them."""

MEBIBYTE: Final = 2**20
GIBIBYTE: Final = 2**30

ACCESS: Final = "Address and access"
STORAGE: Final = "Storage"
MODEL: Final = "Default model"
DEVICE: Final = "Device"
LIMITS: Final = "Limits of requests"
PROCESS: Final = "Log and shutdown"


@dataclass(frozen=True, slots=True)
class About:
    """What is known of a setting besides name, type and default.

    Attributes:
        description: one sentence, for the help and the documentation.
        group: title of the settings that belong together.
        note: another sentence, for the help.
        minimum: least value that is allowed, if there is one.
        maximum: greatest value that is allowed, if there is one.
        above: all values that are allowed are greater, if there is such a bound.
        metavar: what stands for the value in the help; by default its type.
        is_secret: whether the value must not be printed.
    """

    description: str
    group: str
    note: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    metavar: str | None = None
    is_secret: bool = False

    def out_of_range_reason(self, value: float) -> str | None:
        """Return what is wrong with a value that is out of range, or ``None``."""
        if self.minimum is not None and not value >= self.minimum:
            return f"must be at least {self.minimum:.15g}"
        if self.above is not None and not value > self.above:
            return f"must be above {self.above:.15g}"
        if self.maximum is not None and not value <= self.maximum:
            return f"must be at most {self.maximum:.15g}"
        return None


class SettingsTable:
    """The settings as attributes, with their types and defaults."""

    host: Annotated[str, About("Address to listen on.", ACCESS)] = "127.0.0.1"
    port: Annotated[
        int,
        About("Port to listen on; 0 chooses a free one.", ACCESS, minimum=0, maximum=65535),
    ] = 8000
    root_path: Annotated[
        str | None,
        About(
            "Path below which a proxy has the server, such as /energy.",
            ACCESS,
            note="Without it, the header X-Forwarded-Prefix of the proxy counts.",
            metavar="PATH",
        ),
    ] = None
    api_key: Annotated[
        str | None,
        About(
            "Key with the role admin that requests may carry.",
            ACCESS,
            note="Prefer the variable: other users of the machine can read a command's options.",
            metavar="KEY",
            is_secret=True,
        ),
    ] = None
    allow_open: Annotated[
        bool, About("Allow an address that other machines can reach without an API key.", ACCESS)
    ] = False
    allowed_hosts: Annotated[
        tuple[str, ...],
        About(
            "Name by which the server may be reached, such as flows.example.org or "
            "*.example.org; repeatable.",
            ACCESS,
            note="Without an API key, loopback names and IP addresses are always allowed. In the "
            "variable, separate several by spaces.",
            metavar="NAME",
        ),
    ] = ()
    cors_origins: Annotated[
        tuple[str, ...],
        About(
            "Origin whose pages may use the server, such as https://notebook.example.org; "
            "repeatable.",
            ACCESS,
            note="In the variable, separate several by spaces.",
            metavar="ORIGIN",
        ),
    ] = ()
    data_dir: Annotated[
        Path,
        About("Folder of runs, models, datasets and experiments; created if missing.", STORAGE),
    ] = Path(".energy-flow")
    database_url: Annotated[
        str | None,
        About(
            "SQLAlchemy URL of the index; by default SQLite in the data directory.",
            STORAGE,
            metavar="URL",
        ),
    ] = None
    keep_runs_bytes: Annotated[
        int,
        About(
            "Bytes of finished runs to keep; beyond it the oldest are removed.", STORAGE, minimum=0
        ),
    ] = 10 * GIBIBYTE
    max_datasets_bytes: Annotated[
        int | None,
        About(
            "Maximum bytes of all datasets; beyond it, new ones are refused (507).",
            STORAGE,
            minimum=0,
        ),
    ] = None
    max_models_bytes: Annotated[
        int | None,
        About(
            "Maximum bytes of all models; beyond it, new ones are refused (507).",
            STORAGE,
            minimum=0,
        ),
    ] = None
    preset: Annotated[
        Preset | None,
        About(
            f"Config of an untrained default model: {', '.join(names_of(Preset))}.",
            MODEL,
            note="Without it, --model and --set, the default model is the trained model "
            "dictionary; in a data directory of an earlier version, that of the preset debug.",
            metavar="NAME",
        ),
    ] = None
    model: Annotated[
        Path | None, About("Checkpoint of the default model, instead of a preset.", MODEL)
    ] = None
    set: Annotated[
        tuple[str, ...],
        About(
            "Change a field of the preset (default: debug), such as embedding_dim=384; repeatable.",
            MODEL,
            note="In the variable, separate several by spaces.",
            metavar="FIELD=VALUE",
        ),
    ] = ()
    warm_up: Annotated[
        bool,
        About(
            "Prepare the default model before the server is ready.",
            MODEL,
            note="Without it, the first run takes some seconds longer.",
        ),
    ] = False
    device: Annotated[str, About("Device: auto, cpu, cuda or cuda:N.", DEVICE)] = "auto"
    memory_limit: Annotated[
        float,
        About(
            "Share of the device's memory that runs may use.",
            DEVICE,
            note="In a container with a limit, the share of what that leaves at the start.",
            above=0,
            maximum=1,
        ),
    ] = 0.85
    max_queued_flow_steps: Annotated[
        int,
        About(
            "Maximum number of queued flow-steps; beyond it, requests are refused (429).",
            LIMITS,
            minimum=1,
        ),
    ] = 10_000_000_000
    max_active_requests: Annotated[
        int,
        About(
            "Maximum number of requests that wait for simulations, while several clients send "
            "some; each client has an equal share, and beyond it, they are refused (429).",
            LIMITS,
            minimum=1,
        ),
    ] = 128
    max_body_bytes: Annotated[
        int, About("Maximum bytes of a JSON or .npy body.", LIMITS, minimum=1024)
    ] = 64 * MEBIBYTE
    max_upload_bytes: Annotated[
        int, About("Maximum bytes of an uploaded dataset or model.", LIMITS, minimum=1024)
    ] = 4 * GIBIBYTE
    parser_seconds: Annotated[
        float,
        About(
            "Maximum seconds in which an uploaded .parquet or .arrow file is parsed.",
            LIMITS,
            minimum=1,
            maximum=86_400,
        ),
    ] = 300.0
    parser_memory_bytes: Annotated[
        int,
        About(
            "Maximum bytes of memory of a process that parses uploaded .parquet and .arrow files.",
            LIMITS,
            note="At most two such processes run.",
            minimum=256 * MEBIBYTE,
        ),
    ] = 2 * GIBIBYTE
    max_samples: Annotated[int, About("Maximum number of samples of a run.", LIMITS, minimum=1)] = (
        1_000_000
    )
    max_inflight_bytes: Annotated[
        int,
        About(
            "Maximum bytes of all bodies in memory; beyond it, requests are refused (503).",
            LIMITS,
            minimum=1024,
        ),
    ] = 512 * MEBIBYTE
    max_connections: Annotated[
        int,
        About(
            "Maximum number of connections; beyond it, new ones are refused (503).",
            LIMITS,
            minimum=1,
        ),
    ] = 1000
    max_connections_per_client: Annotated[
        int | None,
        About(
            "Maximum number of connections from one address.",
            LIMITS,
            note="By default half of all; unlimited from the machine itself.",
            minimum=1,
        ),
    ] = None
    header_seconds: Annotated[
        float,
        About(
            "Maximum seconds until the headers of a request are complete.",
            LIMITS,
            above=0,
            maximum=3600,
        ),
    ] = 20.0
    body_min_rate: Annotated[
        int,
        About("Minimum bytes a second at which a body must arrive.", LIMITS, minimum=0),
    ] = 1024
    log_format: Annotated[
        LogFormat,
        About(
            f"Format of the log: {', '.join(names_of(LogFormat))}.",
            PROCESS,
            note="JSON has one object a line, with the id of the run.",
            metavar="NAME",
        ),
    ] = LogFormat.TEXT
    otel: Annotated[
        bool,
        About(
            "Export spans of requests and runs by OpenTelemetry.",
            PROCESS,
            note="The usual variables, such as OTEL_EXPORTER_OTLP_ENDPOINT, say where to.",
        ),
    ] = False
    drain_seconds: Annotated[
        float,
        About(
            "Seconds that running work has to finish after a stop signal.",
            PROCESS,
            minimum=0,
        ),
    ] = 30.0


_METAVARS: Final = {int: "INTEGER", float: "FLOAT", Path: "PATH"}


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    Attributes:
        name: in Python.
        type: of its values.
        default: its value unless another is given.
        about: everything else.
    """

    name: str
    type: Any
    default: Any
    about: About

    @property
    def flag(self) -> str:
        """The option of ``energy-flow serve``."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def variable(self) -> str:
        """The environment variable."""
        return PREFIX + self.name.upper()

    @property
    def help(self) -> str:
        """The description, the note and the default."""
        sentences = (self.about.description, self.about.note, f"(default: {self.default_text})")
        return " ".join(sentence for sentence in sentences if sentence is not None)

    @property
    def is_list(self) -> bool:
        """Whether several values may be given."""
        return isinstance(self.default, tuple)

    @property
    def is_size(self) -> bool:
        """Whether it is a number of bytes, which may be written with a unit."""
        return self.name.endswith("_bytes")

    @property
    def choices(self) -> tuple[str, ...] | None:
        """The names that are allowed, if it is one of a closed list."""
        kinds = get_args(self.type) or (self.type,)
        lists = (kind for kind in kinds if isinstance(kind, type) and issubclass(kind, StrEnum))
        return next((names_of(kind) for kind in lists), None)

    @property
    def metavar(self) -> str | None:
        """What stands for the value in the help; ``None`` for a switch, which has none."""
        if self.about.metavar is not None or self.type is bool:
            return self.about.metavar
        if self.is_size:
            return "SIZE"
        kinds = get_args(self.type) or (self.type,)
        return next((word for kind, word in _METAVARS.items() if kind in kinds), "TEXT")

    @property
    def default_text(self) -> str:
        """The default for people."""
        value = self.default
        if value is None or value == ():
            return "unset"
        if isinstance(value, bool):
            return "yes" if value else "no"
        if self.is_size:
            unit, name = (GIBIBYTE, "GiB") if value % GIBIBYTE == 0 else (MEBIBYTE, "MiB")
            return f"{value // unit} {name}"
        if isinstance(value, int):
            # A port has no thousands.
            return f"{value:,}" if value >= 10_000 else str(value)
        return f"{value:g}" if isinstance(value, float) else str(value)


def _read_table() -> tuple[Setting, ...]:
    settings = []
    for name, hint in get_type_hints(SettingsTable, include_extras=True).items():
        kind, about = get_args(hint)
        settings.append(Setting(name, kind, getattr(SettingsTable, name), about))
    return tuple(settings)


SETTINGS: Final = _read_table()
"""Every setting, in the order of the table."""


def describe_unknown_variables(known: Collection[str]) -> str | None:
    """Return what is wrong with the variables of the environment that nothing reads, if any.

    Args:
        known: Variables that the message offers in their place.
    """
    every = {*(setting.variable for setting in SETTINGS), *CLIENT_VARIABLES}
    unknown = sorted(
        name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() not in every
    )
    faults = (
        f"unknown environment variable {name}: {unknown_name(name.upper(), known)}"
        for name in unknown
    )
    return "; ".join(faults) or None
