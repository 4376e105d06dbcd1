"""Options and arguments of several commands."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any

import typer

from energy_flow.choices import DatasetFormat
from service.settings_table import SettingsTable

API_KEY_ENV = "ENERGY_FLOW_API_KEY"
URL_ENV = "ENERGY_FLOW_URL"
# As for runs and models; JSON has no larger integers.
MAX_SEED = 2**63 - 1
# Where a server listens unless it is told otherwise.
DEFAULT_URL = f"http://{SettingsTable.host}:{SettingsTable.port}"


def complete(names: Iterable[str]) -> Callable[[str], list[str]]:
    """Return what completes the value of an option in a shell.

    Args:
        names: the values that exist.
    """
    known = [str(name) for name in names]
    return lambda incomplete: [name for name in known if name.startswith(incomplete)]


def choice_filter(what: str, metavar: str, names: Iterable[str]) -> Any:
    """Return an option that restricts a list.

    Args:
        what: what is left in the list, such as ``runs in this state``.
        metavar: what stands for its value in the help.
        names: the values that exist.
    """
    known = list(map(str, names))
    text = f"Only {what}: {', '.join(known)}."
    return typer.Option(metavar=metavar, help=text, autocompletion=complete(known))


Url = Annotated[
    str,
    typer.Option("--url", metavar="URL", envvar=URL_ENV, help="Address of the server."),
]
ApiKey = Annotated[
    str | None,
    typer.Option("--api-key", metavar="KEY", envvar=API_KEY_ENV, help="API key of the server."),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one line of JSON to stdout and nothing else there.")
]
Yes = Annotated[
    bool,
    typer.Option("--yes", "-y", help="Delete without the question that is asked on a terminal."),
]
Limit = Annotated[int, typer.Option(min=1, help="Maximum number of entries to list.")]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="Set a field of the config by its dotted name; repeatable.",
    ),
]
Column = Annotated[
    str | None,
    typer.Option(
        "--column",
        metavar="NAME",
        help="Tensor, column or member with the embeddings, if several could be.",
    ),
]
TargetColumn = Annotated[
    str | None,
    typer.Option(
        "--target-column",
        metavar="NAME",
        help="Tensor, column or member with the targets; by default targets or target.",
    ),
]
FormatOfPairs = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="NAME",
        help=f"Format of files whose suffix tells none, and of stdin: {', '.join(DatasetFormat)}.",
        autocompletion=complete(DatasetFormat),
    ),
]
ExperimentName = Annotated[
    str, typer.Argument(metavar="EXPERIMENT", help="Name or id of the experiment.")
]

__all__ = [
    "API_KEY_ENV",
    "DEFAULT_URL",
    "MAX_SEED",
    "URL_ENV",
    "ApiKey",
    "AsJson",
    "Assignments",
    "Column",
    "ExperimentName",
    "FormatOfPairs",
    "Limit",
    "TargetColumn",
    "Url",
    "Yes",
    "choice_filter",
    "complete",
]
