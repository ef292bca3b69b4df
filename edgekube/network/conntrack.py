"""Forget tracked UDP flows to targets that are gone: UDP has no connection that would fail by itself.

Enters: (service address or "" for node ports, port, target).
Leaves: conntrack deletions. Next: network.proxy.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

import trio

from edgekube.network.endpoints import Target

log = logging.getLogger("edgekube.network")


def deletion(address: str, port: int, target: Target) -> list[str]:
    """The conntrack command line that deletes the flows of one target. Exit 1 only says that there were none."""
    command = ["conntrack", "-D", "-f", "ipv4", "-p", "udp", "--orig-port-dst", str(port), "--reply-src", target.address]
    if address:
        command += ["--orig-dst", address]
    return command


async def forget(flows: Iterable[tuple[str, int, Target]]) -> None:
    for address, port, target in sorted(flows):
        done = await trio.run_process(deletion(address, port, target), check=False, capture_stdout=True, capture_stderr=True)
        if done.returncode not in (0, 1):
            log.warning("conntrack failed target=%s:%d: %s", *target, done.stderr.decode(errors="replace").strip())
