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

from edgekube.loading import loading
from edgekube.version import GIT_VERSION

#: Noun -> module of its command, in the order of --help.
NOUNS: Final = {
    "server": "edgekube.cli.server",
    "agent": "edgekube.cli.agent",
    "check": "edgekube.cli.check",
    "status": "edgekube.cli.status",
    "discover": "edgekube.cli.discover",
    "kubeconfig": "edgekube.cli.kubeconfig",
    "token": "edgekube.cli.token",
    "node": "edgekube.cli.node",
    "certificate": "edgekube.cli.certificate",
    "image": "edgekube.cli.image",
    "uninstall": "edgekube.cli.uninstall",
}

#: What people type out of habit, and the command that does it.
_KUBECTL: Final = frozenset({"apply", "create", "delete", "describe", "exec", "get", "kubectl", "logs", "run", "scale"})


class _Nouns(click.Group):
    def list_commands(self, context: click.Context) -> list[str]:
        return list(NOUNS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        module = NOUNS.get(name)
        if module is None:
            return None
        with loading():
            command: click.Command = importlib.import_module(module).command
        return command

    def resolve_command(self, context: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in NOUNS:
            context.fail(unknown_noun(args[0]))
        return super().resolve_command(context, args)


def unknown_noun(name: str) -> str:
    """What to type instead."""
    import difflib  # only for this message

    if name in _KUBECTL:
        return f"there is no command {name!r}: use kubectl with the file that 'edgekube kubeconfig' prints"
    near = difflib.get_close_matches(name, NOUNS, n=1)
    if near:
        return f"there is no command {name!r}; did you mean 'edgekube {near[0]}'?"
    return f"there is no command {name!r}; the commands are {', '.join(NOUNS)}"


@click.group(cls=_Nouns, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(GIT_VERSION, message="edgekube %(version)s")
def edgekube() -> None:
    """A Kubernetes cluster for small machines."""


def main() -> None:
    try:
        edgekube(prog_name="edgekube")
    except KeyboardInterrupt:
        sys.exit(130)
