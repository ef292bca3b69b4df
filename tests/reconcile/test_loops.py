"""All loops together on the real registry: a rollout with a Service in front, and quiet afterwards."""

from __future__ import annotations

from functools import partial
from typing import Any

import trio

from edgekube.api import podstate
from edgekube.api.kinds import CONFIGMAP, DEPLOYMENT, ENDPOINTS, ENDPOINTSLICE, NAMESPACE, NODE, POD, REPLICASET, SERVICE
from edgekube.api.objects import Object, annotations_of, is_deleting, name_of, namespace_of
from edgekube.api.verbs import STRATEGIC_MERGE_PATCH, DeleteOptions
from edgekube.metrics import Metrics
from edgekube.reconcile.loops import run_controllers
from edgekube.reconcile.recorder import Recorder
from edgekube.reconcile.scheduling import run_scheduler
from tests.reconcile.conftest import Api
from tests.reconcile.test_engine import deployment


async def agent(api: Api) -> None:
    """What nodes do: run the pods that are bound, end those that are deleted."""
    number = 0
    while True:
        for pod in await api.all(POD):
            if is_deleting(pod):
                options = DeleteOptions(grace_period_seconds=0, precondition_uid=pod["metadata"]["uid"])
                await api.verbs.delete(POD, namespace_of(pod), name_of(pod), options)
            elif pod["spec"].get("nodeName") and not podstate.is_ready(pod):
                number += 1
                condition = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
                address = f"10.42.0.{number}"
                status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": [condition]}
                await api.verbs.patch(
                    POD,
                    namespace_of(pod),
                    name_of(pod),
                    {"status": status},
                    patch_type=STRATEGIC_MERGE_PATCH,
                    subresource="status",
                )
        await trio.sleep(0.01)


async def test_a_rollout_behind_a_service(api: Api) -> None:
    async with trio.open_nursery() as nursery:
        recorder, figures = Recorder(api.verbs), Metrics()
        nursery.start_soon(recorder.run)
        parts: dict[str, Any] = {"cluster_cidr": "10.42.0.0/16", "root_ca": lambda: "PEM", "figures": figures}
        await nursery.start(partial(run_controllers, api.verbs, recorder, **parts))
        await nursery.start(run_scheduler, api.verbs, recorder)
        nursery.start_soon(agent, api)
        await api.node("n1")
        await api.verbs.create(DEPLOYMENT, "default", deployment("web", 3))
        spec = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec}
        await api.verbs.create(SERVICE, "default", service)

        async def rolled_out(revision: str) -> bool:
            found = await api.verbs.get(DEPLOYMENT, "default", "web")
            progressing = podstate.condition_of(found, "Progressing") or {}
            return (
                annotations_of(found).get("deployment.kubernetes.io/revision") == revision
                and progressing.get("reason") == "NewReplicaSetAvailable"
                and found["status"].get("observedGeneration") == found["metadata"]["generation"]
                and found["status"].get("updatedReplicas") == found["status"].get("replicas") == 3
            )

        await api.until(partial(rolled_out, "1"))
        template = {"spec": {"containers": [{"name": "c", "image": "v2"}]}}
        await api.verbs.patch(DEPLOYMENT, "default", "web", {"spec": {"template": template}}, patch_type=STRATEGIC_MERGE_PATCH)
        await api.until(partial(rolled_out, "2"))

        async def served() -> bool:
            ready = {pod["status"]["podIP"] for pod in await api.all(POD) if podstate.is_ready(pod)}
            shown = {
                address
                for each in await api.all(ENDPOINTSLICE)
                for endpoint in each.get("endpoints") or ()
                if endpoint["conditions"]["ready"]
                for address in endpoint["addresses"]
            }
            legacy = {
                address["ip"]
                for each in await api.all(ENDPOINTS)
                for subset in each.get("subsets") or ()
                for address in subset.get("addresses") or ()
            }
            return len(ready) == 3 and ready == shown == legacy

        await api.until(served)
        assert (await api.verbs.get(NODE, "", "n1"))["spec"]["podCIDR"] == "10.42.0.0/24"
        assert (await api.verbs.get(CONFIGMAP, "default", "kube-root-ca.crt"))["data"] == {"ca.crt": "PEM"}
        await _quiet(api)
        await api.verbs.delete(DEPLOYMENT, "default", "web", DeleteOptions(propagation_policy="Foreground"))

        async def gone() -> bool:
            return not [*await api.all(DEPLOYMENT), *await api.all(REPLICASET), *await api.all(POD)]

        await api.until(gone)
        await api.verbs.create(NAMESPACE, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
        shop: Object = deployment("web", 2)
        shop["metadata"]["namespace"] = "shop"

        async def account() -> bool:
            return any(namespace_of(each) == "shop" for each in await api.all(CONFIGMAP))

        await api.until(account)
        await api.verbs.create(DEPLOYMENT, "shop", shop)

        async def running() -> bool:
            return sum(map(podstate.is_ready, await api.all(POD))) == 2

        await api.until(running)
        await api.verbs.delete(NAMESPACE, "", "shop")

        async def left() -> bool:
            return "shop" not in {name_of(each) for each in await api.all(NAMESPACE)} and not await api.all(POD)

        await api.until(left)
        counted = {line.partition(" ")[0] for line in figures.text().splitlines()}
        for name in ("deployment", "replicaset", "endpoint_slice", "namespace", "garbage_collector_attempt_to_delete"):
            assert f'workqueue_adds_total{{name="{name}"}}' in counted
        nursery.cancel_scope.cancel()


async def _quiet(api: Api) -> None:
    """Once the world is as it should be, nothing is written any more."""

    async def settled() -> bool:
        before = (await api.verbs.list(NODE)).revision
        await trio.sleep(0.3)
        return (await api.verbs.list(NODE)).revision == before

    await api.until(settled)
