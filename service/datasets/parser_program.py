"""The program of a parser process: converts the Parquet and Arrow files that the server names.

``python -m service.datasets.parser_program MEMORY_BYTES FILE_BYTES SECONDS``. A line of JSON on
stdin is a file, and a line on stdout is what became of it. It ends at the end of stdin.
"""

from __future__ import annotations

import math
import os
import resource
import signal
import sys
from typing import IO

import pyarrow as pa

from service.datasets.formats.column_batches import convert_columns
from service.datasets.parsing.messages import (
    ConversionTask,
    Failed,
    NotWritten,
    Outcome,
    OutOfMemory,
    Refused,
    decode_task,
    encode_message,
)
from service.problems import Problem

THREADS = 2
"""Threads that decode: one for each part. A thread's stack counts as memory."""

SPARE_SECONDS = 10
"""Time after which the process ends by itself, if the server has not ended it."""


def main(memory_bytes: int, file_bytes: int, seconds: float) -> None:
    """Convert files until the end of stdin.

    Args:
        memory_bytes: Most bytes of memory.
        file_bytes: Most bytes of a file that is written.
        seconds: Most seconds for a file, which the server limits.
    """
    answers = _take_stdout()
    _set_limit(resource.RLIMIT_CORE, 0)
    _set_limit(resource.RLIMIT_FSIZE, file_bytes)
    # Not RLIMIT_AS, for which the mapped file would count.
    _set_limit(resource.RLIMIT_DATA, memory_bytes)
    pa.set_cpu_count(THREADS)
    pa.set_io_thread_count(1)
    for line in sys.stdin.buffer:
        # Ends the process also where the server no longer exists.
        signal.alarm(math.ceil(seconds) + SPARE_SECONDS)
        outcome = _convert(decode_task(line))
        signal.alarm(0)
        answers.write(encode_message(outcome))
        answers.flush()


def _convert(task: ConversionTask) -> Outcome:
    try:
        return convert_columns(
            task.source, task.file_format, task.selection, task.results, task.max_bytes
        )
    except Problem as problem:
        return Refused.of(problem)
    except MemoryError:
        return OutOfMemory()
    except OSError as error:
        return NotWritten.of(error)
    except Exception as error:
        return Failed.of(error)


def _take_stdout() -> IO[bytes]:
    """Return stdout for the answers; what a library prints goes to stderr."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def _set_limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    lower = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (lower, lower))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
