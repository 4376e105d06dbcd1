"""Whether a server may start without an API key."""

from __future__ import annotations

import shlex

from service.settings import Settings
from service.settings_table import PREFIX
from service.store.keys.open_keys import has_active_key
from service.store.recovery.errors import storage_errors_reported


class OpenAddressError(ValueError):
    """Other machines can reach the server, and there is no API key."""


def check_access(settings: Settings) -> None:
    """Refuse to serve without an API key at an address that other machines can reach.

    Args:
        settings: Of the server.

    Raises:
        OpenAddressError: There is no key, neither in the settings nor in the index.
        RecoveryError: The index cannot be read.
    """
    if not settings.needs_key or settings.api_key is not None:
        return
    with storage_errors_reported(settings.data_dir, settings.index_url):
        if has_active_key(settings.index_url):
            return
    raise OpenAddressError(
        f"other machines can reach host {settings.host!r} and there is no API key; create one "
        f"with: energy-flow key create NAME --data-dir {shlex.quote(str(settings.data_dir))}, "
        f"or set {PREFIX}API_KEY, or {PREFIX}ALLOW_OPEN=1 to serve without one"
    )
