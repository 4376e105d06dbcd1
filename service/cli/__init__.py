"""The command line, ``energy-flow``; a module for each command.

A command imports what it needs when it runs. The help and the commands that use a server work with
the plain package, without torch and the server's packages.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; print a failure in one line and exit with its code.

    Args:
        arguments: words after the name of the program; by default those of the process.
    """
    # Imported here, so that Ctrl-C during an import ends in one line as well.
    try:
        from service.cli.run_command import run_command

        exit_code = run_command(arguments)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        exit_code = 130
    sys.exit(exit_code)
