"""Clients for commands, with suggestions where a name does not exist on the server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from typing import TYPE_CHECKING

from energy_flow.choices import closest_name
from service.cli.input.failures import EXIT_USAGE, CommandFailed
from service.cli.input.options import API_KEY_ENV, URL_ENV
from service.settings_table import describe_unknown_variables

if TYPE_CHECKING:
    from energy_flow.client import FlowClient, Retry

# Names to read from a server that are compared with one that does not exist.
MAX_NAMES = 1000
PAGE_SIZE = 100


def page_size(limit: int) -> int:
    """Return how many items to request at once for the first ones of a list, and the next one."""
    return min(limit + 1, PAGE_SIZE)


def open_client(url: str, api_key: str | None, retry: Retry | None = None) -> FlowClient:
    """Return a client of the server at an address.

    Raises:
        CommandFailed: the address is not that of a web server, the key cannot be one, or the
            environment has an unknown variable of Energy Flow.
    """
    fault = describe_unknown_variables((URL_ENV, API_KEY_ENV))
    if fault is not None:
        raise CommandFailed(fault, EXIT_USAGE)
    if api_key is not None and not (api_key.isascii() and api_key.isprintable()):
        raise CommandFailed(
            "--api-key: a key has printable ASCII characters alone; check it", EXIT_USAGE
        )
    # Here, so that the help does not wait for it.
    from energy_flow.client import FlowClient

    try:
        return FlowClient(url, api_key=api_key, retry=retry)
    except ValueError as error:
        raise CommandFailed(f"--url: {error}", EXIT_USAGE) from None


@contextmanager
def open_for_datasets(url: str, api_key: str | None, *names: object) -> Iterator[FlowClient]:
    """Open a client; where one of the datasets does not exist, suggest a close name.

    Args:
        url: address of the server.
        api_key: its key, if it needs one.
        *names: the datasets that the command names.

    Raises:
        CommandFailed: a dataset does not exist, and another has a similar name.
    """
    with open_client(url, api_key) as client:
        datasets = client.datasets.list(page_size=PAGE_SIZE)
        with _suggest_close_names(names, (dataset.name for dataset in datasets)):
            yield client


@contextmanager
def open_for_experiments(
    url: str, api_key: str | None, *names: str, retry: Retry | None = None
) -> Iterator[FlowClient]:
    """Open a client; where one of the experiments does not exist, suggest a close name.

    Args:
        url: address of the server.
        api_key: its key, if it needs one.
        *names: the experiments that the command names.
        retry: how the client tries again.

    Raises:
        CommandFailed: an experiment does not exist, and another has a similar name.
    """
    with open_client(url, api_key, retry) as client:
        experiments = client.experiments.list(page_size=PAGE_SIZE)
        with _suggest_close_names(names, (experiment.name for experiment in experiments)):
            yield client


@contextmanager
def _suggest_close_names(names: Iterable[object], existing: Iterable[str]) -> Iterator[None]:
    """Add what was probably meant to an error about a name that does not exist, if it is close.

    Args:
        names: the names that the command names.
        existing: the names on the server; read only if there is such an error.

    Raises:
        CommandFailed: one of the names does not exist, and another is similar.
    """
    from energy_flow.client import FlowClientError, NotFound

    try:
        yield
    except NotFound as error:
        # If the names cannot be listed, the command fails with the first error.
        with suppress(FlowClientError):
            known = () if "did you mean" in str(error) else tuple(islice(existing, MAX_NAMES))
            for name in names:
                close = None if name in known else closest_name(name, known)
                if close is not None:
                    raise CommandFailed(f"{error}; did you mean '{close}'?") from None
        raise
