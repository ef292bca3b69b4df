"""The scheduler against a real API: preemption, gates, other schedulers, and what wakes a waiting pod."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import trio

from edgekube.api import podstate
from edgekube.api.kinds import EVENT, KINDS, NODE, POD, SERVICEACCOUNT
from edgekube.api.objects import Object, is_deleting, name_of
from edgekube.api.verbs import DeleteOptions
from edgekube.reconcile.recorder import Recorder
from edgekube.reconcile.scheduling import run_scheduler
from edgekube.scheduler.cluster import Cluster
from edgekube.scheduler.configuration import profiles_of
from edgekube.scheduler.plugin import Filter
from edgekube.scheduler.pods import PendingPod
from edgekube.scheduler.profiles import Profile
from tests.reconcile.conftest import Api

SCHEDULING = "scheduling.k8s.io/v1"


@asynccontextmanager
async def scheduling(api: Api, *profiles: Profile) -> AsyncIterator[None]:
    if not await api.all(SERVICEACCOUNT):
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        await api.verbs.create(SERVICEACCOUNT, "default", account)
    async with trio.open_nursery() as nursery:
        recorder = Recorder(api.verbs)
        nursery.start_soon(recorder.run)
        await nursery.start(run_scheduler, api.verbs, recorder, profiles)
        yield
        nursery.cancel_scope.cancel()


async def make_pod(api: Api, name: str, cpu: str = "100m", **spec: Any) -> Object:
    labels = spec.pop("labels", {})
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}
    metadata = {"name": name, "namespace": "default", "labels": labels}
    return await api.verbs.create(
        POD, "default", {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container], **spec}}
    )


async def make_node(api: Api, name: str, cpu: str = "4") -> None:
    """As the node lifecycle controller leaves it once it is ready."""
    await api.node(name, cpu=cpu)
    await api.verbs.patch(NODE, "", name, {"spec": {"taints": None}})


async def found(api: Api, name: str) -> Object:
    return await api.verbs.get(POD, "default", name)


async def bound(api: Api, name: str) -> Object:
    async def there() -> Object | None:
        pod = await found(api, name)
        return pod if pod["spec"].get("nodeName") else None

    pod: Object = await api.until(there)
    return pod


async def refused(api: Api, name: str, text: str) -> Object:
    async def there() -> Object | None:
        pod = await found(api, name)
        condition = podstate.condition_of(pod, "PodScheduled") or {}
        return pod if condition.get("reason") == "Unschedulable" and text in condition.get("message", "") else None

    pod: Object = await api.until(there)
    return pod


async def end(api: Api, name: str) -> None:
    """What the victim's node does at last."""
    await api.verbs.delete(POD, "default", name, DeleteOptions(grace_period_seconds=0))


async def priority_class(api: Api, name: str, value: int, **more: Any) -> None:
    row = KINDS.by_kind(SCHEDULING, "PriorityClass")
    assert row is not None
    await api.verbs.create(
        row, "", {"apiVersion": SCHEDULING, "kind": "PriorityClass", "metadata": {"name": name}, "value": value, **more}
    )


async def test_a_more_important_pod_evicts_and_gets_the_room(api: Api) -> None:
    await priority_class(api, "high", 1000)
    await priority_class(api, "patient", 500, preemptionPolicy="Never")
    await make_node(api, "n1", cpu="1")
    async with scheduling(api):
        await make_pod(api, "low", "800m")
        await bound(api, "low")
        await make_pod(api, "waits", "800m", priorityClassName="patient")
        waiting = await refused(api, "waits", "preemption: not eligible due to preemptionPolicy=Never.")
        assert "nominatedNodeName" not in waiting["status"]
        await make_pod(api, "urgent", "800m", priorityClassName="high")

        async def leaving() -> Object | None:
            pod = await found(api, "low")
            return pod if is_deleting(pod) else None

        victim = await api.until(leaving)
        condition = podstate.condition_of(victim, "DisruptionTarget")
        assert condition is not None
        assert (condition["status"], condition["reason"], condition["message"]) == (
            "True",
            "PreemptionByScheduler",
            "default-scheduler: preempting to accommodate a higher priority pod",
        )
        assert victim["metadata"]["deletionGracePeriodSeconds"] == 30, "it has its own grace"
        urgent = await refused(api, "urgent", "0/1 nodes are available: 1 Insufficient cpu.")
        assert urgent["status"]["nominatedNodeName"] == "n1"

        async def told() -> bool:
            text = f"Preempted by pod {urgent['metadata']['uid']} on node n1"
            return any(each["reason"] == "Preempted" and each["message"] == text for each in await api.all(EVENT))

        await api.until(told)
        await make_pod(api, "sneaky", "800m", priorityClassName="high")
        await refused(api, "sneaky", "Insufficient cpu")
        await end(api, "low")
        assert "nominatedNodeName" not in (await bound(api, "urgent"))["status"]
        assert not (await found(api, "sneaky"))["spec"].get("nodeName")


