"""Run one command line to its exit code: the one place that turns failures into lines."""

from __future__ import annotations

from collections.abc import Sequence

from typer.exceptions import TyperException

from energy_flow.errors import EnergyFlowError
from energy_flow.runtime.waiting import bound_spinning
from service.cli.app import app
from service.cli.input.failures import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, CommandFailed
from service.cli.input.options import API_KEY_ENV
from service.cli.input.streams import discard_output, flush_output, prepare_streams, printable
from service.cli.input.terminal import print_note


def run_command(arguments: Sequence[str] | None) -> int:
    """Run a command and print its failure, if there is one, as one line to stderr.

    Args:
        arguments: words after the name of the program; ``None`` stands for those of the process.

    Returns:
        The exit code.
    """
    prepare_streams()
    # Before a command imports torch.
    bound_spinning()
    try:
        # The exit code where a command names one; commands return nothing.
        exit_code = app(args=arguments, prog_name="energy-flow", standalone_mode=False) or 0
        flush_output()
    except BrokenPipeError:
        # The reader of stdout has ended, as `head` does. It knows why, and nobody else asks.
        discard_output()
        return EXIT_FAILED
    except Exception as error:
        failure = _describe_failure(error)
        if failure is None:
            raise
        message, exit_code = failure
        if message:
            start = "" if exit_code == EXIT_INTERRUPTED else "error: "
            print_note(start + " ".join(message.split()))
    return int(exit_code)


def _describe_failure(error: Exception) -> tuple[str, int] | None:
    """Return what to print and the exit code; ``None`` for what only a fault of the code raises."""
    match error:
        case CommandFailed():
            return str(error), error.exit_code
        case TyperException():
            return _describe_usage_error(error), error.exit_code
        case OSError():
            return _describe_os_error(error), EXIT_FAILED
        case UnicodeEncodeError():
            what = printable(error.object)
            return f"{what!r} has bytes that are not UTF-8; choose another name", EXIT_FAILED
        case UnicodeDecodeError():
            return f"a file that must be UTF-8 text is not: {error}", EXIT_FAILED
        case MemoryError():
            return "there is not enough memory", EXIT_FAILED
        case EnergyFlowError():
            return str(error), EXIT_FAILED
        case _:
            return _describe_client_error(error)


def _describe_usage_error(error: TyperException) -> str:
    """Return what is wrong with the words of the command line, and where its help is."""
    context = getattr(error, "ctx", None)
    refused = getattr(error.__cause__, "errors", None)
    if refused is not None and hasattr(error, "message"):
        # Of pydantic, which reads the values of options for typer.
        from energy_flow.config.messages import describe_error

        fault = refused()[0]
        error.message = f"{describe_error(fault)} (got {fault['input']!r})"
    # A command without the words that it needs has printed its help.
    message = error.format_message().strip().rstrip(".")
    if not message or message.endswith("?") or context is None:
        return message
    return f"{message}; {context.command_path} --help lists what there is"


def _describe_os_error(error: OSError) -> str:
    """Return which file cannot be used and why, without the number of the error."""
    if error.strerror is None:
        return str(error)
    return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"


def _describe_client_error(error: Exception) -> tuple[str, int] | None:
    # Here, because commands without a server do not need the client.
    from energy_flow.client import Conflict, FlowClientError, Unauthorized

    if isinstance(error, Conflict) and "candidates" in error.extensions:
        # The beginning of an id, with which several begin.
        return str(error), EXIT_USAGE
    if isinstance(error, Unauthorized):
        return f"{error}; give a key with --api-key, or better in {API_KEY_ENV}", EXIT_FAILED
    return (str(error), EXIT_FAILED) if isinstance(error, FlowClientError) else None
