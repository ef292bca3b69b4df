"""An autoscaler on the real registry, with metrics from elsewhere."""

from __future__ import annotations

from typing import Any

import trio

from edgekube.api import times
from edgekube.api.errors import StatusError
from edgekube.api.kinds import BUILT_IN, DEPLOYMENT, EVENT, HORIZONTALPODAUTOSCALER, POD
from edgekube.api.objects import Object, name_of
from edgekube.controllers.deployment.controller import DEPLOYMENT_CONTROLLER
from edgekube.controllers.replicaset import REPLICASET_CONTROLLER
from edgekube.controllers.serviceaccount import SERVICEACCOUNT_CONTROLLER
from edgekube.reconcile.autoscaling import Autoscaler
from edgekube.reconcile.engine import Engine
from edgekube.reconcile.recorder import Recorder
from tests.reconcile.conftest import Api
from tests.reconcile.test_engine import deployment


class Load:
    """Stands for the metrics APIs: each pod uses ``cpu``, if anybody knows."""

    def __init__(self, api: Api) -> None:
        self.cpu = ""
        self.asked: list[str] = []
        self._api = api

    def versions_of(self, group: str) -> list[str]:
        return []

    async def read(self, path: str) -> Object:
        self.asked.append(path)
        if not self.cpu:
            raise StatusError("NotFound", "")
        items = [
            {
                "metadata": {"name": name_of(pod)},
                "timestamp": times.rfc3339(4e9),
                "window": "15s",
                "containers": [{"name": "c", "usage": {"cpu": self.cpu, "memory": "1Mi"}}],
            }
            for pod in await self._api.all(POD)
        ]
        return {"items": items}


def autoscaler(**spec: Any) -> Object:
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    whole = {"maxReplicas": 4, "scaleTargetRef": reference, **spec}
    return {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"}, "spec": whole}


async def run_pods(api: Api) -> None:
    while True:
        for pod in await api.all(POD):
            if pod["status"]["phase"] == "Pending":
                started = {"status": {"startTime": "2026-01-01T00:00:00Z"}}
                await api.verbs.patch(POD, "default", name_of(pod), started, subresource="status")
                await api.run_pod(pod)
        await trio.sleep(0.005)


async def test_a_deployment_follows_its_load(api: Api) -> None:
    load = Load(api)
    controllers = [
        SERVICEACCOUNT_CONTROLLER,
        DEPLOYMENT_CONTROLLER,
        REPLICASET_CONTROLLER,
        Autoscaler(api.verbs, load, lambda: BUILT_IN).controller(),
    ]
    async with trio.open_nursery() as nursery:
        recorder = Recorder(api.verbs)
        nursery.start_soon(recorder.run)
        nursery.start_soon(run_pods, api)
        await nursery.start(Engine(api.verbs, controllers, recorder=recorder).run)

        async def events() -> set[str]:
            return {f"{each['reason']}: {each['message']}" for each in await api.all(EVENT)}

        await api.verbs.create(HORIZONTALPODAUTOSCALER, "default", autoscaler())

        async def unfound() -> bool:
            return 'FailedGetScale: deployments.apps "web" not found' in await events()

        await api.until(unfound)
        await api.verbs.create(DEPLOYMENT, "default", deployment("web", 1, cpu="100m"))

        async def running() -> bool:
            found = await api.verbs.get(DEPLOYMENT, "default", "web")
            return bool(found["status"].get("readyReplicas") == 1)

        await api.until(running)
        # A change of the spec is looked at at once, and so is each of these.
        await api.verbs.patch(HORIZONTALPODAUTOSCALER, "default", "web", {"spec": {"maxReplicas": 5}})

        async def unknown() -> bool:
            return any(
                each.startswith("FailedGetResourceMetric: ")
                and each.endswith("the server could not find the requested resource (get pods.metrics.k8s.io)")
                for each in await events()
            )

        await api.until(unknown)
        load.cpu = "240m"  # of 100m, with 80% wanted: three times too much
        await api.verbs.patch(HORIZONTALPODAUTOSCALER, "default", "web", {"spec": {"maxReplicas": 6}})

        async def scaled() -> bool:
            found = await api.verbs.get(DEPLOYMENT, "default", "web")
            status = (await api.verbs.get(HORIZONTALPODAUTOSCALER, "default", "web"))["status"]
            return bool(found["spec"]["replicas"] == 3 and status.get("desiredReplicas") == 3)

        await api.until(scaled)
        assert set(load.asked) == {"/apis/metrics.k8s.io/v1beta1/namespaces/default/pods?labelSelector=app%3Dweb"}
        assert len(load.asked) <= 4, "its own status wakes nobody"
        nursery.cancel_scope.cancel()
