"""``edgekube agent`` on a lab node, with neither address nor token: as a board out of its box.

Enters: a switch, a name, an address, a directory. Leaves: the agent's life as tests.lab.program has it, and the code it shows.
Holds: nothing is left but the disk. Next: tests.e2e_nodes, tests.bench.join_bench.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.lab.cluster import until
from tests.lab.lan import Lan
from tests.lab.node import Node
from tests.lab.program import Program

_CODE = re.compile(r"pairing code=([0-9]{3}-[0-9]{3}) node=(\S+)")


class Newcomer(Program):
    noun = "agent"

    def codes(self) -> list[tuple[str, str]]:
        """(code, node name) of each that it has shown."""
        return _CODE.findall(self.log.read_text(errors="replace")) if self.log.exists() else []

    def next_code(self, after: int = 0) -> tuple[str, str]:
        """The first that it shows after so many others."""
        return until(lambda: self.codes()[after:], seconds=90)[0]

    def exit_code(self) -> int:
        assert self._process is not None
        return self._process.wait(90)


@contextmanager
def newcomer(lan: Lan, name: str, address: str, disk: Path, *, arguments: Sequence[str] = ()) -> Iterator[Newcomer]:
    """A machine that is on, and nothing started on it yet."""
    node = Node(lan, name, address, disk)
    try:
        node.power_on()
        yield Newcomer(node, arguments=arguments)
    finally:
        node.close()
