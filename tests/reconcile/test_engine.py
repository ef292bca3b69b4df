"""The loops against the real registry and store: no duplicates, no lost work, quick from create to bound."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from edgekube.api.kinds import DEPLOYMENT, EVENT, NAMESPACE, POD, REPLICASET
from edgekube.api.objects import Object
from edgekube.reconcile.loops import run_controllers
from edgekube.reconcile.recorder import Recorder
from edgekube.reconcile.scheduling import run_scheduler
from tests.reconcile.conftest import Api


def deployment(name: str, replicas: int, image: str = "v1", cpu: str = "1m") -> Object:
    container = {"name": "c", "image": image, "resources": {"requests": {"cpu": cpu}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}},
        },
    }


async def start(nursery: trio.Nursery, api: Api) -> None:
    recorder = Recorder(api.verbs)
    nursery.start_soon(recorder.run)
    await nursery.start(partial(run_controllers, api.verbs, recorder, cluster_cidr="10.42.0.0/16", root_ca=lambda: "PEM"))
    await nursery.start(run_scheduler, api.verbs, recorder)


async def test_a_namespace_on_its_way_out_is_left_alone(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    await api.verbs.create(NAMESPACE, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "going"}})
    gone = deployment("web", 1)
    gone["metadata"] = {"name": "web", "namespace": "going", "finalizers": ["example.com/stay"]}
    await api.verbs.create(DEPLOYMENT, "going", gone)
    await api.verbs.delete(NAMESPACE, "", "going")
    async with trio.open_nursery() as nursery:
        await start(nursery, api)
        await api.verbs.create(DEPLOYMENT, "default", deployment("web", 1))

        async def made() -> bool:
            return len(await api.all(POD, "default")) == 1

        await api.until(made)
        assert await api.all(REPLICASET, "going") == []
        nursery.cancel_scope.cancel()
    assert "is being terminated" not in caplog.text


async def test_a_deployment_becomes_pods_on_nodes(api: Api) -> None:
    async with trio.open_nursery() as nursery:
        await start(nursery, api)
        await api.node("n1")
        await api.node("n2")
        await api.verbs.create(DEPLOYMENT, "default", deployment("web", 20))

        async def bound() -> bool:
            pods = await api.all(POD)
            assert len(pods) <= 20, "a pod was made twice"
            return len(pods) == 20 and all(pod["spec"].get("nodeName") for pod in pods)

        await api.until(bound)
        nodes = [pod["spec"]["nodeName"] for pod in await api.all(POD)]
        assert nodes.count("n1") == nodes.count("n2") == 10
        for pod in await api.all(POD):
            await api.run_pod(pod)

        async def available() -> bool:
            found = await api.verbs.get(DEPLOYMENT, "default", "web")
            return bool(found["status"].get("availableReplicas") == 20)

        await api.until(available)

        async def told() -> bool:
            events = [(event["reason"], event["source"]["component"]) for event in await api.all(EVENT)]
            return events.count(("Scheduled", "default-scheduler")) == 20

        await api.until(told)
        messages = {event["message"] for event in await api.all(EVENT)}
        (replicaset,) = await api.all(REPLICASET)
        assert f"Scaled up replica set {replicaset['metadata']['name']} from 0 to 20" in messages
        nursery.cancel_scope.cancel()


async def test_many_deployments_at_once_make_exactly_what_they_say(api: Api) -> None:
    async with trio.open_nursery() as nursery:
        await start(nursery, api)
        await api.node("n1", pods=500)
        for number in range(15):
            await api.verbs.create(DEPLOYMENT, "default", deployment(f"d{number}", number % 5 + 1))
        wanted = sum(number % 5 + 1 for number in range(15))
        created: set[str] = set()

        async def settled() -> bool:
            pods = await api.all(POD)
            created.update(pod["metadata"]["uid"] for pod in pods)
            return len(pods) == wanted and all(pod["spec"].get("nodeName") for pod in pods)

        await api.until(settled)
        assert len(created) == wanted, "more pods were made than asked for"
        for number in range(15):
            await api.verbs.patch(DEPLOYMENT, "default", f"d{number}", {"spec": {"replicas": 0}})

        async def shrunk() -> bool:
            deleting = [pod["metadata"].get("deletionTimestamp") for pod in await api.all(POD)]
            return all(deleting)

        await api.until(shrunk)
        nursery.cancel_scope.cancel()


async def test_a_pod_that_fits_nowhere_says_why_and_goes_when_there_is_room(api: Api) -> None:
    async with trio.open_nursery() as nursery:
        await start(nursery, api)
        await api.node("n1", cpu="1")
        await api.verbs.create(DEPLOYMENT, "default", deployment("big", 1, cpu="2"))

        async def refused() -> Object | None:
            for pod in await api.all(POD):
                for condition in (pod.get("status") or {}).get("conditions") or []:
                    # A new node is tainted until its condition has been seen: that is the first answer, if it is asked so early.
                    if condition["type"] == "PodScheduled" and "Insufficient cpu" in condition.get("message", ""):
                        return dict(condition)
            return None

        condition = await api.until(refused)
        assert (condition["status"], condition["reason"]) == ("False", "Unschedulable")
        assert condition["message"] == (
            "0/1 nodes are available: 1 Insufficient cpu. "
            "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        )
        await api.node("n2", cpu="4")

        async def bound() -> bool:
            return all(pod["spec"].get("nodeName") == "n2" for pod in await api.all(POD))

        await api.until(bound)
        nursery.cancel_scope.cancel()


async def test_the_time_from_create_to_bound(api: Api) -> None:
    """Not a measurement (bench does that), only that no pause hides in the path."""
    async with trio.open_nursery() as nursery:
        await start(nursery, api)
        await api.node("n1")
        pod = {"metadata": {"name": "p", "namespace": "default"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        started = trio.current_time()
        await api.verbs.create(POD, "default", {"apiVersion": "v1", "kind": "Pod", **pod})

        async def bound() -> bool:
            return bool((await api.verbs.get(POD, "default", "p"))["spec"].get("nodeName"))

        await api.until(bound)
        assert trio.current_time() - started < 20
        nursery.cancel_scope.cancel()
