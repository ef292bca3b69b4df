"""This machine's announcement on the LAN: which cluster, which role, which port.

Enters: Settings, the cluster's facts.
Leaves: a task that announces until it is cancelled.
Holds: nothing secret is told; addresses of pods and services are not.
Next: discovery.announce.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from edgekube.api.cluster_facts import ClusterFacts, default_name
from edgekube.api.verbs import Verbs
from edgekube.daemon.lan_names import FollowedNames
from edgekube.settings import Settings
from edgekube.version import GIT_VERSION

if TYPE_CHECKING:
    from edgekube.discovery.announcement import Announcement


async def announce_server(settings: Settings, facts: Callable[[], ClusterFacts], verbs: Verbs) -> None:
    """A server, at the port of its API, and the names that Services ask for."""
    from edgekube.discovery.announce import announce
    from edgekube.discovery.announcement import Announcement, may_be_announced
    from edgekube.pki.join_token import fingerprints

    def describe(addresses: tuple[str, ...]) -> Announcement:
        now = facts()
        return Announcement(
            node=settings.node_name,
            role="server",
            cluster_id=now.cluster_id,
            cluster_name=now.name if may_be_announced(now.name) else default_name(now.cluster_id),
            ca=fingerprints(now.authorities)[0],
            version=GIT_VERSION,
            addresses=addresses,
            port=settings.https_port,
        )

    names = FollowedNames()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(names.run, verbs)
        await announce(describe, avoid=own_networks(facts()), names=names)


def own_networks(facts: ClusterFacts) -> tuple[str, ...]:
    """The ranges of pods and services, of both families."""
    return tuple(cidr for text in (facts.cluster_cidr, facts.service_cidr) for cidr in text.split(",") if cidr)
