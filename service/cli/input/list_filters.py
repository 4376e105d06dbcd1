"""Options that select, sort and label runs and experiments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from energy_flow import pretrained
from energy_flow.choices import LIST_SORTS, ListOrder
from service.cli.input.assignments import parse_assignments
from service.cli.input.failures import check_choice
from service.cli.input.options import complete

Search = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT",
        help="Only those whose name, note, a tag or model contains TEXT, or whose id begins with "
        "it.",
    ),
]
TagFilter = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="TAG", help="Only those with this tag; repeatable: all of them."),
]
ModelFilter = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help="Only those of this model.",
        autocompletion=complete(pretrained.names()),
    ),
]
OptionFilter = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="Only those whose request gave this option; repeatable: all of them.",
    ),
]
CreatedAfter = Annotated[
    str | None, typer.Option(metavar="TIME", help="Only those created after TIME (ISO 8601, UTC).")
]
CreatedBefore = Annotated[
    str | None, typer.Option(metavar="TIME", help="Only those created before TIME.")
]
Sort = Annotated[
    str | None,
    typer.Option(
        metavar="ORDER",
        help=f"Order: {', '.join(ListOrder)}; with a dash before it, it descends, as in "
        "--sort=-name. By default the newest are first.",
        autocompletion=complete(LIST_SORTS),
    ),
]
Tags = Annotated[
    list[str] | None, typer.Option("--tag", metavar="TAG", help="Tag to give; repeatable.")
]
Note = Annotated[str | None, typer.Option(metavar="TEXT", help="Text about it.")]


def list_filters(
    search: str | None,
    tags: Sequence[str] | None,
    model: str | None,
    options: Sequence[str] | None,
    created_after: str | None,
    created_before: str | None,
    sort: str | None = None,
) -> dict[str, Any]:
    """Return the arguments of the client's lists; what is not given is left out.

    Args:
        search: ``--search``.
        tags: each ``--tag``.
        model: ``--model``.
        options: each ``--set``.
        created_after: ``--created-after``.
        created_before: ``--created-before``.
        sort: ``--sort``.

    Raises:
        CommandFailed: an option is no assignment, or there is no such order.
    """
    if sort is not None:
        check_choice("--sort", sort, LIST_SORTS)
    filters = {
        "search": search,
        "tag": list(tags or ()) or None,
        "model": model,
        "options": parse_assignments(options or ()) or None,
        "created_after": created_after,
        "created_before": created_before,
        "sort": sort,
    }
    return {name: value for name, value in filters.items() if value is not None}
