"""``energy-flow serve``: the server, on one socket, until it is told to stop."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.input.failures import EXIT_USAGE, CommandFailed, needing_server_extra

if TYPE_CHECKING:
    from service.settings import Settings

# Kept short here; docs/configuration.md says more about each.
_FLAG_GROUP = "Settings (each also an environment variable, ENERGY_FLOW_*)"


def _flag(text: str, default: str) -> Any:
    """An option whose absence leaves the setting to the environment and its default."""
    return typer.Option(
        help=f"{text} (default: {default})", rich_help_panel=_FLAG_GROUP, show_default=False
    )


def serve(
    host: Annotated[str | None, _flag("Address to listen on.", "127.0.0.1")] = None,
    port: Annotated[int | None, _flag("Port to listen on; 0 takes a free one.", "8000")] = None,
    data_dir: Annotated[
        Path | None, _flag("Where runs and models are kept.", "./.energy-flow")
    ] = None,
    database_url: Annotated[
        str | None, _flag("SQLAlchemy URL of the index.", "SQLite in the data dir")
    ] = None,
    device: Annotated[str | None, _flag("auto, cpu, cuda or cuda:N.", "auto")] = None,
    preset: Annotated[
        str | None, _flag("Config of the default model: debug, experiment, optimized.", "debug")
    ] = None,
    model: Annotated[
        Path | None, _flag("Checkpoint of the default model, instead of a preset.", "none")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="Change a field of the preset, such as embedding_dim=384; repeatable.",
            rich_help_panel=_FLAG_GROUP,
        ),
    ] = None,
    warm_up: Annotated[
        bool | None,
        typer.Option(
            "--warm-up/--no-warm-up",
            help="Prepare the default model before the server is ready; otherwise its first run "
            "takes some seconds longer. (default: no)",
            rich_help_panel=_FLAG_GROUP,
            show_default=False,
        ),
    ] = None,
    memory_limit: Annotated[
        float | None, _flag("Share of the device's memory that runs may fill.", "0.85")
    ] = None,
    max_queued_flow_steps: Annotated[
        int | None, _flag("Work that may wait; beyond it, 429.", "10,000,000,000")
    ] = None,
    max_body_bytes: Annotated[int | None, _flag("Largest JSON or .npy body.", "64 MiB")] = None,
    max_upload_bytes: Annotated[
        int | None, _flag("Largest file that is streamed to disk.", "4 GiB")
    ] = None,
    max_samples: Annotated[int | None, _flag("Most rows in one run.", "1,000,000")] = None,
    api_key: Annotated[
        str | None,
        _flag("Asked of clients as bearer token; better set in the environment.", "open"),
    ] = None,
    allow_open: Annotated[
        bool | None,
        typer.Option(
            "--allow-open/--no-allow-open",
            help="Serve others without an API key. (default: no)",
            rich_help_panel=_FLAG_GROUP,
            show_default=False,
        ),
    ] = None,
    keep_runs_bytes: Annotated[
        int | None, _flag("Finished runs beyond this are removed, oldest first.", "10 GiB")
    ] = None,
    log_format: Annotated[
        str | None, _flag("text, or json: one object a line, with the run's id.", "text")
    ] = None,
    drain_seconds: Annotated[
        float | None, _flag("What running work gets when the server is told to stop.", "30")
    ] = None,
) -> None:
    """Run the server until it is told to stop (SIGTERM, SIGINT), then let running work end."""
    flags = {
        "host": host,
        "port": port,
        "data_dir": data_dir,
        "database_url": database_url,
        "device": device,
        "preset": preset,
        "model": model,
        "set": tuple(assignments) if assignments else None,
        "warm_up": warm_up,
        "memory_limit": memory_limit,
        "max_queued_flow_steps": max_queued_flow_steps,
        "max_body_bytes": max_body_bytes,
        "max_upload_bytes": max_upload_bytes,
        "max_samples": max_samples,
        "api_key": api_key,
        "allow_open": allow_open,
        "keep_runs_bytes": keep_runs_bytes,
        "log_format": log_format,
        "drain_seconds": drain_seconds,
    }
    with needing_server_extra("serving"):
        from service.cli.execute import server_process
    settings = _read_settings({name: value for name, value in flags.items() if value is not None})
    with _listen(settings.host, settings.port) as bound:
        server_process.run(settings, bound)


def _read_settings(flags: dict[str, Any]) -> Settings:
    from pydantic import ValidationError

    from service.settings import Settings

    try:
        return Settings(**flags)
    except ValidationError as error:
        faults = [
            f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}".removeprefix(": ")
            for fault in error.errors()
        ]
        said = "; ".join(fault.removeprefix("Value error, ") for fault in faults)
        raise CommandFailed(said.replace(": Value error, ", ": "), EXIT_USAGE) from None


def _listen(host: str, port: int) -> socket.socket:
    """A bound socket, so that an address that is taken is told before a model is made."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise CommandFailed(f"cannot listen on {host}: {error.strerror}") from None
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise CommandFailed(
            f"cannot listen on {host}, port {port}: {error.strerror}; another may be free: --port 0"
        ) from None
    return bound
