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
from collections.abc import Callable, Sequence

import trio
from msgspec.structs import replace

from edgekube.agent import log_places
from edgekube.agent.access import DelegatedAccess, Review, reviewed_by
from edgekube.agent.archives import import_archives
from edgekube.agent.cgroups import Cgroups
from edgekube.agent.context import COMPONENT, NodeContext, Protect, record_of_node
from edgekube.agent.devices.allotment import NodeDevices
from edgekube.agent.devices.run import run_devices
from edgekube.agent.eviction.thresholds import thresholds_of
from edgekube.agent.execute import make_pods_directory
from edgekube.agent.facts import gather, node_addresses
from edgekube.agent.housekeeping import keep_house
from edgekube.agent.images.providers import load
from edgekube.agent.images.pulling import Images, PullRules
from edgekube.agent.images.records import PullRecords
from edgekube.agent.images.registries import NodeRegistries
from edgekube.agent.local_volumes import Directories, LocalVolumes
from edgekube.agent.log_rotation import keep_logs_small
from edgekube.agent.machine import huge_pages, machine_of
from edgekube.agent.node import NodeReporter
from edgekube.agent.node_state import NodeState
from edgekube.agent.node_volumes import start_volumes
from edgekube.agent.observe import Observer
from edgekube.agent.pods import Pods
from edgekube.agent.references import References
from edgekube.agent.reservations import allocatable, check_reservations
from edgekube.agent.server import AgentServer
from edgekube.agent.services import Services
from edgekube.agent.tokens import TokenSource
from edgekube.agent.tunnels import keep_tunnels
from edgekube.agent.turns import TakingTurns
from edgekube.agent.user_namespaces import OwnUsers
from edgekube.api.calls import Record
from edgekube.api.kinds import POD, SERVICE
from edgekube.api.objects import Object
from edgekube.api.verbs import ListOptions, Verbs
from edgekube.containerd.host import RuntimeUnavailable
from edgekube.containerd.protocol import Runtime
from edgekube.metrics import Family
from edgekube.network.node_addresses import NodeAddresses
from edgekube.reconcile.follow import follow
from edgekube.reconcile.recorder import Recorder
from edgekube.settings import Settings
from edgekube.wire.client import Dial
from edgekube.wire.server import serve
from edgekube.wire.tls import ServerTls

log = logging.getLogger("edgekube.agent")


