"""``KeyRing``: the API keys that requests may carry, in memory."""

from __future__ import annotations

import hmac
import logging
import threading
from dataclasses import dataclass
from typing import Final

from energy_flow.choices import KeyRole
from service.store.keys.secret import digest_secret
from service.store.keys.stored_keys import StoredKeys

log = logging.getLogger(__name__)

REFRESH_SECONDS: Final = 1.0
"""How often the keys of the index are read; the command that changes them is another process."""

SETTING: Final = "API_KEY"
"""Name of the key that is a setting of the server."""


@dataclass(frozen=True, slots=True)
class ActiveKey:
    """A key that can be used.

    Attributes:
        name: Its name.
        id: Its id; ``None`` for the key that is a setting.
        role: What it allows.
        digest: Its SHA-256.
    """

    name: str
    id: str | None
    role: KeyRole
    digest: bytes


class KeyRing:
    """The key of the settings, and those of the index, which a thread reads again and again.

    Any thread may call any method.

    Args:
        api_key: The key of the settings, if there is one.
        is_required: Whether requests need a key also if there is none.
    """

    def __init__(self, api_key: str | None, *, is_required: bool = False) -> None:
        self._own: tuple[ActiveKey, ...] = ()
        if api_key is not None:
            digest = digest_secret(api_key.encode())
            self._own = (ActiveKey(SETTING, None, KeyRole.ADMIN, digest),)
        self._keys: tuple[ActiveKey, ...] = self._own
        self._is_required = is_required or bool(self._own)
        self._is_read = False
        self._can_be_read = True
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_open(self) -> bool:
        """Whether requests need no key.

        False until the keys of the index are known. Once it is false after that, it stays so: that
        the last key is revoked must not open the server to everyone.
        """
        return self._is_read and not self._is_required

    @property
    def is_required(self) -> bool:
        """Whether it is known that requests need a key."""
        return self._is_required

    @property
    def is_complete(self) -> bool:
        """Whether the keys of the index are known."""
        return self._is_read

    def find(self, secret: bytes) -> ActiveKey | None:
        """Return the key that a request carries, if it can be used.

        Args:
            secret: What the request has as its key.
        """
        digest = digest_secret(secret)
        found = None
        # All are compared, so that the time says nothing.
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found

    def is_active(self, key: ActiveKey) -> bool:
        """Return whether a key can still be used.

        Args:
            key: A key that was found.
        """
        return key in self._keys

    def start(self, stored: StoredKeys) -> None:
        """Read the keys of the index, and start the thread that reads them again.

        Args:
            stored: The keys of the index, which stays open until :meth:`stop`.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: They cannot be read.
        """
        self._read(stored)
        self._thread = threading.Thread(
            target=self._work, args=(stored,), name="api-keys", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _work(self, stored: StoredKeys) -> None:
        while not self._stopping.wait(REFRESH_SECONDS):
            try:
                self._read(stored)
                self._can_be_read = True
            except Exception:
                # Those that were read last stay valid. One line is enough for all failures in a
                # row.
                if self._can_be_read:
                    log.exception("the API keys cannot be read; those of the last time are used")
                self._can_be_read = False

    def _read(self, stored: StoredKeys) -> None:
        rows = stored.find_all(revoked=False)
        keys = tuple(
            ActiveKey(row.name, row.id, KeyRole(row.role), bytes.fromhex(row.digest))
            for row in rows
        )
        self._keys = (*self._own, *keys)
        self._is_required = self._is_required or bool(keys)
        self._is_read = True
