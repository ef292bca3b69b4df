"""One pod as this node knows it: what it was told of it, with what it was given.

Enters: the pod, from the API or from a file; of a static pod its mirror; PodMemory.allocated.
Leaves: the pod as it runs here, decoded anew for each who asks, who may change it; whether it has come to its end; what it takes
up.
Holds: it is kept as bytes; what is asked of every pod again and again is read out of them once, until there is news.
Next: agent.worker.
"""

from __future__ import annotations

import orjson

from edgekube.agent import allocation
from edgekube.agent.held import Held, held_by
from edgekube.agent.state import PodMemory, kept
from edgekube.agent.static.manifest import is_static
from edgekube.api import podstate
from edgekube.api.objects import Object, revision_of


def revision_number(pod: Object) -> int:
    text = revision_of(pod)
    return int(text) if text.isdigit() else 0


class PodCopy:
    __slots__ = ("_finished", "_held", "_memory", "mirror", "raw", "revision", "static")

    def __init__(self, pod: Object, memory: PodMemory) -> None:
        self._memory = memory
        self.raw = kept(pod)
        self.revision = revision_number(pod)
        #: From a file of this node, not from the API; then the API is shown a mirror.
        self.static = is_static(pod)
        self.mirror: Object | None = None
        #: None: to be read anew, for there is news of it.
        self._finished: bool | None = None
        self._held: tuple[Object | None, Held] | None = None

    def heard(self, pod: Object, revision: int) -> None:
        self.raw = kept(pod)
        self.revision = revision
        self._finished = self._held = None

    def show(self, mirror: Object | None) -> None:
        """The API has this of a static pod now; None: nothing."""
        self.mirror = mirror
        self._finished = self._held = None

    def pod(self) -> Object:
        """The pod as this node runs it: as last heard, with the resources that it was given."""
        pod = self.desired()
        return pod if self._memory.allocated is None else allocation.as_allocated(pod, self._memory.allocated)

    def desired(self) -> Object:
        """The pod as last heard; of a static pod the API's mirror has the status."""
        pod: Object = orjson.loads(self.raw)
        if self.mirror is not None:
            pod["status"] = self.mirror.get("status") or {}
            pod["metadata"]["generation"] = (self.mirror.get("metadata") or {}).get("generation")
        return pod

    def is_finished(self) -> bool:
        """As the API has it."""
        if self._finished is None:
            self._finished = podstate.is_finished(self.desired())
        return self._finished

    def held(self) -> Held:
        """What it takes up. This and whether it is finished is asked of every pod of the node whenever one comes or goes."""
        given = self._memory.allocated
        if self._held is None or self._held[0] is not given:
            self._held = (given, held_by(self.pod()))
        return self._held[1]
