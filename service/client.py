"""The former place of :mod:`energy_flow.client`; it goes with the next release."""

import warnings

from energy_flow.client import *  # noqa: F403

warnings.warn(
    "service.client has moved; use energy_flow.client",
    DeprecationWarning,
    stacklevel=2,
)
