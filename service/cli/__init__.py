"""The command line, ``energy-flow``; a module for each command.

A command imports what it needs when it runs. The help and the commands that use a server work with
the plain package, without torch and the server's packages.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

import typer

from energy_flow.client import FlowClientError, Unauthorized
from energy_flow.runtime.waiting import bound_spinning
from service.cli import data, datasets, experiments, keys, models, runs
from service.cli.ablate import ablate
from service.cli.input.failures import EXIT_FAILED, CommandFailed
from service.cli.input.options import API_KEY_ENV
from service.cli.input.terminal import print_note, print_text
from service.cli.serve import serve
from service.cli.simulate import simulate
from service.cli.trace import trace
from service.cli.train import train

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Simulate sentence embeddings as energy flows through a lattice, train models, run a "
    "server and use one.",
)
app.command()(serve)
app.command()(simulate)
app.command()(trace)
app.command()(train)
app.command()(ablate)
app.add_typer(experiments.app, name="experiment")
app.add_typer(runs.app, name="runs")
app.add_typer(datasets.app, name="dataset")
app.add_typer(models.app, name="model")
app.add_typer(data.app, name="data")
app.add_typer(keys.app, name="key")


@app.command()
def version() -> None:
    """Show the versions of this program and of its main packages."""
    for package in ("energy-flow", "torch", "numpy"):
        try:
            print_text(f"{package} {installed_version(package)}")
        except PackageNotFoundError:
            print_text(f"{package} (not installed)")
    print_text(f"python {sys.version.partition(' ')[0]}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; print a failure in one line and exit with its code.

    Args:
        arguments: words after the name of the program; by default those of the process.
    """
    # Before a command imports torch.
    bound_spinning()
    try:
        app(args=arguments, prog_name="energy-flow")
    except CommandFailed as failure:
        _fail(str(failure), failure.exit_code)
    except Unauthorized as error:
        _fail(f"{error}; give a key with --api-key, or better in {API_KEY_ENV}", EXIT_FAILED)
    except FlowClientError as error:
        _fail(str(error), EXIT_FAILED)
    except OSError as error:
        _fail(_describe_os_error(error), EXIT_FAILED)


def _describe_os_error(error: OSError) -> str:
    """Return which file cannot be used and why, without the number of the error."""
    if error.filename is None or error.strerror is None:
        return str(error)
    return f"{error.filename}: {error.strerror}"


def _fail(message: str, exit_code: int) -> None:
    print_note("error: " + " ".join(message.split()))
    sys.exit(exit_code)
