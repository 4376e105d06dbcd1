"""Folders of the data directory, which others can remove or protect while the server runs."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from pathlib import Path
from typing import Any, Final

from service.problems import UnusablePath
from service.store.atomic_files import fsync

log = logging.getLogger(__name__)

IDENTITY: Final = "identity.json"
"""File of its id in a data directory. A disk that was unmounted leaves a folder without it."""


def make_again(folder: Path) -> None:
    """Make a folder of the data directory if it was removed.

    Args:
        folder: The folder, directly in the data directory.

    Raises:
        UnusablePath: The data directory itself is gone.
        OSError: The folder could not be made.
    """
    if folder.is_dir():
        return
    if not (folder.parent / IDENTITY).is_file():
        raise UnusablePath(
            folder,
            f"it does not exist, and {folder.parent} has no {IDENTITY}",
            "mount or restore the data directory, and start the server again",
        )
    folder.mkdir(exist_ok=True)
    fsync(folder.parent)
    log.warning("made the folder %s again, which was removed", folder)


def check_removable(path: Path) -> None:
    """Refuse to remove a file or a folder that the system would not let this process remove.

    Args:
        path: File, or folder with its content. Nothing happens if there is none.

    Raises:
        OSError: It cannot be removed.
    """
    if not os.path.lexists(path):
        return
    for folder in (path.parent, path):
        if folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK):
            raise explain_refusal(folder)


def remove_unreferenced(path: Path) -> None:
    """Remove a file whose row is gone; one that stays is put into quarantine by the next start.

    Args:
        path: The file; nothing happens if there is none.
    """
    try:
        path.unlink(missing_ok=True)
        # Also if it was removed before, to make room: a power cut would bring it back.
        fsync(path.parent)
    except OSError as error:
        log.warning("%s, which nothing refers to, stays until the next start: %s", path, error)


def remove_tree(path: Path) -> str | None:
    """Remove a file, or a folder with its content, as far as the system lets this process do so.

    Args:
        path: File or folder; nothing happens if there is none.

    Returns:
        Why something of it stays, if it does.
    """
    kept: list[str] = []

    def keep(_function: Any, place: str, info: Any) -> None:
        error = info[1]
        if not isinstance(error, FileNotFoundError):
            kept.append(f"{place}: {error.strerror}")

    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, onerror=keep)
    else:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            return f"{path}: {error.strerror}"
    # What follows the first one is that the folders with it are not empty.
    return kept[0] if kept else None


def explain_refusal(path: Path) -> OSError:
    """Return the error of the system for a path that may not be written.

    Args:
        path: File or folder that exists.
    """
    is_read_only = os.statvfs(path).f_flag & os.ST_RDONLY
    code = errno.EROFS if is_read_only else errno.EACCES
    return OSError(code, os.strerror(code), str(path))
