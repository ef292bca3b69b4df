"""What any implementation of api.verbs.Verbs does. A test module imports this class and gives a ``verbs`` fixture.

The cluster behind ``verbs`` has the namespaces of a new cluster and a service account ``default`` in ``default``.
"""

from __future__ import annotations

from typing import Any

import pytest
import trio

from edgekube.api.errors import StatusError
from edgekube.api.kinds import CONFIGMAP, DEPLOYMENT, NODE, POD, PODADDRESS, SERVICEACCOUNT
from edgekube.api.objects import Object
from edgekube.api.verbs import (
    ADDED,
    BOOKMARK,
    DELETED,
    JSON_PATCH,
    MODIFIED,
    STRATEGIC_MERGE_PATCH,
    DeleteOptions,
    ListOptions,
    Verbs,
    WatchEvent,
)


def _config_map(name: str, **labels: str) -> Object:
    return {"metadata": {"name": name, "labels": labels}, "data": {"key": "value"}}


def _deployment(name: str) -> Object:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "main", "image": "demo:1"}]}}
    return {"metadata": {"name": name}, "spec": {"selector": {"matchLabels": {"app": name}}, "template": template}}


def _pod(name: str) -> Object:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "main", "image": "demo:1"}]}}


async def _next(events: Any) -> WatchEvent:
    """The next event that is no bookmark."""
    while True:
        event: WatchEvent = await anext(events)
        if event.type != BOOKMARK:
            return event


