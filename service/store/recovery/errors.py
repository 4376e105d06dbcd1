"""Why a data directory is not used or changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from service.problems import Problem, find_damage, find_unusable_path, is_disk_full
from service.store.database import NewerIndexError
from service.store.index_file import find_index_file


class DataDirInUseError(RuntimeError):
    """The data directory is used by another process."""


class DataDirMismatchError(RuntimeError):
    """The data directory and the index do not belong together, or one of them is lost."""


class RecoveryError(RuntimeError):
    """A command on a data directory cannot do what was asked for; nothing was changed."""


def describe_full_disk(data_dir: Path, url: URL) -> str:
    """Return what to do about a full disk.

    Args:
        data_dir: The data directory.
        url: URL of its index.
    """
    index = find_index_file(url)
    is_beside = index is None or data_dir.resolve() in index.resolve().parents
    elsewhere = "" if is_beside else f" or that of the index {index}"
    return f"the disk of {data_dir}{elsewhere} is full; free some room on it first"


@contextmanager
def storage_errors_reported(data_dir: Path, url: URL) -> Iterator[None]:
    """Raise a failure of the files or the index within the block as one that a user can read.

    Args:
        data_dir: The data directory.
        url: URL of its index.

    Raises:
        RecoveryError: They cannot be used.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise RecoveryError(
            f"the index needs the Python package {error.name}; install it, or check --database-url"
        ) from None
    except (NewerIndexError, Problem) as error:
        raise RecoveryError(str(error)) from None
    except (OSError, SQLAlchemyError) as error:
        if is_disk_full(error):
            raise RecoveryError(describe_full_disk(data_dir, url)) from None
        # What cannot be reached is not damaged.
        problem = find_unusable_path(error) or (
            None if isinstance(error, OperationalError) else find_damage(error)
        )
        if problem is not None:
            raise RecoveryError(problem.detail) from None
        if isinstance(error, OSError):
            raise
        reason = str(getattr(error, "orig", None) or error)
        raise RecoveryError(f"the index cannot be used: {reason}; check --database-url") from None