async def run_agent(
    settings: Settings,
    verbs: Verbs,
    runtime: Runtime,
    *,
    authorize: Callable[[bytes | None], bool],
    protect: Protect | None = None,
    tls: ServerTls | None,
    dial_server: Dial | None = None,
    review: Review | None = None,
    figures: Sequence[Family] = (),
    recorder: Recorder | None = None,
    addresses: NodeAddresses | None = None,
    clock: Callable[[], float] = time.time,
    task_status: trio.TaskStatus[Pods] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Runs until cancelled; started once the API has been told that the Node is Ready.

    ``tls`` is the listener's on settings.agent_port (it must ask for client certificates); None serves nobody. ``authorize`` gets
    the DER certificate that TLS verified and says whether it is the API server's. ``protect`` is waited for before a container
    starts: its pod's network policies. ``addresses``: somebody keeps them current (None: they stay as they are now).
    ``review``: who answers reviews where ``verbs`` do not (None: they do). ``figures``: for this node's /metrics.
    ``dial_server`` opens a connection to the API server, for it to ask things back; None beside the server. The value given at
    the start is what tests and the status command look pods up in.
    """
    directories = Directories(settings)
    await trio.to_thread.run_sync(make_pods_directory, settings.agent_dir / "pods")
    try:
        await trio.to_thread.run_sync(log_places.provide, settings)
    except OSError as error:
        raise RuntimeUnavailable(f"{error}: name another place for the logs of pods with --pod-logs-dir") from None
    facts = await trio.to_thread.run_sync(gather, settings.data_dir)
    facts = replace(facts, hugepages=huge_pages())
    thresholds = thresholds_of(settings.node)
    try:
        check_reservations(facts, settings.node, thresholds)
        providers = load(settings.node.credential_provider_config, settings.node.credential_provider_dir)
    except ValueError as error:
        raise RuntimeUnavailable(str(error)) from None
    addresses = addresses or NodeAddresses(fixed=node_addresses(settings))
    async with trio.open_nursery() as nursery:
        if recorder is None:
            recorder = Recorder(verbs, host=settings.node_name)
            nursery.start_soon(recorder.run)
        of_pods = TakingTurns(verbs)
        pods = Pods(nursery)
        observer = Observer(runtime, pods.poke)
        references = References(verbs, nursery, pods.references_changed)
        services, tokens = Services(), TokenSource(of_pods, clock)
        records = PullRecords(settings.agent_dir / "image-pulls")
        state = NodeState()
        tell_of_node = functools.partial(record_of_node, recorder, settings.node_name)
        registries = NodeRegistries(settings.node.registries_file, settings.agent_dir / "registries", tell_of_node)
        registries.refresh()
        rules = _pull_rules(settings)
        images = Images(runtime, clock, rules=rules, records=records, own=registries.credentials, providers=providers)
        await images.recover()

        def tell(about: Object, kind: str, reason: str, message: str) -> None:
            recorder.record(COMPONENT, Record(about, kind, reason, message))

        def devices_changed() -> None:
            reporter.look_again()
            for uid in devices.ledger.held:
                pods.poke(uid)

        reporter: NodeReporter
        devices = NodeDevices(settings.agent_dir / "devices.json", pods.active, devices_changed)
        reporter = NodeReporter(
            settings,
            verbs,
            runtime,
            observer,
            facts,
            addresses,
            state=state,
            tell=tell_of_node,
            extended=devices.shown,
            clock=clock,
        )
        node = NodeContext(
            settings=settings,
            verbs=of_pods,
            runtime=runtime,
            observer=observer,
            images=images,
            references=references,
            services=services,
            tokens=tokens,
            volumes=start_volumes(
                nursery, settings, verbs, references, tokens, directories, runtime, reporter, pods.references_changed, clock, tell
            ),
            cgroups=Cgroups(settings.cgroup_parent),
            recorder=recorder,
            addresses=addresses,
            node_object=reporter.node_object,
            protect=protect,
            machine=machine_of(facts, settings),
            users=OwnUsers(runtime, settings.agent_dir / "pods"),
            devices=devices,
            allocatable=allocatable(facts, settings.node, thresholds),
            clock=clock,
            state=state,
            figures=figures,
        )
        pods.attach(node)
        await nursery.start(run_devices, devices, settings.device_plugins_dir, settings.devices)
        nursery.start_soon(reporter.run)
        nursery.start_soon(_tell_pods, addresses, pods)
        await nursery.start(observer.run)
        nursery.start_soon(follow, verbs, SERVICE, services)
        pods.begin_static()
        selection = ListOptions(field_selector=f"spec.nodeName={settings.node_name}")
        nursery.start_soon(follow, verbs, POD, pods, selection)
        nursery.start_soon(pods.adopt)
        nursery.start_soon(LocalVolumes(settings, verbs, directories).run)
        nursery.start_soon(keep_logs_small, runtime, pods.running_logs)
        nursery.start_soon(import_archives, settings.images_dir, runtime, pods.poke_all)
        nursery.start_soon(keep_house, node, pods, facts, thresholds, records)
        access = DelegatedAccess(review or reviewed_by(verbs), settings.node_name, clock)
        answering = AgentServer(pods, authorize, access)
        if tls is not None:
            await nursery.start(functools.partial(serve, answering, port=settings.agent_port, tls=tls))
        if dial_server is not None:
            nursery.start_soon(keep_tunnels, dial_server, answering.from_tunnel)
        await reporter.ready.wait()
        task_status.started(pods)


def _pull_rules(settings: Settings) -> PullRules:
    rules = settings.node
    return PullRules(rules.image_pulls_max, rules.image_verification, rules.image_allowlist)


async def _tell_pods(addresses: NodeAddresses, pods: Pods) -> None:
    """A pod's status names its node's addresses; its containers hear nothing."""
    known = addresses.current
    while True:
        known = await addresses.wait_for_other_than(known)
        pods.poke_all()
