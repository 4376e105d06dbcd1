"""``energy-flow data``: the data directory of a server; a module a command."""

from __future__ import annotations

import typer

from service.cli.data.verify import verify

app = typer.Typer(no_args_is_help=True, help="Check the data directory of a server.")
app.command()(verify)


@app.callback()
def data() -> None:
    """Check the data directory of a server."""
