"""Which probes run for which container.

Enters: running containers.
Leaves: results in ProbeView; a call to ``poke`` when one turned.
Holds: a container without a startup probe has started, one without a readiness probe is ready; liveness and readiness wait for
the startup probe. One task per probe, ended with its container.
Next: probes.loop.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from edgekube.agent.context import NodeContext
from edgekube.agent.podspec import field_path
from edgekube.agent.probes.loop import Verdict, probe_loop
from edgekube.agent.state import ProbeView
from edgekube.api.objects import Object


class ProbeRunner:
    def __init__(self, node: NodeContext, nursery: trio.Nursery, view: ProbeView, poke: Callable[[], None]) -> None:
        self._node = node
        self._nursery = nursery
        self._view = view
        self._poke = poke
        self._tasks: dict[tuple[str, str], trio.CancelScope] = {}

    def stop(self, container_id: str, *, keep_readiness: bool = False) -> None:
        for kind in ("startup", "liveness", "readiness"):
            if kind == "readiness" and keep_readiness:
                continue
            scope = self._tasks.pop((container_id, kind), None)
            if scope is not None:
                scope.cancel()

    def watch(self, pod: Object, container: Object, container_id: str, address: str, started_at: float) -> None:
        """The container runs: see that its probes do. Called again and again; what runs is left alone."""
        view = self._view
        if container_id not in view.started:
            if container.get("startupProbe"):
                self._begin("startup", pod, container, container_id, address, started_at)
                return
            view.started.add(container_id)
        if not container.get("readinessProbe"):
            view.ready.add(container_id)
        else:
            self._begin("readiness", pod, container, container_id, address, started_at)
        if container.get("livenessProbe"):
            self._begin("liveness", pod, container, container_id, address, started_at)

    def _begin(self, kind: str, pod: Object, container: Object, container_id: str, address: str, started_at: float) -> None:
        key = (container_id, kind)
        if key in self._tasks:
            return
        scope = self._tasks[key] = trio.CancelScope()
        self._nursery.start_soon(self._run, scope, kind, pod, container, container_id, address, started_at)

    async def _run(
        self,
        scope: trio.CancelScope,
        kind: str,
        pod: Object,
        container: Object,
        container_id: str,
        address: str,
        started_at: float,
    ) -> None:
        name, probe = container["name"], container[f"{kind}Probe"]
        path = field_path(pod, name)

        def turned(verdict: Verdict) -> None:
            self._apply(kind, probe, container_id, verdict)

        def tell(kind_of_event: str, reason: str, message: str) -> None:
            self._node.event(pod, kind_of_event, reason, message, path)

        with scope:
            await probe_loop(
                self._node.runtime,
                kind,
                probe,
                container,
                container_id,
                address,
                turned,
                tell,
                age_seconds=max(0.0, self._node.clock() - started_at),
                ready=container_id in self._view.ready,
            )

    def _apply(self, kind: str, probe: Object, container_id: str, verdict: Verdict) -> None:
        view = self._view
        if kind == "readiness":
            if verdict == "success":
                view.ready.add(container_id)
            else:
                view.ready.discard(container_id)
        elif verdict == "failure":
            grace = probe.get("terminationGracePeriodSeconds")
            view.failed[container_id] = (f"failed {kind} probe", None if grace is None else int(grace))
        elif kind == "startup":
            view.started.add(container_id)
            self.stop(container_id)
        self._poke()
