"""Port numbers for programs that tests start and that must be told theirs.

Enters: nothing. Leaves: a number that nobody listens on.
Holds: it is below those that the kernel gives to whoever does not choose: no connection of a test beside this one can take it
between here and there.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
from pathlib import Path
from typing import Final

_FIRST: Final = 20_000


def free_port() -> int:
    below = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        number = _FIRST + secrets.randbelow(below - _FIRST)
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:  # on both stacks
            probe.bind(("", number))
            return number
