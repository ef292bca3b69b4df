"""A node: the supervised runtime, the pod network, the agent and its port.

Enters: Settings with the node's address, Verbs, the node's certificate.
Leaves: a Ready node, until cancelled; its containers and its packet filter go on.
Holds: runtime, network and agent start side by side: none of them waits longer than it has to.
Next: agent.run, daemon.pod_network.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

import trio

from edgekube import limits
from edgekube.agent.leases import give_back, leases_directory
from edgekube.agent.run import run_agent
from edgekube.api.verbs import Verbs
from edgekube.containerd.cri import CriRuntime, connect
from edgekube.containerd.host import RuntimeUnavailable
from edgekube.containerd.supervisor import supervise
from edgekube.daemon.identity import Identity, is_api_server
from edgekube.daemon.pod_network import run_pod_network
from edgekube.notify import notify
from edgekube.settings import Settings
from edgekube.wire.tls import ServerTls

log = logging.getLogger("edgekube")


async def keep_node(
    settings: Settings,
    verbs: Verbs,
    identity: Identity,
    clock: Callable[[], float],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """A node for as long as the server runs; without a usable containerd it is tried again, and the API stays up meanwhile.

    Started once the Node is Ready, or it is known that it cannot be now.
    """
    told = False

    def tell() -> None:
        nonlocal told
        if not told:
            told = True
            task_status.started()

    while True:
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(run_node, settings, verbs, identity, clock)
                notify("STATUS=the node is ready")
                tell()
        except* RuntimeUnavailable as unavailable:
            reason = _first(unavailable)
            log.error("this machine cannot run pods, trying again in %d s: %s", limits.NODE_RETRY_SECONDS, reason)
            notify(f"STATUS=the API is up, but no pods can run: {reason}")
        tell()
        await trio.sleep(limits.NODE_RETRY_SECONDS)


def _first(group: BaseException) -> BaseException:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group


async def _after_a_boot(settings: Settings, runtime: CriRuntime) -> None:
    """What must be put in order once, before the first pod is made; the run directory is empty after a boot."""
    done = settings.run_dir / "booted"
    if done.exists():
        return
    known = {sandbox.id for sandbox in await runtime.list_sandboxes()}
    await trio.to_thread.run_sync(give_back, leases_directory(settings.data_dir), known)
    done.touch()


async def run_node(
    settings: Settings,
    verbs: Verbs,
    identity: Identity,
    clock: Callable[[], float],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Started once the Node is Ready and pods have a network. Raises RuntimeUnavailable when there is no usable containerd."""
    async with supervise(settings) as socket_path, connect(socket_path) as runtime, trio.open_nursery() as nursery:
        await _after_a_boot(settings, runtime)
        async with trio.open_nursery() as starting:
            starting.start_soon(nursery.start, run_pod_network, settings, verbs, settings.node_ip)

            agent = partial(
                run_agent,
                settings,
                verbs,
                runtime,
                tls=ServerTls(identity.node.certificate, identity.node.key, identity.authority_path),
                authorize=is_api_server,
                server=True,
                clock=clock,
            )
            starting.start_soon(nursery.start, agent)
        task_status.started()