class VerbsConformance:
    async def test_what_was_created_can_be_read(self, verbs: Verbs) -> None:
        created = await verbs.create(CONFIGMAP, "default", _config_map("a"))
        assert created["kind"] == "ConfigMap" and created["apiVersion"] == "v1"
        assert created["metadata"]["uid"] and created["metadata"]["resourceVersion"]
        assert await verbs.get(CONFIGMAP, "default", "a") == created

    async def test_the_callers_object_is_not_changed(self, verbs: Verbs) -> None:
        mine = _config_map("a")
        await verbs.create(CONFIGMAP, "default", mine)
        assert mine == _config_map("a")

    async def test_a_name_is_taken_once(self, verbs: Verbs) -> None:
        await verbs.create(CONFIGMAP, "default", _config_map("a"))
        with pytest.raises(StatusError) as error:
            await verbs.create(CONFIGMAP, "default", _config_map("a"))
        assert (error.value.reason, error.value.code) == ("AlreadyExists", 409)

    async def test_a_missing_object_is_not_found(self, verbs: Verbs) -> None:
        for call in (
            verbs.get(CONFIGMAP, "default", "none"),
            verbs.delete(CONFIGMAP, "default", "none"),
            verbs.patch(CONFIGMAP, "default", "none", {"data": {"x": "y"}}),
        ):
            with pytest.raises(StatusError) as error:
                await call
            assert error.value.reason == "NotFound"
            assert error.value.message == 'configmaps "none" not found'

    async def test_an_update_from_an_old_state_is_a_conflict(self, verbs: Verbs) -> None:
        first = await verbs.create(CONFIGMAP, "default", _config_map("a"))
        await verbs.update(CONFIGMAP, {**first, "data": {"key": "second"}})
        with pytest.raises(StatusError) as error:
            await verbs.update(CONFIGMAP, {**first, "data": {"key": "third"}})
        assert error.value.reason == "Conflict"
        assert (await verbs.get(CONFIGMAP, "default", "a"))["data"] == {"key": "second"}

    async def test_three_kinds_of_patches(self, verbs: Verbs) -> None:
        await verbs.create(DEPLOYMENT, "default", _deployment("web"))
        merged = await verbs.patch(DEPLOYMENT, "default", "web", {"spec": {"replicas": 3}})
        assert merged["spec"]["replicas"] == 3
        operations: list[Object] = [{"op": "replace", "path": "/spec/replicas", "value": 4}]
        assert (await verbs.patch(DEPLOYMENT, "default", "web", operations, patch_type=JSON_PATCH))["spec"]["replicas"] == 4
        sidecar = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "demo:2"}]}}}}
        patched = await verbs.patch(DEPLOYMENT, "default", "web", sidecar, patch_type=STRATEGIC_MERGE_PATCH)
        assert {c["name"] for c in patched["spec"]["template"]["spec"]["containers"]} == {"main", "side"}

    async def test_status_and_spec_are_written_apart(self, verbs: Verbs) -> None:
        created = await verbs.create(DEPLOYMENT, "default", _deployment("web"))
        wanted = {**created, "spec": {**created["spec"], "replicas": 9}, "status": {"replicas": 1}}
        answered = await verbs.update(DEPLOYMENT, wanted, subresource="status")
        assert answered["status"]["replicas"] == 1
        assert answered["spec"]["replicas"] == 1
        answered = await verbs.patch(DEPLOYMENT, "default", "web", {"spec": {"replicas": 9}, "status": {"replicas": 7}})
        assert (answered["spec"]["replicas"], answered["status"]["replicas"]) == (9, 1)

    async def test_lists_select_and_cross_namespaces(self, verbs: Verbs) -> None:
        await verbs.create(CONFIGMAP, "default", _config_map("a", tier="front"))
        await verbs.create(CONFIGMAP, "kube-system", _config_map("b", tier="back"))
        everywhere = await verbs.list(CONFIGMAP)
        assert {o["metadata"]["name"] for o in everywhere.objects()} >= {"a", "b"}
        assert everywhere.revision.isdigit()
        front = await verbs.list(CONFIGMAP, "", ListOptions(label_selector="tier=front"))
        assert [o["metadata"]["name"] for o in front.objects()] == ["a"]
        named = await verbs.list(CONFIGMAP, "kube-system", ListOptions(field_selector="metadata.name=b"))
        assert [o["metadata"]["name"] for o in named.objects()] == ["b"]

    async def test_pages_stay_at_their_revision(self, verbs: Verbs) -> None:
        for name in ("a", "b", "c"):
            await verbs.create(CONFIGMAP, "default", _config_map(name, page="yes"))
        chosen = ListOptions(label_selector="page=yes", limit=2)
        first = await verbs.list(CONFIGMAP, "default", chosen)
        assert [o["metadata"]["name"] for o in first.objects()] == ["a", "b"]
        await verbs.delete(CONFIGMAP, "default", "c")
        rest = ListOptions(label_selector="page=yes", limit=2, continue_token=first.continue_token)
        second = await verbs.list(CONFIGMAP, "default", rest)
        assert [o["metadata"]["name"] for o in second.objects()] == ["c"]
        assert second.revision == first.revision
        assert not second.continue_token

    async def test_a_watch_sees_every_change_after_its_list(self, verbs: Verbs) -> None:
        await verbs.create(CONFIGMAP, "default", _config_map("before"))
        listed = await verbs.list(CONFIGMAP, "default")
        with trio.fail_after(60):
            async with verbs.watch(CONFIGMAP, "default", ListOptions(revision=listed.revision)) as events:
                created = await verbs.create(CONFIGMAP, "default", _config_map("a"))
                await verbs.patch(CONFIGMAP, "default", "a", {"data": {"key": "new"}})
                await verbs.delete(CONFIGMAP, "default", "a")
                seen = [await _next(events) for _ in range(3)]
        assert [event.type for event in seen] == [ADDED, MODIFIED, DELETED]
        assert seen[0].object() == created
        revisions = [int(event.object()["metadata"]["resourceVersion"]) for event in seen]
        assert revisions == sorted(set(revisions))

    async def test_a_watch_without_revision_begins_with_what_is_there(self, verbs: Verbs) -> None:
        await verbs.create(CONFIGMAP, "default", _config_map("a", mine="yes"))
        with trio.fail_after(60):
            async with verbs.watch(CONFIGMAP, "default", ListOptions(label_selector="mine=yes")) as events:
                event = await _next(events)
        assert (event.type, event.object()["metadata"]["name"]) == (ADDED, "a")

    async def test_a_watched_selector_turns_changes_into_arrivals_and_departures(self, verbs: Verbs) -> None:
        await verbs.create(CONFIGMAP, "default", _config_map("a", tier="front"))
        listed = await verbs.list(CONFIGMAP, "default")
        options = ListOptions(label_selector="tier=back", revision=listed.revision)
        with trio.fail_after(60):
            async with verbs.watch(CONFIGMAP, "default", options) as events:
                await verbs.patch(CONFIGMAP, "default", "a", {"metadata": {"labels": {"tier": "back"}}})
                arrived = await _next(events)
                await verbs.patch(CONFIGMAP, "default", "a", {"metadata": {"labels": {"tier": "front"}}})
                left = await _next(events)
        assert (arrived.type, left.type) == (ADDED, DELETED)
        assert left.object()["metadata"]["labels"] == {"tier": "back"}

    async def test_a_delete_keeps_to_its_preconditions(self, verbs: Verbs) -> None:
        created = await verbs.create(CONFIGMAP, "default", _config_map("a"))
        with pytest.raises(StatusError) as error:
            await verbs.delete(CONFIGMAP, "default", "a", DeleteOptions(precondition_uid="another"))
        assert error.value.reason == "Conflict"
        await verbs.delete(CONFIGMAP, "default", "a", DeleteOptions(precondition_uid=created["metadata"]["uid"]))
        with pytest.raises(StatusError):
            await verbs.get(CONFIGMAP, "default", "a")

    async def test_a_collection_is_deleted_by_selection(self, verbs: Verbs) -> None:
        for name, label in (("a", "old"), ("b", "old"), ("c", "new")):
            await verbs.create(CONFIGMAP, "default", _config_map(name, age=label))
        await verbs.delete_collection(CONFIGMAP, "default", ListOptions(label_selector="age=old"))
        left = await verbs.list(CONFIGMAP, "default", ListOptions(label_selector="age"))
        assert [o["metadata"]["name"] for o in left.objects()] == ["c"]

    async def test_a_dry_run_leaves_nothing_and_takes_nothing(self, verbs: Verbs) -> None:
        await verbs.create(CONFIGMAP, "default", _config_map("a"))
        await verbs.delete(CONFIGMAP, "default", "a", DeleteOptions(dry_run=True))
        assert (await verbs.get(CONFIGMAP, "default", "a"))["metadata"]["name"] == "a"

    async def test_binding_puts_a_pod_on_a_node(self, verbs: Verbs) -> None:
        await verbs.create(POD, "default", _pod("p"))
        binding = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "pi"}}
        await verbs.create(POD, "default", binding, subresource="binding", name="p")
        assert (await verbs.get(POD, "default", "p"))["spec"]["nodeName"] == "pi"
        with pytest.raises(StatusError) as error:
            await verbs.create(POD, "default", binding, subresource="binding", name="p")
        assert error.value.reason == "Conflict"

    async def test_scale_is_read_and_written_as_one_number(self, verbs: Verbs) -> None:
        await verbs.create(DEPLOYMENT, "default", _deployment("web"))
        answered = await verbs.patch(DEPLOYMENT, "default", "web", {"spec": {"replicas": 5}}, subresource="scale")
        assert (answered["kind"], answered["spec"]) == ("Scale", {"replicas": 5})
        assert (await verbs.get(DEPLOYMENT, "default", "web"))["spec"]["replicas"] == 5

    async def test_bad_values_name_their_field(self, verbs: Verbs) -> None:
        with pytest.raises(StatusError) as error:
            await verbs.create(CONFIGMAP, "default", _config_map("Not_A_Name"))
        assert (error.value.reason, error.value.code) == ("Invalid", 422)
        assert [cause.field for cause in error.value.causes] == ["metadata.name"]

    async def test_nothing_is_created_in_a_namespace_that_is_not_there(self, verbs: Verbs) -> None:
        with pytest.raises(StatusError) as error:
            await verbs.create(CONFIGMAP, "nowhere", _config_map("a"))
        assert (error.value.reason, error.value.message) == ("NotFound", 'namespaces "nowhere" not found')

    async def test_cluster_scoped_objects_have_no_namespace(self, verbs: Verbs) -> None:
        created = await verbs.create(NODE, "", {"metadata": {"name": "pi"}})
        assert "namespace" not in created["metadata"]
        assert [o["metadata"]["name"] for o in (await verbs.list(NODE)).objects()] == ["pi"]

    async def test_a_generated_name_begins_as_asked(self, verbs: Verbs) -> None:
        made = [await verbs.create(SERVICEACCOUNT, "default", {"metadata": {"generateName": "robot-"}}) for _ in range(2)]
        names = {account["metadata"]["name"] for account in made}
        assert len(names) == 2
        assert all(name.startswith("robot-") and len(name) == len("robot-") + 5 for name in names)

    async def test_pods_are_told_as_addresses(self, verbs: Verbs) -> None:
        await verbs.create(POD, "default", _pod("a"))
        listed = await verbs.list(PODADDRESS)
        (told,) = listed.objects()
        assert (told["kind"], told["metadata"]["name"]) == ("PodAddress", "a") and "spec" not in told
        async with verbs.watch(PODADDRESS, "", ListOptions(revision=listed.revision)) as events:
            await verbs.patch(POD, "default", "a", {"metadata": {"annotations": {"note": "x"}}})
            await verbs.patch(POD, "default", "a", {"metadata": {"labels": {"app": "web"}}})
            with trio.fail_after(60):
                event = await _next(events)
            assert event.object()["metadata"]["labels"] == {"app": "web"}
            await verbs.delete(POD, "default", "a", DeleteOptions(grace_period_seconds=0))
            with trio.fail_after(60):
                gone = await _next(events)
            assert (gone.type, gone.object()["kind"], gone.object()["metadata"]["name"]) == (DELETED, "PodAddress", "a")
