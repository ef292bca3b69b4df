"""The loops that look after the node as a whole, put together: cgroups above the pods', unused images, eviction, shutdown.

Enters: the node's context, its pods, facts and thresholds.
Leaves: loops that share what they know.
Holds: nothing of its own; at rest one look at a few files of the kernel each 10 s.
Next: agent.cgroup_tree, agent.images.collecting, agent.eviction.loop, agent.shutdown.logind.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator

import trio

from edgekube.agent.cgroup_tree import CgroupTree
from edgekube.agent.context import NodeContext
from edgekube.agent.eviction.loop import Evictor
from edgekube.agent.eviction.thresholds import Threshold
from edgekube.agent.facts import Facts
from edgekube.agent.images.collecting import Collector
from edgekube.agent.images.records import PullRecords
from edgekube.agent.pods import Pods
from edgekube.agent.podspec import all_containers
from edgekube.agent.reservations import pods_share
from edgekube.agent.shutdown.logind import ShutdownWatch
from edgekube.agent.worker import PodWorker
from edgekube.api.objects import Object, spec_of
from edgekube.containerd.model import RuntimeFailure

log = logging.getLogger("edgekube.agent")


async def keep_house(
    node: NodeContext, pods: Pods, facts: Facts, thresholds: tuple[Threshold, ...], records: PullRecords
) -> None:
    """For ever."""
    share = pods_share(facts, node.settings.node)

    def here() -> Iterator[PodWorker]:
        return (worker for worker in pods.workers() if worker.holds_resources())

    tree = CgroupTree(node.cgroups, share, node.settings.node, lambda: (worker.held() for worker in here()), node.node_event)
    node.rebalance = tree.poke
    collector = Collector(
        node.runtime,
        node.settings.node,
        node.settings.containerd_root,
        lambda: _named(worker.pod() for worker in here()),
        node.node_event,
        node.clock,
        records,
    )

    async def reclaim() -> None:
        try:
            await collector.remove_unused()
        except RuntimeFailure as failure:
            log.warning("images not collected error=%s", failure.message)

    evictor = Evictor(node, pods.workers, thresholds, share.memory_bytes, reclaim, lambda: node.state.press(evictor.pressures))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tree.run)
        # Before it is known which pods there are, no image is unused.
        nursery.start_soon(_after, pods, collector.run)
        nursery.start_soon(_after, pods, evictor.run)
        nursery.start_soon(ShutdownWatch(node.state, node.settings.node, pods.workers).run)


async def _after(pods: Pods, run: Callable[[], Awaitable[None]]) -> None:
    await pods.synced.wait()
    await run()


def _named(pods: Iterable[Object]) -> Iterator[str]:
    for pod in pods:
        for container in all_containers(pod):
            yield container.get("image") or ""
        for volume in spec_of(pod).get("volumes") or []:
            yield (volume.get("image") or {}).get("reference") or ""
