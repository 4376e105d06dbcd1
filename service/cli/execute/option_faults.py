"""Refused options, named as the command line has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Protocol

from service.cli.input.failures import EXIT_FAILED, EXIT_USAGE, CommandFailed

_FLAGS: Final[Mapping[str, str]] = {
    "name": "NAME",
    "preset": "--preset",
    "model_seed": "--seed",
    "seed": "--seed",
    "model": "--model",
    "dataset": "--dataset",
    "rows": "--rows",
    "resamples": "--resamples",
    "sample": "--sample",
    "flow": "--flow",
    "outputs": "--output",
}
"""Words of the command line by the members of a request."""

_FIELDS: Final = ("options", "config")
"""Members with fields of the config."""


class _Fault(Protocol):
    """A fault that a server reports, or one of this process."""

    @property
    def loc(self) -> tuple[str | int, ...]: ...
    @property
    def msg(self) -> str: ...
    @property
    def got(self) -> Any: ...


@contextmanager
def naming_options() -> Iterator[None]:
    """Name refused members of a request as options.

    Raises:
        CommandFailed: the server refuses the request, with all faults.
    """
    from energy_flow.client import Unprocessable

    try:
        yield
    except Unprocessable as error:
        if not error.errors:
            raise
        raise refuse_request(error.errors) from None


def refuse_request(faults: Iterable[_Fault]) -> CommandFailed:
    """Return the failure of a command whose request has faults.

    Args:
        faults: with the places of a request, such as ``("options", "spawn", "threshold")``.

    Returns:
        The failure, with the exit code of wrong options if all faults are in options.
    """
    return _describe([(_name_member(fault.loc), fault) for fault in faults])


def refuse_config(faults: Iterable[_Fault]) -> CommandFailed:
    """Return the failure of a command whose config has faults.

    Args:
        faults: with the places of a config, such as ``("spawn", "threshold")``, or ``device``.
    """
    return _describe([(_name_field(fault.loc), fault) for fault in faults])


def _describe(named: list[tuple[str | None, _Fault]]) -> CommandFailed:
    lines = []
    for name, fault in named:
        where = name or ".".join(map(str, fault.loc))
        got = "" if fault.got is None else f" (got {fault.got!r})"
        lines.append(f"{where}: {fault.msg}{got}" if where else fault.msg)
    is_usage = all(name is not None for name, _ in named)
    return CommandFailed("; ".join(lines), EXIT_USAGE if is_usage else EXIT_FAILED)


def _name_member(loc: tuple[str | int, ...]) -> str | None:
    first, rest = str(loc[0]) if loc else "", loc[1:]
    if first in _FIELDS:
        return _name_field(rest)
    return _FLAGS.get(first)


def _name_field(loc: tuple[str | int, ...]) -> str | None:
    if loc == ("device",):
        return "--device"
    return f"--set {'.'.join(map(str, loc))}" if loc else None
