"""Losing a node, on the real registry: every call that the node controllers plan is one that the API takes."""

from __future__ import annotations

import time

import trio

from edgekube.api import podstate
from edgekube.api.calls import Call, Later
from edgekube.api.controller import Controller, Key, Moment
from edgekube.api.kinds import LEASE, NAMESPACE, NODE, POD, SERVICEACCOUNT
from edgekube.api.objects import is_deleting
from edgekube.controllers import nodelifecycle
from edgekube.controllers.podgc import PODGC_CONTROLLER
from edgekube.controllers.tainteviction import TAINTEVICTION_CONTROLLER
from edgekube.reconcile.execute import execute
from edgekube.reconcile.view import ClusterView
from tests.reconcile.conftest import Api


class Loop:
    """One controller at a time, on a view that has caught up, at a moment of our choice."""

    def __init__(self, api: Api, view: ClusterView) -> None:
        self.api, self.view = api, view
        self.events: list[str] = []
        self.ahead_seconds = 0.0

    async def settle(self, controller: Controller, name: str) -> float | None:
        """Plan and execute until nothing is left to do; answers when to look again."""
        for _ in range(8):
            moment = Moment(time.time() + self.ahead_seconds, trio.current_time() + self.ahead_seconds)
            calls = controller.plan(self.view, Key("", name), moment)
            outcome = await execute(self.api.verbs, calls, lambda event: self.events.append(event.reason))
            assert outcome.failure is None, outcome.failure
            for kind, revision in outcome.revisions.items():
                await self.view.saw_revision(kind, revision)
            for call in outcome.deletions:
                forced = call.options.grace_period_seconds == 0
                while forced and self.view.get(call.kind, call.namespace, call.name) is not None:
                    await self.view.table(call.kind).moved()
                await self.view.saw_deletion(call.kind, call.namespace, call.name, "")
            if not _writes(calls):
                return outcome.later_seconds
        raise AssertionError(f"{controller.name} does not settle")


def _writes(calls: list[Call]) -> bool:
    return any(not isinstance(call, Later) for call in calls)


async def test_a_node_falls_silent_loses_its_pods_and_is_removed(api: Api) -> None:
    verbs = api.verbs
    await verbs.create(NAMESPACE, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-node-lease"}})
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    await verbs.create(SERVICEACCOUNT, "default", account)
    for name in ("n1", "n2"):
        await api.node(name)
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}}
        await verbs.create(LEASE, "kube-node-lease", {**lease, "spec": {"holderIdentity": name}})
    for name in ("a", "b"):
        spec = {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]}
        pod = await verbs.create(POD, "default", {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
        await api.run_pod(pod)
    view = ClusterView(verbs)
    for kind in (NODE, LEASE, POD):
        view.want(kind)
    async with trio.open_nursery() as nursery:
        await nursery.start(view.run)
        loop, lifecycle = Loop(api, view), nodelifecycle.controller()
        wait = await loop.settle(lifecycle, "n1")
        assert wait is not None
        assert 35 < wait <= 50

        loop.ahead_seconds = 51
        await loop.settle(lifecycle, "n1")
        node = await verbs.get(NODE, "", "n1")
        assert {each["type"]: each["status"] for each in node["status"]["conditions"]}["Ready"] == "Unknown"
        taints = {(each["key"], each["effect"]) for each in node["spec"]["taints"]}
        assert taints == {
            ("node.kubernetes.io/unreachable", "NoSchedule"),
            ("node.kubernetes.io/unreachable", "NoExecute"),
        }
        assert loop.events == ["RegisteredNode", *["NodeNotReady"] * 3], "of the node, and of each of its pods"
        assert not any(podstate.is_ready(pod) for pod in await api.all(POD))

        wait = await loop.settle(TAINTEVICTION_CONTROLLER, "n1")
        assert wait is not None
        assert 280 < wait <= 300, "the tolerations that every pod gets"
        loop.ahead_seconds += 301
        await loop.settle(TAINTEVICTION_CONTROLLER, "n1")
        pods = await api.all(POD)
        assert all(map(is_deleting, pods))
        assert {(podstate.condition_of(pod, "DisruptionTarget") or {})["reason"] for pod in pods} == {"DeletionByTaintManager"}

        await verbs.delete(NODE, "", "n1")
        await view.saw_deletion(NODE, "", "n1", "")
        loop.ahead_seconds = 0.0
        wait = await loop.settle(PODGC_CONTROLLER, "n1")
        assert wait is not None
        assert 30 < wait <= 40
        loop.ahead_seconds = 41
        await loop.settle(PODGC_CONTROLLER, "n1")
        assert await api.all(POD) == []
        nursery.cancel_scope.cancel()
