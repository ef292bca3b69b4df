"""What every pod's worker shares on this node.

Enters: the parts that agent.run makes.
Leaves: one value to hand down.
Holds: nothing of its own.
Next: agent.worker, agent.execute.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

from msgspec import Struct, field

from edgekube.agent.cgroups import Cgroups
from edgekube.agent.devices.allotment import NodeDevices
from edgekube.agent.fieldrefs import Surroundings
from edgekube.agent.images.pulling import Images
from edgekube.agent.machine import Machine
from edgekube.agent.names import PodPaths
from edgekube.agent.node_state import NodeState
from edgekube.agent.observe import Observer
from edgekube.agent.references import References
from edgekube.agent.services import Services
from edgekube.agent.status_telling import ComingUp
from edgekube.agent.terminations import Terminations
from edgekube.agent.tokens import TokenSource
from edgekube.agent.user_namespaces import OwnUsers
from edgekube.agent.volumes.setup import VolumeSetup
from edgekube.api.calls import Record
from edgekube.api.objects import Object, name_of, namespace_of, uid_of
from edgekube.api.verbs import Verbs
from edgekube.containerd.protocol import Runtime
from edgekube.metrics import Family
from edgekube.network.node_addresses import NodeAddresses
from edgekube.reconcile.recorder import Recorder
from edgekube.settings import Settings

COMPONENT = "kubelet"

#: Returns once the network policies of a pod that has these addresses are in force.
Protect: TypeAlias = Callable[[Object, Sequence[str]], Awaitable[None]]


class NodeSource(Protocol):
    async def __call__(self, *, fresh: bool) -> Object:
        """This Node as the API has it: as last heard, or asked for now (as last heard, if the API does not answer)."""


class NodeContext(Struct):
    settings: Settings
    verbs: Verbs
    runtime: Runtime
    observer: Observer
    images: Images
    references: References
    services: Services
    tokens: TokenSource
    volumes: VolumeSetup
    cgroups: Cgroups
    recorder: Recorder
    addresses: NodeAddresses
    node_object: NodeSource
    machine: Machine
    users: OwnUsers
    devices: NodeDevices
    #: Resource name -> quantity, as the Node shows it.
    allocatable: dict[str, str] = field(default_factory=dict)
    clock: Callable[[], float] = time.time
    state: NodeState = field(default_factory=NodeState)
    terminations: Terminations = field(default_factory=Terminations)
    #: What else this node counts, for its /metrics.
    figures: Sequence[Family] = ()
    #: Pods came or went, or ask for something else.
    rebalance: Callable[[], None] = lambda: None
    protect: Protect | None = None
    #: A pod's resize is to be asked for, by uid; a pod has given something back. Set by whoever keeps the pods.
    wants_resize: Callable[[str], None] = field(default=lambda uid: None)
    room_changed: Callable[[], None] = field(default=lambda: None)
    coming_up: ComingUp = field(default_factory=ComingUp)
    #: Where pods, their logs and links to these are: asked for with each step of each pod.
    places: tuple[Path, Path, Path] | None = None

    @property
    def host_ips(self) -> tuple[str, ...]:
        """As they are now."""
        return self.addresses.current

    def paths(self, pod: Object) -> PodPaths:
        if self.places is None:
            self.places = (self.settings.agent_dir, self.settings.pod_logs_dir, self.settings.container_logs_dir)
        pods, logs, links = self.places
        return PodPaths(pods, logs, namespace_of(pod), name_of(pod), uid_of(pod), links)

    def around(self, pod_ips: tuple[str, ...]) -> Surroundings:
        return Surroundings(self.host_ips, pod_ips, self.allocatable)

    def event(self, pod: Object, kind: str, reason: str, message: str, field_path: str = "") -> None:
        about = {"kind": "Pod", "apiVersion": "v1", "metadata": pod.get("metadata") or {}}
        self.recorder.record(COMPONENT, Record(about, kind, reason, message, field_path))

    def node_event(self, kind: str, reason: str, message: str) -> None:
        record_of_node(self.recorder, self.settings.node_name, kind, reason, message)


def record_of_node(recorder: Recorder, name: str, kind: str, reason: str, message: str) -> None:
    """About the Node itself, which events name by its name for want of a uid, as the kubelet's do."""
    about = {"kind": "Node", "apiVersion": "v1", "metadata": {"name": name, "uid": name}}
    recorder.record(COMPONENT, Record(about, kind, reason, message))
