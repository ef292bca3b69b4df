"""What every pod's worker shares on this node.

Enters: the parts that agent.run makes.
Leaves: one value to hand down.
Holds: nothing of its own.
Next: agent.worker, agent.execute.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from edgekube.agent.cgroups import Cgroups
from edgekube.agent.fieldrefs import Surroundings
from edgekube.agent.images import Images
from edgekube.agent.names import PodPaths
from edgekube.agent.observe import Observer
from edgekube.agent.references import References
from edgekube.agent.services import Services
from edgekube.agent.tokens import TokenSource
from edgekube.agent.volumes.setup import VolumeSetup
from edgekube.api.calls import Record
from edgekube.api.objects import Object, name_of, namespace_of, uid_of
from edgekube.api.verbs import Verbs
from edgekube.containerd.protocol import Runtime
from edgekube.reconcile.recorder import Recorder
from edgekube.settings import Settings

COMPONENT = "kubelet"


@dataclass(slots=True)
class NodeContext:
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
    host_ips: tuple[str, ...]
    memory_capacity_bytes: int
    #: Resource name -> quantity, as the Node shows it.
    allocatable: dict[str, str] = field(default_factory=dict)
    clock: Callable[[], float] = time.time

    def paths(self, pod: Object) -> PodPaths:
        settings = self.settings
        return PodPaths(settings.agent_dir, settings.pod_logs_dir, namespace_of(pod), name_of(pod), uid_of(pod))

    def around(self, pod_ips: tuple[str, ...]) -> Surroundings:
        return Surroundings(self.host_ips, pod_ips, self.allocatable)

    def event(self, pod: Object, kind: str, reason: str, message: str, field_path: str = "") -> None:
        about = {"kind": "Pod", "apiVersion": "v1", "metadata": pod.get("metadata") or {}}
        self.recorder.record(COMPONENT, Record(about, kind, reason, message, field_path))