async def test_a_gated_pod_waits_for_its_gates(api: Api) -> None:
    await make_node(api, "n1")
    async with scheduling(api):
        await make_pod(api, "gated", schedulingGates=[{"name": "example.com/wait"}])
        await make_pod(api, "free")
        await bound(api, "free")
        gated = await found(api, "gated")
        assert (podstate.condition_of(gated, "PodScheduled") or {})["reason"] == "SchedulingGated"
        await api.verbs.patch(POD, "default", "gated", {"spec": {"schedulingGates": None}})
        await bound(api, "gated")


async def test_pods_of_other_schedulers_are_let_be(api: Api) -> None:
    await make_node(api, "n1")
    async with scheduling(api):
        await make_pod(api, "other", schedulerName="somebody-else")
        await make_pod(api, "ours")
        await bound(api, "ours")
        other = await found(api, "other")
        assert not other["spec"].get("nodeName") and podstate.condition_of(other, "PodScheduled") is None


async def test_two_schedulers_in_one(api: Api) -> None:
    await make_node(api, "n1")
    await make_node(api, "n2")
    await api.verbs.patch(NODE, "", "n2", {"metadata": {"annotations": {"edgekube.io/power": "mains"}}})
    profiles = profiles_of(
        {
            "apiVersion": "kubescheduler.config.k8s.io/v1",
            "kind": "KubeSchedulerConfiguration",
            "profiles": [
                {"schedulerName": "default-scheduler"},
                {
                    "schedulerName": "well-powered",
                    "plugins": {"score": {"disabled": [{"name": "*"}], "enabled": [{"name": "EdgePower"}]}},
                },
            ],
        }
    )
    async with scheduling(api, *profiles):
        for number in range(3):
            await make_pod(api, f"p{number}", schedulerName="well-powered")
            assert (await bound(api, f"p{number}"))["spec"]["nodeName"] == "n2"
        await make_pod(api, "plain")
        assert (await bound(api, "plain"))["spec"]["nodeName"] == "n1"

        async def told() -> bool:
            events = [each for each in await api.all(EVENT) if each["involvedObject"]["name"] == "p0"]
            return [each["source"]["component"] for each in events] == ["well-powered"]

        await api.until(told)


async def test_what_wakes_a_waiting_pod(api: Api) -> None:
    await make_node(api, "n1", cpu="1")
    taint = [{"key": "k", "value": "v", "effect": "NoSchedule"}]
    await api.verbs.patch(NODE, "", "n1", {"spec": {"taints": taint}})
    async with scheduling(api):
        await make_pod(api, "first", "800m")
        await refused(api, "first", "1 node(s) had untolerated taint(s).")
        await api.verbs.patch(NODE, "", "n1", {"spec": {"taints": None}})
        await bound(api, "first")
        await make_pod(api, "second", "800m")
        await refused(api, "second", "Insufficient cpu")
        await end(api, "first")
        await bound(api, "second")
        term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "db"}}}
        near = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
        await make_pod(api, "third", "1m", affinity=near)
        await refused(api, "third", "didn't match pod affinity rules")
        await api.verbs.patch(NODE, "", "n1", {"metadata": {"labels": {"kubernetes.io/hostname": "n1"}}})
        await make_pod(api, "db", "1m", labels={"app": "db"})
        await bound(api, "third")


async def test_a_nomination_is_remembered_across_a_restart(api: Api) -> None:
    await priority_class(api, "high", 1000)
    await make_node(api, "n1", cpu="1")
    async with scheduling(api):
        await make_pod(api, "low", "800m")
        await bound(api, "low")
        await make_pod(api, "urgent", "800m", priorityClassName="high")

        async def nominated() -> bool:
            return bool((await found(api, "urgent"))["status"].get("nominatedNodeName"))

        await api.until(nominated)
    async with scheduling(api):
        await end(api, "low")
        await make_pod(api, "later", "800m")
        await bound(api, "urgent")
        assert {name_of(pod) for pod in await api.all(POD) if pod["spec"].get("nodeName")} == {"urgent"}


async def test_a_pod_that_a_rule_stumbles_over_stops_nobody_else(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    def stumbles(pod: PendingPod, cluster: Cluster) -> None:
        if pod.facts.name == "odd":
            raise KeyError("values")

    profile = Profile()
    async with scheduling(api, replace(profile, filters=(*profile.filters, Filter("Odd", stumbles)))):
        await make_node(api, "n1")
        await make_pod(api, "odd")
        await make_pod(api, "plain")
        await bound(api, "plain")
    assert "pod=default/odd not placed" in caplog.text
    assert "nodeName" not in (await found(api, "odd"))["spec"]
