"""A place on the network without a node: a neighbour, or an attacker's laptop.

Enters: a Lan, a name, an address. Leaves: commands that run there and sockets that belong there.
Holds: it shares nothing with the nodes but the wire. Next: tests.lab.inside.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab.lan import Lan
from tests.lab.node import ROOT
from tests.lab.shell import run


class Guest:
    def __init__(self, lan: Lan, name: str, address: str) -> None:
        self.lan = lan
        self.name = name
        self.address = address
        self.namespace = lan.plug(name, address)

    def inside(self, command: list[str]) -> list[str]:
        """The command line that runs ``command`` there."""
        return ["nsenter", f"--net=/run/netns/{self.namespace}", *command]

    def run(self, command: list[str], *, timeout_seconds: float = 150, check: bool = True, stdin: str | None = None) -> str:
        return run(self.inside(command), timeout_seconds=timeout_seconds, check=check, stdin=stdin)

    def start(self, command: list[str], log: Path) -> subprocess.Popen[bytes]:
        """A background process there; kill() ends it."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        with log.open("ab") as output:
            return subprocess.Popen(
                self.inside(command), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment
            )

    def close(self) -> None:
        self.lan.unplug(self.namespace)


@contextmanager
def guest(lan: Lan, name: str, address: str) -> Iterator[Guest]:
    place = Guest(lan, name, address)
    try:
        yield place
    finally:
        place.close()
