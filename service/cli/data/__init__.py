"""``energy-flow data``: check and repair a data directory; a module a command."""

from __future__ import annotations

import typer

from service.cli.data import quarantine
from service.cli.data.adopt import adopt
from service.cli.data.rebuild_index import rebuild_index
from service.cli.data.verify import verify

app = typer.Typer(no_args_is_help=True)
app.command()(verify)
app.command("rebuild-index")(rebuild_index)
app.command()(adopt)
app.add_typer(quarantine.app, name="quarantine")
