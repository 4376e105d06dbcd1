"""The command line, ``energy-flow``.

Only what a command needs is imported when it runs: ``--help`` and everything that talks to a server
work where torch and the server's packages are not installed.
"""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

import typer

from energy_flow.client import FlowClientError
from service.cli import datasets, experiments, models, runs
from service.cli.input.failures import EXIT_FAILED, CommandFailed
from service.cli.input.terminal import print_note, print_text
from service.cli.serve import serve
from service.cli.simulate import simulate
from service.cli.trace import trace
from service.cli.train import train

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Sentence embeddings as energy flows through a lattice: simulate, train, serve, look.",
)
app.command()(serve)
app.command()(simulate)
app.command()(trace)
app.command()(train)
app.add_typer(experiments.app, name="experiment")
app.add_typer(runs.app, name="runs")
app.add_typer(datasets.app, name="dataset")
app.add_typer(models.app, name="model")


@app.command()
def version() -> None:
    """Show which versions are installed."""
    for package in ("energy-flow", "torch", "numpy"):
        try:
            print_text(f"{package} {installed_version(package)}")
        except PackageNotFoundError:
            print_text(f"{package} (not installed)")
    print_text(f"python {sys.version.partition(' ')[0]}")


def main() -> None:
    """Runs the command line; what goes wrong is told in one line, with an exit code."""
    try:
        app()
    except CommandFailed as failure:
        _fail(str(failure), failure.exit_code)
    except FlowClientError as error:
        _fail(str(error), EXIT_FAILED)
    except OSError as error:
        _fail(str(error), EXIT_FAILED)


def _fail(message: str, exit_code: int) -> None:
    print_note("error: " + " ".join(message.split()))
    sys.exit(exit_code)
