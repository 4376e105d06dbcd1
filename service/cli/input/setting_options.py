"""The options of ``energy-flow serve``, made from the table of settings."""

from __future__ import annotations

from enum import Enum
from inspect import Parameter, Signature
from types import NoneType, UnionType
from typing import Annotated, Any, get_args

import typer

from service.settings_table import SETTINGS, Setting


def settings_signature() -> Signature:
    """Return a signature with an option for each setting, for typer to read.

    The default of every option is ``None``: an option that is not given leaves the setting to its
    environment variable and its default.
    """
    return Signature(
        [
            Parameter(
                setting.name,
                Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[_option_type(setting), _option(setting)],
            )
            for setting in SETTINGS
        ]
    )


def _option_type(setting: Setting) -> Any:
    """Return the type as typer reads it from one or more words."""
    if setting.is_list:
        return list[str] | None
    kind = setting.type
    if isinstance(kind, UnionType):
        (kind,) = (one for one in get_args(kind) if one is not NoneType)
    # Settings refuses other names, so that those in variables are refused in the same words.
    return (str if issubclass(kind, Enum) else kind) | None


def _option(setting: Setting) -> Any:
    return typer.Option(
        help=setting.help,
        metavar=setting.about.metavar,
        rich_help_panel=setting.about.group,
        show_default=False,
    )
