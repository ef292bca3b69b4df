"""A node: the supervised runtime, the pod network, the agent and its port.

Enters: Settings, Verbs, NodeCredentials, the node's addresses, which somebody keeps current.
Leaves: a Ready node, until cancelled; its containers and its packet filter go on.
Holds: runtime, network and agent start side by side: none of them waits longer than it has to.
Next: agent.run, daemon.pod_network.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import trio
from msgspec import Struct

from edgekube import limits
from edgekube.agent.access import Review
from edgekube.agent.leases import give_back, leases_directory
from edgekube.agent.run import run_agent
from edgekube.api.verbs import Verbs
from edgekube.containerd.cri import CriRuntime, connect
from edgekube.containerd.host import RuntimeUnavailable
from edgekube.containerd.shims import end_abandoned
from edgekube.containerd.supervisor import supervise
from edgekube.daemon.identity import is_api_server
from edgekube.daemon.pod_network import run_pod_network
from edgekube.daemon.pod_ranges import RangesChanged
from edgekube.daemon.policies import PART, make_enforcer, run_policies
from edgekube.metrics import Family
from edgekube.network.node_addresses import NodeAddresses
from edgekube.notify import notify
from edgekube.pki.clock import Clock
from edgekube.settings import Settings
from edgekube.wire.client import Dial
from edgekube.wire.tls import ServerTls

log = logging.getLogger("edgekube")


class NodeCredentials(Struct, frozen=True):
    """What the node's port shows, and whom it lets in."""

    certificate: Path
    key: Path
    authorities: Path
    #: The peer's certificate, verified by TLS -> is it the API server's?
    authorize: Callable[[bytes | None], bool] = is_api_server
    #: Opens a connection to the API server, which may then ask back on it; None in the server's own process.
    dial_server: Dial | None = None
    #: Who answers whether somebody else may ask this node; None: the API server elsewhere.
    review: Review | None = None
    #: What its client counts; nothing in the server's own process.
    figures: tuple[Family, ...] = ()


async def keep_node(
    settings: Settings,
    verbs: Verbs,
    credentials: NodeCredentials,
    clock: Clock,
    addresses: NodeAddresses,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """A node for as long as the process runs; without a usable containerd it is tried again, and an API beside it stays up.

    Started once the Node is Ready, or it is known that it cannot be now.
    """
    told = False

    def tell() -> None:
        nonlocal told
        if not told:
            told = True
            task_status.started()

    while True:
        pause_seconds = limits.NODE_RETRY_SECONDS
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(run_node, settings, verbs, credentials, clock, addresses)
                notify("STATUS=the node is ready")
                tell()
        except* RuntimeUnavailable as unavailable:
            reason = _first(unavailable)
            log.error("this machine cannot run pods, trying again in %d s: %s", limits.NODE_RETRY_SECONDS, reason)
            notify(f"STATUS=no pods can run: {reason}")
        except* RangesChanged:
            log.warning("this node's pods get other ranges of addresses: it begins anew")
            pause_seconds = 0.0
        tell()
        await trio.sleep(pause_seconds)


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
    credentials: NodeCredentials,
    clock: Clock,
    addresses: NodeAddresses,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Started once the Node is Ready and pods have a network. Raises RuntimeUnavailable when there is no usable containerd."""
    async with supervise(settings) as socket_path, connect(socket_path) as runtime, trio.open_nursery() as nursery:
        await _after_a_boot(settings, runtime)
        if not settings.containerd_address:
            nursery.start_soon(end_abandoned, settings.containerd_state, runtime)
        async with trio.open_nursery() as starting:
            starting.start_soon(nursery.start, run_pod_network, settings, verbs, runtime, addresses)
            policies = make_enforcer(settings)
            starting.start_soon(nursery.start, run_policies, settings, verbs, policies)

            agent = partial(
                run_agent,
                settings,
                verbs,
                runtime,
                tls=ServerTls(credentials.certificate, credentials.key, credentials.authorities, clock=clock),
                authorize=credentials.authorize,
                addresses=addresses,
                protect=None if PART in settings.disable else policies.protect,
                dial_server=credentials.dial_server,
                review=credentials.review,
                figures=credentials.figures,
                clock=clock,
            )
            starting.start_soon(nursery.start, agent)
        task_status.started()
