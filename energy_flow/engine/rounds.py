"""``run_rounds``: the loop of the engine's thread, which survives exceptions where it can."""

from __future__ import annotations

import logging
from collections.abc import Callable

from energy_flow.engine.failures import first_line
from energy_flow.errors import EngineFailed

logger = logging.getLogger(__name__)

MAX_FAULTS = 3
"""Rounds in a row that may fail before the loop ends."""


def run_rounds(do_round: Callable[[], bool], recover: Callable[[EngineFailed], None]) -> str | None:
    """Call a function until there is no further round, and return why no other can follow.

    Args:
        do_round: does a round, and returns whether another one follows. ``EngineFailed`` and an
            exit of the thread end the loop; after another exception it goes on.
        recover: called with what ended the runs of a round that failed.

    Returns:
        None after a round that no other one follows.
    """
    faults = 0
    try:
        while True:
            try:
                if not do_round():
                    return None
                faults = 0
            except Exception as error:
                faults += 1
                if isinstance(error, EngineFailed) or faults == MAX_FAULTS:
                    raise
                logger.exception("the engine failed outside a run; its runs end, it goes on")
                recover(
                    EngineFailed(
                        f"the engine failed outside the run ({first_line(error)}); submit the run "
                        "again"
                    )
                )
    except BaseException as error:
        logger.critical("the engine has failed; start the process again", exc_info=True)
        return str(error) if isinstance(error, EngineFailed) else first_line(error)
