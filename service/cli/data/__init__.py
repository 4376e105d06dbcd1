"""``energy-flow data``: repair the data directory of a stopped server; a module a command."""

from __future__ import annotations

import typer

from service.cli.data import quarantine
from service.cli.data.adopt import adopt
from service.cli.data.rebuild_index import rebuild_index

app = typer.Typer(
    no_args_is_help=True,
    help="Check and repair the data directory of a server that is stopped.",
)
app.command("rebuild-index")(rebuild_index)
app.command()(adopt)
app.add_typer(quarantine.app, name="quarantine")
