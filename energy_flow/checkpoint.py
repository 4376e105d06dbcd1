"""The former place of ``energy_flow.simulation.checkpoint``; it goes with the next release."""

import warnings

from energy_flow.simulation.checkpoint import *  # noqa: F403

warnings.warn(
    "energy_flow.checkpoint has moved; use `from energy_flow import checkpoint`",
    DeprecationWarning,
    stacklevel=2,
)
