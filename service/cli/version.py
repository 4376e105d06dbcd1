"""``energy-flow version``: versions of the program and of its main packages."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

from service.cli.input.terminal import print_text

PROGRAM = "energy-flow"


def version() -> None:
    """Show the versions of this program and of its main packages."""
    print_version()
    for package in ("torch", "numpy"):
        _print_version_of(package)
    print_text(f"python {sys.version.partition(' ')[0]}")


def print_version() -> None:
    """Print the name of the program and its version in one line."""
    _print_version_of(PROGRAM)


def _print_version_of(package: str) -> None:
    try:
        print_text(f"{package} {installed_version(package)}")
    except PackageNotFoundError:
        print_text(f"{package} (not installed)")
