"""Tests of permissions: for root, who may read and write everything, they mean nothing."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable

from tests.support.waits import LIMIT_SECONDS

# Of linux/capability.h.
_VERSION_3 = 0x20080522
_IGNORES_PERMISSIONS = (1 << 1) | (1 << 2)
"""``CAP_DAC_OVERRIDE`` and ``CAP_DAC_READ_SEARCH``."""


def call_without_privileges(function: Callable[[], None]) -> None:
    """Call a function in a thread for which the permissions of files count, also for root.

    So they do for the threads that it starts.
    """
    failures: list[BaseException] = []

    def call() -> None:
        try:
            if os.geteuid() == 0:
                _drop_privileges()
            function()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join(LIMIT_SECONDS)
    assert not thread.is_alive()
    if failures:
        raise failures[0]


def _drop_privileges() -> None:
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    # Effective, permitted and inheritable ones, for the lower and the upper 32 of them.
    held = (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    for call in (libc.capget, libc.capset):
        if call(header, held) != 0:
            raise OSError(ctypes.get_errno(), "the privileges cannot be changed")
        held[0] &= ~_IGNORES_PERMISSIONS
        held[1] &= ~_IGNORES_PERMISSIONS
