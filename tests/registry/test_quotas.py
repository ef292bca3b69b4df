"""Quotas under concurrency: exactly as much gets in as there is room for, and what is used is what is there."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from edgekube.api.errors import StatusError
from edgekube.api.kinds import CONFIGMAP, KINDS, POD, RESOURCEQUOTA, SECRET, SERVICE, Kind
from edgekube.api.objects import Object
from edgekube.api.verbs import DeleteOptions
from edgekube.registry.context import Context
from edgekube.registry.create import create
from edgekube.registry.local import LocalVerbs
from edgekube.registry.quota_counting import keep_counting, recount
from edgekube.registry.state import Registry
from tests.registry.cluster import ADMIN, config_map, default_account, pod, service


def row(group: str, version: str, plural: str) -> Kind:
    found = KINDS.by_resource(group, version, plural)
    assert found is not None
    return found


@pytest.fixture
async def counting(registry: Registry) -> AsyncIterator[Registry]:
    """A registry whose quotas are counted, as the daemon sees to."""
    await default_account(registry)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_counting, registry)
        yield registry
        nursery.cancel_scope.cancel()


async def until_used(verbs: LocalVerbs, expected: Object, name: str = "q") -> None:
    """Waits until the quota says this; what it says at last is in the failure."""
    seen: Any = None
    with trio.move_on_after(30):
        async with trio.open_nursery() as nursery, verbs.watch(RESOURCEQUOTA, "default") as events:
            quota = await verbs.get(RESOURCEQUOTA, "default", name)
            seen = quota.get("status", {}).get("used")
            if seen == expected:
                nursery.cancel_scope.cancel()
                return
            async for event in events:
                if event.type == "BOOKMARK" or event.object()["metadata"]["name"] != name:
                    continue
                seen = event.object().get("status", {}).get("used")
                if seen == expected:
                    nursery.cancel_scope.cancel()
                    return
    assert seen == expected


async def quota(registry: Registry, hard: Object, name: str = "q", **spec: Any) -> None:
    verbs = LocalVerbs(registry, ADMIN)
    await verbs.create(RESOURCEQUOTA, "default", {"metadata": {"name": name}, "spec": {"hard": hard, **spec}})
    await recount(registry, "default")


async def used(verbs: LocalVerbs, name: str = "q") -> Any:
    return (await verbs.get(RESOURCEQUOTA, "default", name))["status"]["used"]


async def test_two_who_want_the_last_unit(registry: Registry, verbs: LocalVerbs) -> None:
    before = await verbs.list(CONFIGMAP, "default")
    await quota(registry, {"configmaps": str(len(before.items) + 3), "count/configmaps": "100"})
    made: list[str] = []
    refused: list[str] = []

    async def make(name: str) -> None:
        try:
            await verbs.create(CONFIGMAP, "default", config_map(name))
            made.append(name)
        except StatusError as error:
            refused.append(error.message)

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(make, f"m{number}")
    assert len(made) == 3
    full = len(before.items) + 3
    assert {text.partition(" is forbidden: ")[2] for text in refused} == {
        f"exceeded quota: q, requested: configmaps=1, used: configmaps={full}, limited: configmaps={full}"
    }
    assert await used(verbs) == {"configmaps": str(full), "count/configmaps": str(full)}


async def test_a_write_that_fails_gives_back_what_it_was_charged(registry: Registry, verbs: LocalVerbs) -> None:
    await quota(registry, {"secrets": "5"})
    await verbs.create(SECRET, "default", {"metadata": {"name": "a"}})
    with pytest.raises(StatusError) as taken:
        await verbs.create(SECRET, "default", {"metadata": {"name": "a"}})
    assert taken.value.reason == "AlreadyExists"
    assert await used(verbs) == {"secrets": "1"}


async def test_a_dry_run_is_judged_and_charged_nothing(registry: Registry, verbs: LocalVerbs) -> None:
    await quota(registry, {"secrets": "1"})
    dry = Context(ADMIN, dry_run=True)
    for _ in range(2):
        await create(registry, SECRET, "default", {"metadata": {"name": "a"}}, dry)
    assert await used(verbs) == {"secrets": "0"}
    await verbs.create(SECRET, "default", {"metadata": {"name": "a"}})
    with pytest.raises(StatusError, match="exceeded quota: q"):
        await create(registry, SECRET, "default", {"metadata": {"name": "b"}}, dry)


async def test_who_is_cancelled_leaves_no_charge_behind(registry: Registry, verbs: LocalVerbs) -> None:
    await quota(registry, {"secrets": "50"})

    async def make(number: int, scope: trio.CancelScope) -> None:
        with scope:
            await verbs.create(SECRET, "default", {"metadata": {"name": f"s{number}"}})

    scopes = [trio.CancelScope() for _ in range(20)]
    async with trio.open_nursery() as nursery:
        for number, scope in enumerate(scopes):
            nursery.start_soon(make, number, scope)
        for turns, scope in enumerate(scopes):
            for _ in range(turns % 5):
                await trio.lowlevel.checkpoint()
            scope.cancel()
    await recount(registry, "default")
    there = len((await verbs.list(SECRET, "default")).items)
    assert await used(verbs) == {"secrets": str(there)}


async def test_counting_and_writing_at_once_agree(registry: Registry, verbs: LocalVerbs) -> None:
    await quota(registry, {"secrets": "1000", "count/secrets": "1000"})
    done = trio.Event()

    async def churn(number: int) -> None:
        for turn in range(15):
            await verbs.create(SECRET, "default", {"metadata": {"name": f"s{number}-{turn}"}})
            if turn % 3 == number % 3:
                await verbs.delete(SECRET, "default", f"s{number}-{turn}")

    async def count() -> None:
        while not done.is_set():
            await recount(registry, "default")

    async with trio.open_nursery() as outer:
        outer.start_soon(count)
        async with trio.open_nursery() as nursery:
            for number in range(6):
                nursery.start_soon(churn, number)
        done.set()
    there = str(len((await verbs.list(SECRET, "default")).items))
    await recount(registry, "default")
    assert await used(verbs) == {"secrets": there, "count/secrets": there}
    assert there == "60"


async def test_status_comes_by_itself_and_what_goes_is_given_back(counting: Registry) -> None:
    verbs = LocalVerbs(counting, ADMIN)
    hard = {"pods": "2", "requests.cpu": "1", "services": "2", "services.nodeports": "1"}
    await verbs.create(RESOURCEQUOTA, "default", {"metadata": {"name": "q"}, "spec": {"hard": hard}})
    services = str(len((await verbs.list(SERVICE, "default")).items))
    await until_used(verbs, {"pods": "0", "requests.cpu": "0", "services": services, "services.nodeports": "0"})
    containers = [{"name": "c", "image": "demo", "resources": {"requests": {"cpu": "600m"}}}]
    await verbs.create(POD, "default", pod("a", containers=containers))
    await until_used(verbs, {"pods": "1", "requests.cpu": "600m", "services": services, "services.nodeports": "0"})
    with pytest.raises(StatusError, match=r"requested: requests\.cpu=600m, used: requests\.cpu=600m, limited: requests\.cpu=1"):
        await verbs.create(POD, "default", pod("b", containers=containers))
    await verbs.patch(POD, "default", "a", {"status": {"phase": "Succeeded"}}, subresource="status")
    await until_used(verbs, {"pods": "0", "requests.cpu": "0", "services": services, "services.nodeports": "0"})
    await verbs.create(SERVICE, "default", service("s", type="NodePort"))
    more = str(int(services) + 1)
    await until_used(verbs, {"pods": "0", "requests.cpu": "0", "services": more, "services.nodeports": "1"})
    await verbs.patch(SERVICE, "default", "s", {"spec": {"type": "ClusterIP"}})
    await until_used(verbs, {"pods": "0", "requests.cpu": "0", "services": more, "services.nodeports": "0"})
    await verbs.delete(SERVICE, "default", "s")
    await verbs.delete(POD, "default", "a", DeleteOptions(grace_period_seconds=0))
    await until_used(verbs, {"pods": "0", "requests.cpu": "0", "services": services, "services.nodeports": "0"})


async def test_another_limit_is_shown_and_holds(counting: Registry) -> None:
    verbs = LocalVerbs(counting, ADMIN)
    await verbs.create(RESOURCEQUOTA, "default", {"metadata": {"name": "q"}, "spec": {"hard": {"secrets": "0"}}})
    await until_used(verbs, {"secrets": "0"})
    with pytest.raises(StatusError, match="exceeded quota"):
        await verbs.create(SECRET, "default", {"metadata": {"name": "a"}})
    await verbs.patch(
        RESOURCEQUOTA, "default", "q", {"spec": {"hard": {"secrets": "1", "count/roles.rbac.authorization.k8s.io": "1"}}}
    )
    await until_used(verbs, {"secrets": "0", "count/roles.rbac.authorization.k8s.io": "0"})
    await verbs.create(SECRET, "default", {"metadata": {"name": "a"}})
    role = row("rbac.authorization.k8s.io", "v1", "roles")
    await verbs.create(role, "default", {"metadata": {"name": "r"}, "rules": []})
    with pytest.raises(StatusError, match=r"count/roles\.rbac\.authorization\.k8s\.io=1"):
        await verbs.create(role, "default", {"metadata": {"name": "r2"}, "rules": []})
    await verbs.delete(RESOURCEQUOTA, "default", "q")
    await verbs.create(SECRET, "default", {"metadata": {"name": "b"}})


async def test_a_claim_that_grows(registry: Registry, verbs: LocalVerbs) -> None:
    await quota(registry, {"requests.storage": "5Gi"})
    spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": "fast", "resources": {"requests": {"storage": "3Gi"}}}
    claim = row("", "v1", "persistentvolumeclaims")
    await verbs.create(claim, "default", {"metadata": {"name": "c"}, "spec": spec})
    assert await used(verbs) == {"requests.storage": "3Gi"}
    with pytest.raises(StatusError, match=r"exceeded quota: q, requested: requests\.storage=3Gi"):
        await verbs.create(claim, "default", {"metadata": {"name": "d"}, "spec": spec})


async def test_a_kind_of_somebody_elses_is_counted(counting: Registry) -> None:
    verbs = LocalVerbs(counting, ADMIN)
    hard = {"count/widgets.example.com": "1"}
    await verbs.create(RESOURCEQUOTA, "default", {"metadata": {"name": "q"}, "spec": {"hard": hard}})
    schema = {"openAPIV3Schema": {"type": "object"}}
    definition = {
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }
    await verbs.create(row("apiextensions.k8s.io", "v1", "customresourcedefinitions"), "", definition)
    await until_used(verbs, {"count/widgets.example.com": "0"})
    widget = counting.kinds.by_resource("example.com", "v1", "widgets")
    assert widget is not None
    await verbs.create(widget, "default", {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "a"}})
    with pytest.raises(StatusError, match=r"requested: count/widgets\.example\.com=1"):
        await verbs.create(widget, "default", {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "b"}})
    await verbs.delete(widget, "default", "a")
    await until_used(verbs, {"count/widgets.example.com": "0"})


@pytest.mark.parametrize("seed", range(4))
async def test_at_no_moment_more_than_the_limit(counting: Registry, seed: int) -> None:
    """Services come, go and change their type while the namespace is counted again and again: the status is never above the
    limits, and in the end it says what is there."""
    verbs, draw = LocalVerbs(counting, ADMIN), random.Random(seed)
    there = len((await verbs.list(SERVICE, "default")).items)
    hard = {"services": str(there + 4), "services.nodeports": "5"}
    await verbs.create(RESOURCEQUOTA, "default", {"metadata": {"name": "q"}, "spec": {"hard": hard}})
    await recount(counting, "default")

    async def life(name: str) -> None:
        for _ in range(12):
            ports = [{"name": f"p{number}", "port": 80 + number} for number in range(draw.randint(1, 3))]
            kind = draw.choice(["ClusterIP", "NodePort"])
            try:
                match draw.choice(["create", "change", "delete"]):
                    case "create":
                        await verbs.create(SERVICE, "default", service(name, type=kind, ports=ports))
                    case "change":
                        await verbs.patch(SERVICE, "default", name, {"spec": {"type": kind, "ports": ports}})
                    case _:
                        await verbs.delete(SERVICE, "default", name)
            except StatusError as error:
                assert error.reason in ("AlreadyExists", "NotFound", "Forbidden", "Conflict")
            for name_, amount in (await used(verbs)).items():
                assert int(amount) <= int(hard[name_])

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(life, f"s{number}")
    await recount(counting, "default")
    services = (await verbs.list(SERVICE, "default")).objects()
    node_ports = sum(len(each["spec"]["ports"]) for each in services if each["spec"]["type"] == "NodePort")
    assert await used(verbs) == {"services": str(len(services)), "services.nodeports": str(node_ports)}
