"""The agent's nursery: everything that makes this machine a node.

Enters: settings, the API's verbs, a container runtime, and who may speak to the agent.
Leaves: a Node that is Ready, and its pods running.
Holds: cancelled, it stops without touching a single container; started again, it finds them.
Next: agent.pods, agent.node, agent.server.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable

import trio

from edgekube.agent import node_object
from edgekube.agent.archives import import_archives
from edgekube.agent.cgroups import Cgroups
from edgekube.agent.context import NodeContext
from edgekube.agent.facts import gather, node_addresses
from edgekube.agent.images import Images
from edgekube.agent.log_rotation import keep_logs_small
from edgekube.agent.node import NodeReporter
from edgekube.agent.observe import Observer
from edgekube.agent.pods import Pods
from edgekube.agent.references import References
from edgekube.agent.server import AgentServer
from edgekube.agent.services import Services
from edgekube.agent.tokens import TokenSource
from edgekube.agent.volumes.setup import VolumeSetup
from edgekube.api.kinds import POD, SERVICE
from edgekube.api.verbs import ListOptions, Verbs
from edgekube.containerd.protocol import Runtime
from edgekube.reconcile.follow import follow
from edgekube.reconcile.recorder import Recorder
from edgekube.settings import Settings
from edgekube.wire.server import serve
from edgekube.wire.tls import ServerTls

log = logging.getLogger("edgekube.agent")


async def run_agent(
    settings: Settings,
    verbs: Verbs,
    runtime: Runtime,
    *,
    authorize: Callable[[bytes | None], bool],
    tls: ServerTls | None,
    server: bool = False,
    recorder: Recorder | None = None,
    clock: Callable[[], float] = time.time,
    task_status: trio.TaskStatus[Pods] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Runs until cancelled; started once the API has been told that the Node is Ready.

    ``tls`` is the listener's on settings.agent_port (it must ask for client certificates); None serves nobody. ``authorize`` gets
    the DER certificate that TLS verified and says whether it is the API server's. ``server``: the control plane is here too (the
    node role label). The value given at the start is what tests and the status command look pods up in.
    """
    facts = await trio.to_thread.run_sync(gather, settings.data_dir)
    addresses = node_addresses(settings)
    async with trio.open_nursery() as nursery:
        if recorder is None:
            recorder = Recorder(verbs, host=settings.node_name)
            nursery.start_soon(recorder.run)
        pods = Pods(nursery)
        observer = Observer(runtime, pods.poke)
        references = References(verbs, nursery, pods.references_changed)
        services, tokens = Services(), TokenSource(verbs, clock)
        node = NodeContext(
            settings=settings,
            verbs=verbs,
            runtime=runtime,
            observer=observer,
            images=Images(runtime, clock),
            references=references,
            services=services,
            tokens=tokens,
            volumes=VolumeSetup(references, tokens),
            cgroups=Cgroups(settings.cgroup_parent),
            recorder=recorder,
            host_ips=addresses,
            memory_capacity_bytes=facts.memory_bytes,
            allocatable=node_object.allocatable(facts),
            clock=clock,
        )
        pods.attach(node)
        reporter = NodeReporter(settings, verbs, runtime, observer, facts, addresses, server=server, clock=clock)
        nursery.start_soon(reporter.run)
        await nursery.start(observer.run)
        nursery.start_soon(follow, verbs, SERVICE, services)
        selection = ListOptions(field_selector=f"spec.nodeName={settings.node_name}")
        nursery.start_soon(follow, verbs, POD, pods, selection)
        nursery.start_soon(pods.adopt)
        nursery.start_soon(keep_logs_small, runtime, pods.running_logs)
        nursery.start_soon(import_archives, settings.images_dir, runtime, pods.poke_all)
        if tls is not None:
            await nursery.start(functools.partial(serve, AgentServer(pods, authorize), port=settings.agent_port, tls=tls))
        await reporter.ready.wait()
        task_status.started(pods)
