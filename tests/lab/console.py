"""A lab that is up, told from another terminal what shall go wrong.

Enters: a line of words such as ``silence n2 n3``.
Leaves: what was done, or what would have been right, as text.
Holds: a fault stays until ``heal``, which ends them all; nothing is done to anything but this lab.
Next: tests.lab.lan, tests.lab.clusters.
"""

from __future__ import annotations

import os
import shlex
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Final

from tests.lab.clusters import MultiCluster

_DIRECTORY: Final = Path("/run")
_PATTERN: Final = "edgekube-lab-{}.sock"
_LINE_BYTES_MAX: Final = 4096

WORDS: Final = """\
nodes                    who there is, and where
pull NODE                take the cable out; plug NODE puts it back
silence NODE [NODE]      neither hears the other (or anybody), with links up
deaf NODE [NODE]         the first does not hear the second (or anybody); the other way all is well
loss NODE PERCENT        so many frames to and from the node get lost
slow NODE KBIT           a thin line, in kbit/s
move NODE ADDRESS        a new DHCP lease
off NODE                 pull the plug; on NODE boots it and starts edgekube again
heal                     end every fault; who is off stays off"""


class Console:
    def __init__(self, cluster: MultiCluster) -> None:
        self._cluster = cluster
        self._faults = ExitStack()
        self._words: dict[str, Callable[..., str]] = {
            "nodes": self._nodes,
            "pull": lambda node: self._do(self._cluster.lan.cable_pulled(self._known(node))),
            "plug": self._plug,
            "silence": lambda node, other=None: self._do(self._cluster.lan.silence(self._known(node), self._other(other))),
            "deaf": lambda node, other=None: self._do(self._cluster.lan.deaf(self._known(node), self._other(other))),
            "loss": lambda node, percent: self._do(self._cluster.lan.loss(self._known(node), int(percent))),
            "slow": lambda node, kbit: self._do(self._cluster.lan.slow(self._known(node), kilobits_per_second=int(kbit))),
            "move": self._move,
            "off": self._off,
            "on": self._on,
            "heal": self._heal,
            "enter": lambda node: shlex.join(self._cluster.node(self._known(node)).inside([])),
        }

    def answer(self, line: str) -> str:
        word, *rest = shlex.split(line) or ["help"]
        if word not in self._words:
            return WORDS
        try:
            return self._words[word](*rest)
        except (TypeError, ValueError, AssertionError) as error:
            return f"{word}: {error}\n{WORDS}"

    def close(self) -> None:
        self._faults.close()

    def _known(self, name: str) -> str:
        names = [program.name for program in self._cluster.programs]
        if name not in names:
            raise ValueError(f"{name} is not one of {', '.join(names)}")
        return name

    def _other(self, name: str | None) -> str | None:
        return None if name is None else self._known(name)

    def _do(self, fault: AbstractContextManager[None]) -> str:
        self._faults.enter_context(fault)
        return "done; heal ends it"

    def _nodes(self) -> str:
        lines = []
        for program in self._cluster.programs:
            state = "running" if program.running else "off" if not program.node.on else "ended"
            lines.append(f"{program.name}  {program.node.address:15}  {program.noun:6}  {state:7}  log {program.log}")
        return "\n".join(lines)

    def _plug(self, node: str) -> str:
        self._cluster.lan.plug_cable(self._known(node))
        return "done"

    def _move(self, node: str, address: str) -> str:
        self._cluster.node(self._known(node)).change_address(address)
        return f"{node} has {address}"

    def _off(self, node: str) -> str:
        self._cluster.program(self._known(node)).power_off()
        return f"{node} is off"

    def _on(self, node: str) -> str:
        program = self._cluster.program(self._known(node))
        if program.node.on:
            raise ValueError(f"{node} is on")
        program.node.power_on()
        program.launch()
        return f"{node} is starting"

    def _heal(self) -> str:
        self._faults.close()
        return "healed"


@contextmanager
def listening(console: Console, prefix: str) -> Iterator[None]:
    """Answer other terminals for the length of the ``with``."""
    path = _DIRECTORY / _PATTERN.format(prefix)
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        os.chmod(path, 0o600)
        listener.listen(4)
        threading.Thread(target=_serve, args=(listener, console), daemon=True).start()
        try:
            yield
        finally:
            path.unlink()
            listener.shutdown(socket.SHUT_RDWR)
            console.close()


def _serve(listener: socket.socket, console: Console) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:  # closed: the lab goes down
            return
        with connection:
            line = connection.recv(_LINE_BYTES_MAX).decode(errors="replace")
            connection.sendall(console.answer(line).encode())


def tell(line: str, prefix: str = "*") -> str:
    """Say the line to the lab of this prefix, by default to whichever is up. Raises LookupError unless there is exactly one."""
    found = sorted(_DIRECTORY.glob(_PATTERN.format(prefix)))
    if len(found) != 1:
        raise LookupError("no lab is up: python -m tests.lab up" if not found else f"several labs are up: {found}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(str(found[0]))
        connection.sendall(line.encode())
        connection.shutdown(socket.SHUT_WR)
        said = b""
        while data := connection.recv(65536):
            said += data
    return said.decode()
