"""NetworkPolicy on this node: follow what it is made of, and keep the packet filter true to it.

Enters: Settings, Verbs.
Leaves: policies in force, until cancelled; the rules stay behind then, because containers go on when edgekube does not.
Holds: needs neither the pod network nor the runtime, so that rules are there before the first pod of a start.
Next: network.policies.enforcer.
"""

from __future__ import annotations

from functools import partial

import trio

from edgekube.api.kinds import NAMESPACE, NETWORKPOLICY, PODADDRESS
from edgekube.api.verbs import Verbs
from edgekube.network import nft
from edgekube.network.policies.enforcer import Enforcer
from edgekube.network.policies.planner import Planner
from edgekube.network.policies.table import TABLE
from edgekube.reconcile.follow import follow
from edgekube.settings import Settings

PART = "policies"


def make_enforcer(settings: Settings) -> Enforcer:
    families = [network.version for network in settings.cluster_networks]
    planner = Planner(settings.node_name, families=families, resolvers=settings.cluster_dns_addresses)
    return Enforcer(planner, memory=settings.agent_dir / "policies.json")


async def run_policies(
    settings: Settings, verbs: Verbs, enforcer: Enforcer, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Started once every policy of the cluster is in force on this node."""
    if PART in settings.disable:
        await trio.to_thread.run_sync(partial(nft.remove_table, TABLE))
        task_status.started()
        return
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow, verbs, NETWORKPOLICY, enforcer.policies)
        nursery.start_soon(follow, verbs, NAMESPACE, enforcer.namespaces)
        nursery.start_soon(follow, verbs, PODADDRESS, enforcer.pods)
        await nursery.start(enforcer.run)
        task_status.started()
