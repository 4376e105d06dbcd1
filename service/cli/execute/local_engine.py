"""An engine in this process, within the memory that a server would use; needs torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from energy_flow.engine import Engine
from energy_flow.runtime.device import resolve_device
from energy_flow.runtime.limits import memory_limit
from service.settings_table import SettingsTable


@contextmanager
def running_engine(device: str) -> Iterator[Engine]:
    """Run an engine until the block ends; after Ctrl-C it stops at the end of its step.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Yields:
        The engine.

    Raises:
        ConfigError: there is no such device.
    """
    place = resolve_device(device)
    share = SettingsTable.memory_limit
    engine = Engine(
        device=place,
        memory_limit_bytes=memory_limit(place, share),
        host_limit_bytes=None if place == "cpu" else memory_limit("cpu", share),
    )
    engine.start()
    try:
        yield engine
    finally:
        engine.stop()
