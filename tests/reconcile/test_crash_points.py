"""The control loops die at any write, before it or after it, again and again; what they work on comes out exact."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import trio

from edgekube.api import podstate
from edgekube.api.kinds import CONTROLLERREVISION, DAEMONSET, DEPLOYMENT, POD, REPLICASET, STATEFULSET, Kind
from edgekube.api.objects import Object, controller_of, is_deleting, name_of
from edgekube.api.verbs import STRATEGIC_MERGE_PATCH
from edgekube.reconcile.loops import run_controllers
from edgekube.reconcile.recorder import Recorder
from edgekube.reconcile.scheduling import run_scheduler
from tests.reconcile.conftest import Api
from tests.reconcile.test_loops import agent

REPLICAS = 3


class Mortal:
    """The verbs of a process that ends at its n-th write: the write before it, or the answer to it, is the last it sees."""

    def __init__(self, verbs: Any, life: trio.CancelScope, writes: int, answered: bool) -> None:
        self._verbs = verbs
        self._life = life
        self._left = writes
        self._answered = answered

    def __getattr__(self, name: str) -> Any:
        return getattr(self._verbs, name)

    async def _write(self, write: Callable[..., Awaitable[Any]], *arguments: Any, **options: Any) -> Any:
        self._left -= 1
        if self._left == 0 and not self._answered:
            self._life.cancel()
            await trio.lowlevel.checkpoint()
        with trio.CancelScope(shield=True):  # a write that has begun is carried out, whoever still waits for it
            answer = await write(*arguments, **options)
        if self._left == 0:
            self._life.cancel()
        await trio.lowlevel.checkpoint()
        return answer

    async def create(self, *arguments: Any, **options: Any) -> Any:
        return await self._write(self._verbs.create, *arguments, **options)

    async def update(self, *arguments: Any, **options: Any) -> Any:
        return await self._write(self._verbs.update, *arguments, **options)

    async def patch(self, *arguments: Any, **options: Any) -> Any:
        return await self._write(self._verbs.patch, *arguments, **options)

    async def delete(self, *arguments: Any, **options: Any) -> Any:
        return await self._write(self._verbs.delete, *arguments, **options)


def workload(kind: Kind, name: str, image: str = "v1", **spec: Any) -> Object:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": image}]}}
    body = {"selector": {"matchLabels": {"app": name}}, "template": template, **spec}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": name, "namespace": "default"}, "spec": body}


async def short_lives(api: Api, lives: random.Random, count: int) -> None:
    for _ in range(count):
        with trio.move_on_after(0.5) as life:
            verbs: Any = Mortal(api.verbs, life, lives.randint(1, 7), lives.random() < 0.5)
            async with trio.open_nursery() as nursery:
                await nursery.start(
                    partial(run_controllers, verbs, Recorder(api.verbs), cluster_cidr="10.42.0.0/16", root_ca=lambda: "PEM")
                )
                await nursery.start(run_scheduler, verbs, Recorder(api.verbs))


async def check_pods(api: Api) -> None:
    """What must hold at every moment."""
    while True:
        active = [pod for pod in await api.all(POD, "default") if podstate.is_active(pod)]
        on_nodes = Counter(podstate.node_of(pod) for pod in active if name_of(pod).startswith("logs-"))
        del on_nodes[""]
        assert max(on_nodes.values(), default=0) <= 1, "two daemon pods on a node"
        assert sum(name_of(pod).startswith("web-") for pod in active) <= REPLICAS + 1, "more than replicas + maxSurge"
        await trio.sleep(0.01)


async def settled(api: Api, image: str) -> bool:
    pods = await api.all(POD, "default")
    counts = Counter(name_of(pod).partition("-")[0] for pod in pods)
    return (
        counts == {"logs": 2, "db": REPLICAS, "web": REPLICAS}
        and all(podstate.is_ready(pod) and not is_deleting(pod) for pod in pods)
        and {pod["spec"]["containers"][0]["image"] for pod in pods} == {image}
        and {name_of(pod) for pod in pods if name_of(pod).startswith("db")} == {f"db-{n}" for n in range(REPLICAS)}
    )


async def test_whatever_write_is_the_last_the_counts_come_out_exact(api: Api) -> None:
    lives = random.Random(7)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(agent, api)
        nursery.start_soon(check_pods, api)
        for name in ("n1", "n2"):
            await api.node(name)
        await api.verbs.create(DAEMONSET, "default", workload(DAEMONSET, "logs"))
        await api.verbs.create(STATEFULSET, "default", workload(STATEFULSET, "db", serviceName="db", replicas=REPLICAS))
        await api.verbs.create(DEPLOYMENT, "default", workload(DEPLOYMENT, "web", replicas=REPLICAS))
        await short_lives(api, lives, 8)
        for kind, name in ((DAEMONSET, "logs"), (STATEFULSET, "db"), (DEPLOYMENT, "web")):
            image = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "v2"}]}}}}
            await api.verbs.patch(kind, "default", name, image, patch_type=STRATEGIC_MERGE_PATCH)
        await short_lives(api, lives, 8)
        recorder = Recorder(api.verbs)
        await nursery.start(partial(run_controllers, api.verbs, recorder, cluster_cidr="10.42.0.0/16", root_ca=lambda: "PEM"))
        await nursery.start(run_scheduler, api.verbs, recorder)
        await api.until(partial(settled, api, "v2"))
        nursery.cancel_scope.cancel()
    replicasets = await api.all(REPLICASET, "default")
    assert len({each["spec"]["template"]["spec"]["containers"][0]["image"] for each in replicasets}) == len(replicasets)
    revisions = Counter(str((controller_of(each) or {}).get("name")) for each in await api.all(CONTROLLERREVISION, "default"))
    assert revisions["logs"] <= 2
    assert revisions["db"] <= 2
