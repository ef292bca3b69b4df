"""The ``edgekube`` command: nouns and verbs, each loaded only when it is asked for.

Enters: argv. Leaves: the exit code; errors in one line that says what to do next.
Holds: decides nothing; a noun's file is imported when the noun is used, so that a server does not carry the others.
Next: cli.server, cli.status, cli.check…
"""

from __future__ import annotations

import importlib
import sys
from typing import Final

import click

from edgekube.version import GIT_VERSION

#: Noun -> module of its command, in the order of --help.
NOUNS: Final = {
    "server": "edgekube.cli.server",
}


class _Nouns(click.Group):
    def list_commands(self, context: click.Context) -> list[str]:
        return list(NOUNS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        module = NOUNS.get(name)
        if module is None:
            return None
        command: click.Command = importlib.import_module(module).command
        return command


@click.group(cls=_Nouns, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(GIT_VERSION, message="edgekube %(version)s")
def edgekube() -> None:
    """A Kubernetes cluster for small machines."""


def main() -> None:
    try:
        edgekube(prog_name="edgekube")
    except KeyboardInterrupt:
        sys.exit(130)
