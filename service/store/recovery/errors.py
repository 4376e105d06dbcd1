"""Why a data directory is not used or changed."""

from __future__ import annotations


class DataDirInUseError(RuntimeError):
    """The data directory is used by another process."""


class DataDirMismatchError(RuntimeError):
    """The data directory and the index do not belong together, or one of them is lost."""


class RecoveryError(RuntimeError):
    """A command on a data directory cannot do what was asked for; nothing was changed."""
