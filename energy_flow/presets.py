"""The former place of ``energy_flow.config.presets``; it goes with the next release."""

import warnings

from energy_flow.config.presets import *  # noqa: F403

warnings.warn(
    "energy_flow.presets has moved; use `from energy_flow import presets`",
    DeprecationWarning,
    stacklevel=2,
)
