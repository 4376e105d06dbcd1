"""The standard streams of the process, whatever they are connected to."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from io import TextIOWrapper

# In the order of their numbers.
_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def prepare_streams() -> None:
    """Make stdin, stdout and stderr usable.

    A stream that is closed, as by ``>&-``, is replaced by the null device; otherwise the next file
    that is opened would take its number. A character that stdout cannot encode, such as × on a
    terminal for ASCII, is written as a question mark instead of ending the command.
    """
    for name, mode in _STREAMS:
        if getattr(sys, name) is None:
            # The lowest free number is that of the stream.
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def printable(text: object) -> str:
    """Return a text without the bytes of file names that are not UTF-8, which JSON cannot hold."""
    return str(text).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def flush_output() -> None:
    """Write what is buffered, so that a fault of stdout is reported like others.

    Raises:
        OSError: stdout cannot be written.
    """
    sys.stdout.flush()


def discard_output() -> None:
    """Send what is still buffered nowhere, so that nothing fails when the process ends."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
