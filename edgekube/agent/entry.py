"""Pods enter this node one after the other: each is held against the checks, and a critical one makes room for itself.

Enters: workers of pods that this node has just heard of.
Leaves: workers that are admitted, or were told that they are refused.
Holds: the decisions are those of agent.admission and agent.preemption; a pod that was admitted once is not asked again, also
not after a restart. Before this node knows its Node nobody enters.
Next: agent.worker.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import trio

from edgekube.agent import preemption
from edgekube.agent.admission import OS, OS_LABEL, Applicant, Refusal, refusal_of
from edgekube.agent.context import NodeContext
from edgekube.agent.devices.model import DeviceProblem
from edgekube.agent.machine import Machine
from edgekube.agent.resources import is_critical
from edgekube.agent.static.manifest import is_static
from edgekube.agent.worker import PodWorker
from edgekube.api.objects import Object, is_deleting, uid_of

#: A static pod is held against the Node as the API has it when that is known this soon.
NODE_WAIT_SECONDS = 2.0


class Entry:
    def __init__(self, node: NodeContext, workers: Callable[[], Iterator[PodWorker]]) -> None:
        self._node = node
        self._workers = workers
        self.one_at_a_time = trio.Lock()

    @property
    def machine(self) -> Machine:
        return self._node.machine

    async def admit(self, worker: PodWorker) -> None:
        memory = worker.memory
        if memory.admitted or memory.gone or memory.terminal or self._node.observer.of(worker.uid).sandboxes:
            memory.admitted = True
            return
        async with self.one_at_a_time:
            pod = worker.pod()
            if is_deleting(pod) or worker.memory.gone:
                return
            refusal = await self._give_devices(pod) or await self._ask(worker, pod)
            if refusal is None:
                worker.memory.admitted = True
            else:
                await self._node.devices.release(worker.uid)
                worker.refuse(refusal.reason, refusal.message)

    async def _give_devices(self, pod: Object) -> Refusal | None:
        try:
            await self._node.devices.admit(pod)
        except DeviceProblem as problem:
            return Refusal("UnexpectedAdmissionError", str(problem))
        return None

    async def applicant(self, worker: PodWorker, pod: Object, *, fresh: bool = False) -> Applicant:
        with trio.move_on_after(NODE_WAIT_SECONDS if is_static(pod) else math.inf):
            node = await self._node.node_object(fresh=fresh)
            return self._beside_others(worker, pod, node)
        # A static pod waits for no API: what this node would register itself with is what counts.
        settings = self._node.settings
        return self._beside_others(worker, pod, {"metadata": {"name": settings.node_name, "labels": {OS_LABEL: OS}}})

    def _beside_others(self, worker: PodWorker, pod: Object, node: Object) -> Applicant:
        others = [other.held() for other in self._beside(worker)]
        shown = (node.get("status") or {}).get("allocatable") or {}
        state = self._node.state
        return Applicant(
            pod,
            node,
            others,
            allocatable={**shown, **self._node.allocatable, **self._node.devices.amounts(shown)},
            pressures=state.pressures,
            shutting_down=state.shutting_down,
            allowed_sysctls=self._node.settings.allowed_unsafe_sysctls,
            apparmor=self._node.machine.apparmor,
        )

    def _beside(self, worker: PodWorker) -> list[PodWorker]:
        return [other for other in self._workers() if other is not worker and other.holds_resources()]

    async def _ask(self, worker: PodWorker, pod: Object) -> Refusal | None:
        applicant = await self.applicant(worker, pod)
        refusal = refusal_of(applicant)
        if refusal is not None and refusal.reason in ("NodeAffinity", "TaintToleration"):
            # Whoever placed it may have seen newer labels.
            applicant = await self.applicant(worker, pod, fresh=True)
            refusal = refusal_of(applicant)
        return refusal and await self.make_room(worker, applicant, refusal)

    async def make_room(self, worker: PodWorker, applicant: Applicant, refusal: Refusal) -> Refusal | None:
        """Where that is why it is refused, and it is critical: others are ended. Returns what still keeps it out."""
        if not refusal.shortages or not is_critical(applicant.pod):
            return refusal
        others = {other.uid: other for other in self._beside(worker)}
        chosen = preemption.victims(applicant.pod, [other.pod() for other in others.values()], refusal.shortages)
        if chosen is None:
            missing = ", ".join(f"(res: {each.resource}, q: {each.missing})" for each in refusal.shortages)
            message = (
                "Unexpected error while attempting to recover from admission failure: preemption: error finding a set of pods "
                f"to preempt: no set of running pods found to reclaim resources: [{missing}, ]"
            )
            return Refusal("UnexpectedAdmissionError", message)
        victims = [others[uid_of(pod)] for pod in chosen]
        for victim in victims:
            self._node.event(victim.pod(), "Warning", preemption.REASON, preemption.MESSAGE)
            victim.end(preemption.REASON, preemption.MESSAGE, condition=dict(preemption.CONDITION))
        for victim in victims:
            await victim.ended.wait()
        return None
