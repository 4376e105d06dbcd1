"""All commands, each imported when it runs, so that none waits for the packages of another."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from service.cli.input.failures import EXIT_INTERRUPTED, CommandFailed


@dataclass(frozen=True, slots=True)
class Command:
    """Where a command is, and what lists say of it.

    Attributes:
        module: its module.
        summary: what it does, in one line.
        name: of its function in the module, or of the ``typer.Typer`` of its own commands.
    """

    module: str
    summary: str
    name: str = "app"

    def load(self) -> TyperCommand | TyperGroup:
        """Import the module and return the command."""
        found = getattr(import_module(self.module), self.name)
        if isinstance(found, typer.Typer):
            group = get_group(found)
            group.help = self.summary
            return group
        alone = typer.Typer(add_completion=False)
        alone.command()(found)
        command = get_command(alone)
        assert isinstance(command, TyperCommand)
        return command


COMMANDS: Final = {
    "serve": Command(
        "service.cli.serve",
        "Run the server until SIGTERM or SIGINT, then let running work finish.",
        "serve",
    ),
    "simulate": Command(
        "service.cli.simulate",
        "Simulate the embeddings of a file, or of a dataset of a server.",
        "simulate",
    ),
    "embed": Command(
        "service.cli.embed",
        "Encode texts and write their embeddings, a row for each text.",
        "embed",
    ),
    "trace": Command(
        "service.cli.trace",
        "Summarise the event trace of a run, write its records to a file, or draw its paths.",
        "trace",
    ),
    "train": Command("service.cli.train", "Train a model on pairs of embeddings.", "train"),
    "ablate": Command(
        "service.cli.ablate", "Show what the flows of a model do for its predictions.", "ablate"
    ),
    "version": Command(
        "service.cli.version",
        "Show the versions of this program and of its main packages.",
        "version",
    ),
    "experiment": Command(
        "service.cli.experiments",
        "Create, watch, control and compare the experiments of a server.",
    ),
    "runs": Command(
        "service.cli.runs", "List, show, wait for, cancel, replay and delete the runs of a server."
    ),
    "dataset": Command(
        "service.cli.datasets", "Upload, list, show and delete the datasets of a server."
    ),
    "model": Command(
        "service.cli.models", "Upload, create, list, load and delete the models of a server."
    ),
    "data": Command(
        "service.cli.data",
        "Check the data directory of a server, and repair that of a stopped one.",
    ),
    "key": Command(
        "service.cli.keys", "Create, list and revoke API keys of a server, which may run meanwhile."
    ),
}
"""Every command by its name, in the order of the help."""


class CommandGroup(TyperGroup):
    """The commands, of which the help and completion need the summaries alone."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, command in COMMANDS.items():
            self.add_command(TyperCommand(name, help=command.summary))

    def resolve_command(
        self, ctx: Any, args: list[str]
    ) -> tuple[str | None, TyperCommand | TyperGroup | None, list[str]]:
        """Return name, command and the words after it; the command is imported now."""
        name, _, words = super().resolve_command(ctx, args)
        return name, None if name is None else COMMANDS[name].load(), words

    def invoke(self, ctx: Any) -> Any:
        """Run the command.

        Raises:
            CommandFailed: it was interrupted.
        """
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            # typer would end without a word.
            raise CommandFailed("interrupted", EXIT_INTERRUPTED) from None


# Otherwise typer reads "not given" with pydantic, whose import takes as long as the help itself.
_FLAGS: Final = {
    **{name: {"help": False} for name in COMMANDS},
    "help": False,
    "install_completion": False,
    "show_completion": False,
}

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "default_map": _FLAGS},
    help="Simulate sentence embeddings as energy flows through a lattice, train models, run a "
    "server and use one.",
)


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        from service.cli.version import print_version

        print_version()
        raise typer.Exit


@app.callback()
def _options(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_show_version, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Take the options of the program itself."""
