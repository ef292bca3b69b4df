"""Garbage collection and namespace deletion, against the real registry and store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekube.api.errors import StatusError
from edgekube.api.kinds import BUILT_IN, CONFIGMAP, EVENT, NAMESPACE, POD, SECRET, SERVICEACCOUNT, Kind
from edgekube.api.objects import Object, owners_of
from edgekube.api.verbs import DeleteOptions
from edgekube.reconcile.emptying import NamespaceEmptier
from edgekube.reconcile.garbage import GarbageCollector
from edgekube.reconcile.recorder import Recorder
from edgekube.registry.local import LocalVerbs
from edgekube.registry.state import Registry
from edgekube.store.sqlite import open_store
from tests.reconcile.conftest import USER, Api


async def make(api: Api, name: str, *owners: Object, kind: Kind = CONFIGMAP, block: bool = False, **metadata: object) -> Object:
    references = [
        {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            "blockOwnerDeletion": block,
        }
        for owner in owners
    ]
    body = {"apiVersion": "v1", "kind": kind.kind, "metadata": {"name": name, "ownerReferences": references, **metadata}}
    namespace = str(metadata.get("namespace", "default"))
    return await api.verbs.create(kind, namespace, body)


async def names(api: Api, kind: Kind = CONFIGMAP) -> set[str]:
    return {obj["metadata"]["name"] for obj in await api.all(kind)}


@pytest.fixture
async def collected(api: Api) -> AsyncIterator[Api]:
    async with trio.open_nursery() as nursery:
        recorder = Recorder(api.verbs)
        nursery.start_soon(recorder.run)
        await nursery.start(GarbageCollector(api.verbs, lambda: BUILT_IN, recorder).run)
        yield api
        nursery.cancel_scope.cancel()


async def test_dependents_follow_their_owner(collected: Api) -> None:
    api = collected
    root = await make(api, "root")
    child = await make(api, "child", root, kind=SECRET)
    await make(api, "grandchild", child)
    await make(api, "bystander")
    await api.verbs.delete(CONFIGMAP, "default", "root", DeleteOptions(propagation_policy="Background"))

    async def gone() -> bool:
        return await names(api) == {"bystander"} and await names(api, SECRET) == set()

    await api.until(gone)


async def test_one_living_owner_is_enough_and_the_dead_one_is_forgotten(collected: Api) -> None:
    api = collected
    one, other = await make(api, "one"), await make(api, "other")
    await make(api, "shared", one, other)
    await api.verbs.delete(CONFIGMAP, "default", "one")

    async def kept() -> bool:
        shared = await api.verbs.get(CONFIGMAP, "default", "shared")
        return [each["name"] for each in owners_of(shared)] == ["other"]

    await api.until(kept)


async def test_orphans_live_on_without_their_owner(collected: Api) -> None:
    api = collected
    root = await make(api, "root")
    await make(api, "child", root)
    await api.verbs.delete(CONFIGMAP, "default", "root", DeleteOptions(propagation_policy="Orphan"))

    async def freed() -> bool:
        child = await api.verbs.get(CONFIGMAP, "default", "child")
        return await names(api) == {"child"} and not owners_of(child)

    await api.until(freed)


async def test_foreground_waits_for_the_blocking_dependent(collected: Api) -> None:
    api = collected
    root = await make(api, "root")
    await make(api, "held", root, block=True, finalizers=["example.com/hold"])
    await make(api, "quick", root, block=False)
    await api.verbs.delete(CONFIGMAP, "default", "root", DeleteOptions(propagation_policy="Foreground"))

    async def waiting() -> bool:
        return await names(api) == {"root", "held"}

    await api.until(waiting)
    held = await api.verbs.get(CONFIGMAP, "default", "held")
    assert held["metadata"]["deletionTimestamp"], "the dependent is asked to go"
    await api.verbs.patch(CONFIGMAP, "default", "held", {"metadata": {"finalizers": None}})

    async def gone() -> bool:
        return await names(api) == set()

    await api.until(gone)


async def test_an_owner_in_another_namespace_counts_as_absent(collected: Api) -> None:
    api = collected
    root = await make(api, "root", namespace="kube-system")
    await make(api, "child", root)

    async def gone() -> bool:
        return await names(api) == {"root"}

    await api.until(gone)


async def test_an_owner_must_be_named_rightly_in_every_part(collected: Api) -> None:
    """The uid alone proves nothing, neither that the owner is there nor that it is not."""
    api = collected
    root = await make(api, "root", namespace="kube-system")
    await make(api, "good", root, namespace="kube-system")
    wrong = [
        {**root, "kind": "Secret"},
        {**root, "metadata": {**root["metadata"], "name": "stump"}},
        {**root, "apiVersion": "example.com/v1"},
    ]
    for number, owner in enumerate(wrong):
        await make(api, f"wrong-{number}", owner, namespace="kube-system")
    astray = await make(api, "astray", root)
    # A living owner counts, though another reference with its uid leads nowhere.
    also = await make(api, "also-good", root, {**root, "kind": "Secret"}, namespace="kube-system")
    assert len(also["metadata"]["ownerReferences"]) == 2

    async def told() -> list[Object]:
        gone = await names(api) == {"root", "good", "also-good", "wrong-2"}  # of a kind that may come yet
        return await api.all(EVENT) if gone else []

    (event,) = await api.until(told)
    uid = root["metadata"]["uid"]
    assert (event["type"], event["reason"], event["involvedObject"]["uid"], event["message"]) == (
        "Warning",
        "OwnerRefInvalidNamespace",
        astray["metadata"]["uid"],
        f'ownerRef [v1/ConfigMap, namespace: default, name: root, uid: {uid}] does not exist in namespace "default"',
    )


async def test_an_owner_of_an_unknown_kind_proves_nothing(collected: Api) -> None:
    api = collected
    stranger = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w", "uid": "1"}}
    root = await make(api, "root")
    await make(api, "child", stranger)
    await make(api, "other", root)
    await api.verbs.delete(CONFIGMAP, "default", "root")

    async def gone() -> bool:
        return await names(api) == {"child"}

    await api.until(gone)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    owners=st.lists(st.lists(st.integers(0, 7), max_size=2, unique=True), min_size=2, max_size=8),
    deleted=st.sets(st.integers(0, 7), max_size=3),
)
def test_exactly_the_unreachable_go(owners: list[list[int]], deleted: set[int]) -> None:
    """Objects own later ones; some are deleted; whoever has lost every owner goes, and nobody else."""
    edges = [[owner for owner in each if owner < number] for number, each in enumerate(owners)]
    left: set[int] = set()
    for number, each in enumerate(edges):
        if number not in deleted and (not each or any(owner in left for owner in each)):
            left.add(number)

    async def scenario(directory: str) -> None:
        async with open_store(Path(directory) / "state.db") as store:
            registry = Registry(store)
            await registry.load()
            api = Api(LocalVerbs(registry, USER))
            await api.verbs.create(NAMESPACE, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}})
            objects: list[Object] = []
            for number, each in enumerate(edges):
                objects.append(await make(api, f"o{number}", *(objects[owner] for owner in each)))
            async with trio.open_nursery() as nursery:
                await nursery.start(GarbageCollector(api.verbs, lambda: BUILT_IN, Recorder(api.verbs)).run)
                for number in deleted & set(range(len(edges))):
                    try:
                        await api.verbs.delete(CONFIGMAP, "default", f"o{number}")
                    except StatusError as error:
                        assert error.reason == "NotFound"  # an owner's end was faster

                async def settled() -> bool:
                    return await names(api) == {f"o{number}" for number in left}

                await api.until(settled)
                nursery.cancel_scope.cancel()

    with TemporaryDirectory() as directory:
        trio.run(scenario, directory)


@pytest.fixture
async def emptied(api: Api) -> AsyncIterator[Api]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(NamespaceEmptier(api.verbs, lambda: BUILT_IN).run)
        yield api
        nursery.cancel_scope.cancel()


async def test_a_deleted_namespace_takes_everything_along(emptied: Api) -> None:
    api = emptied
    await api.verbs.create(NAMESPACE, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    for kind in (CONFIGMAP, SECRET, SERVICEACCOUNT):
        await make(api, "thing", kind=kind, namespace="shop")
    await make(api, "elsewhere")
    await api.verbs.delete(NAMESPACE, "", "shop")

    async def gone() -> bool:
        return "shop" not in await names(api, NAMESPACE)

    await api.until(gone)
    assert await names(api) == {"elsewhere"}
    assert await names(api, SECRET) == set()


async def test_what_holds_out_is_named_in_the_conditions(emptied: Api) -> None:
    api = emptied
    await api.verbs.create(NAMESPACE, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    await make(api, "held", namespace="shop", finalizers=["example.com/hold"])
    await make(api, "free", namespace="shop")
    await api.verbs.delete(NAMESPACE, "", "shop")

    async def told() -> dict[str, str]:
        namespace = await api.verbs.get(NAMESPACE, "", "shop")
        return {each["type"]: each["message"] for each in namespace["status"].get("conditions", ()) if each["status"] == "True"}

    found = await api.until(told)
    assert found == {
        "NamespaceContentRemaining": "Some resources are remaining: configmaps. has 1 resource instances",
        "NamespaceFinalizersRemaining": (
            "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
        ),
    }
    assert await names(api) == {"held"}
    await api.verbs.patch(CONFIGMAP, "shop", "held", {"metadata": {"finalizers": None}})

    async def gone() -> bool:
        return "shop" not in await names(api, NAMESPACE)

    await api.until(gone)


async def test_pods_go_before_what_they_use(emptied: Api) -> None:
    api = emptied
    await api.verbs.create(NAMESPACE, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    await make(api, "default", kind=SERVICEACCOUNT, namespace="shop")
    await make(api, "config", namespace="shop")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "finalizers": ["example.com/hold"]}}
    await api.verbs.create(POD, "shop", {**pod, "spec": {"containers": [{"name": "c", "image": "i"}]}})
    await api.verbs.delete(NAMESPACE, "", "shop")

    async def deleting() -> bool:
        return "deletionTimestamp" in (await api.verbs.get(POD, "shop", "p"))["metadata"]

    await api.until(deleting)
    assert await names(api) == {"config"}
    await api.verbs.patch(POD, "shop", "p", {"metadata": {"finalizers": None}})
    await api.until(partial(_without, api, "shop"))


async def _without(api: Api, name: str) -> bool:
    return name not in await names(api, NAMESPACE)
