"""Configs of models and runs, their validation, and the presets."""

from energy_flow.config.flow_config import FlowConfig

__all__ = ["FlowConfig"]
