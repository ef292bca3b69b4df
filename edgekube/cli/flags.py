"""The settings as flags of a command, and what was typed as Settings.

Enters: a click command. Leaves: the command with one flag per row of cli.options.
Holds: a setting that cannot be used ends the command with exit code 2 and the reason. Next: cli.server.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from edgekube.cli.option import OptionError
from edgekube.cli.options import OPTIONS, resolve
from edgekube.settings import CONFIG_FILE, Settings

Command = TypeVar("Command", bound=Callable[..., Any])


def with_settings(names: frozenset[str] | None = None) -> Callable[[Command], Command]:
    """Add --config and the flags (all, or those named); the command takes them as ``**typed``."""

    def decorate(command: Command) -> Command:
        for option in reversed(OPTIONS):
            if names is not None and option.name not in names:
                continue
            if option.is_flag:
                command = click.option(f"--{option.name}", is_flag=True, default=None, help=option.help)(command)
            else:
                add = click.option(f"--{option.name}", metavar=option.metavar, multiple=option.multiple, help=option.help)
                command = add(command)
        return click.option("--config", metavar="FILE", help=f"Read settings from this file (default: {CONFIG_FILE}).")(command)

    return decorate


def settings_from(typed: dict[str, Any]) -> Settings:
    """Settings from what click collected. Ends the command on an unusable one."""
    config = typed.pop("config", None)
    given = {name.replace("_", "-"): value for name, value in typed.items() if value not in (None, ())}
    try:
        return resolve(given, os.environ, Path(config) if config else None)
    except OptionError as error:
        raise click.UsageError(str(error)) from None
