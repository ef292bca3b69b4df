"""Other ranges for a node's pods than before: its Node was deleted, and what it had belongs to another node now.

Enters: the runtime, this node's ranges.
Leaves: no pod with an address of another range; the agent makes them anew.
Holds: host network pods, and pods whose addresses are right, are not touched.
Next: daemon.node.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from ipaddress import ip_address, ip_network

from edgekube.containerd.model import RuntimeFailure
from edgekube.containerd.protocol import Runtime

log = logging.getLogger("edgekube.network")


class RangesChanged(Exception):
    """The API gave this node other ranges than those that it works with."""


async def end_strangers(runtime: Runtime, pod_cidrs: Sequence[str]) -> None:
    """Pods that no other node would find: their addresses are not of this node's ranges."""
    networks = [ip_network(cidr) for cidr in pod_cidrs]
    for sandbox in await runtime.list_sandboxes():
        try:
            addresses = [ip_address(text) for text in (await runtime.sandbox_status(sandbox.id)).ips]
            if all(any(address in network for network in networks) for address in addresses):
                continue
            log.warning("pod %s/%s has an address of another range: it starts anew", sandbox.namespace, sandbox.name)
            await runtime.stop_sandbox(sandbox.id)
        except RuntimeFailure as failure:
            log.warning("sandbox %s could not be looked at or stopped: %s", sandbox.id, failure.message)
