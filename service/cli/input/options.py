"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from energy_flow.client.connection import DEFAULT_URL

API_KEY_ENV = "ENERGY_FLOW_API_KEY"

Url = Annotated[str, typer.Option("--url", help="Address of the server.")]
ApiKey = Annotated[
    str | None, typer.Option("--api-key", envvar=API_KEY_ENV, help="The server's API key.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts, nothing else.")]
ExperimentName = Annotated[
    str, typer.Argument(metavar="EXPERIMENT", help="Name or id of the experiment.")
]

__all__ = ["API_KEY_ENV", "DEFAULT_URL", "ApiKey", "AsJson", "ExperimentName", "Url"]
