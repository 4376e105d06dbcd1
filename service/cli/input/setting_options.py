"""The options of ``energy-flow serve``, made from the table of settings."""

from __future__ import annotations

from inspect import Parameter, Signature
from typing import Annotated, Any

import typer

from service.cli.input.options import complete
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
    if setting.type is bool:
        return bool | None
    # Settings reads the words, so that those of options and of variables are refused alike.
    return (list[str] if setting.is_list else str) | None


def _option(setting: Setting) -> Any:
    return typer.Option(
        help=setting.help,
        metavar=setting.metavar,
        rich_help_panel=setting.about.group,
        show_default=False,
        autocompletion=None if setting.choices is None else complete(setting.choices),
    )
