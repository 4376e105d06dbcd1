"""Why a data directory is not used or changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import OperationalError, SQLAlchemyError

from service.problems import find_damage


class DataDirInUseError(RuntimeError):
    """The data directory is used by another process."""


class DataDirMismatchError(RuntimeError):
    """The data directory and the index do not belong together, or one of them is lost."""


class RecoveryError(RuntimeError):
    """A command on a data directory cannot do what was asked for; nothing was changed."""


@contextmanager
def index_errors_reported() -> Iterator[None]:
    """Raise a failure of the index within the block as one that a user can read.

    Raises:
        RecoveryError: The index cannot be used.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise RecoveryError(
            f"the index needs the Python package {error.name}; install it, or check --database-url"
        ) from None
    except SQLAlchemyError as error:
        # What cannot be reached is not damaged.
        damage = None if isinstance(error, OperationalError) else find_damage(error)
        if damage is not None:
            raise RecoveryError(damage.detail) from None
        reason = str(getattr(error, "orig", None) or error)
        raise RecoveryError(f"the index cannot be used: {reason}; check --database-url") from None
