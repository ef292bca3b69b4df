"""The agent's nursery: everything that makes this machine a node.

Enters: settings, the API's verbs, a container runtime, and who may speak to the agent.
Leaves: a Node that is Ready, and its pods running.
Holds: cancelled, it stops without touching a single container; started again, it finds them.
Next: agent.pods, agent.node, agent.server.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import trio

from edgekube.agent import node_object
from edgekube.agent.cgroups import Cgroups
from edgekube.agent.context import NodeContext
from edgekube.agent.facts import gather, node_addresses
from edgekube.agent.images import Images
from edgekube.agent.node import NodeReporter
from edgekube.agent.observe import Observer
from edgekube.agent.pods import Pods
from edgekube.agent.references import References
from edgekube.agent.services import Services
from edgekube.agent.tokens import TokenSource
from edgekube.agent.volumes.setup import VolumeSetup
from edgekube.api.kinds import POD, SERVICE
from edgekube.api.verbs import ListOptions, Verbs
from edgekube.containerd.protocol import Runtime
from edgekube.reconcile.follow import follow
from edgekube.reconcile.recorder import Recorder
from edgekube.settings import Settings

log = logging.getLogger("edgekube.agent")


async def run_agent(
    settings: Settings,
    verbs: Verbs,
    runtime: Runtime,
    *,
    server: bool = False,
    recorder: Recorder | None = None,
    clock: Callable[[], float] = time.time,
    task_status: trio.TaskStatus[Pods] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Runs until cancelled. ``server``: this machine has the control plane too (its node role). Started once the Node is
    registered and pods are being followed; the value is what agent.server looks pods up in."""
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
        await reporter.ready.wait()
        task_status.started(pods)
