"""The view: a state that the API had, indexed, and told about once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube import limits
from edgekube.api.kinds import CONFIGMAP, NAMESPACE, NODE, POD, Kind
from edgekube.api.objects import Object, name_of
from edgekube.api.selectors.labels import label_selector_of_set
from edgekube.api.verbs import ListOptions, WatchEvent
from edgekube.reconcile.follow import follow
from edgekube.reconcile.table import Table, ViewChange
from edgekube.reconcile.view import ClusterView
from edgekube.registry.local import LocalVerbs
from edgekube.registry.state import Registry
from edgekube.store.sqlite import open_store
from tests.controllers.world import World
from tests.reconcile.conftest import USER, Api


def document(name: str, revision: int, **parts: object) -> bytes:
    metadata: Object = {"name": name, "namespace": "default", "uid": f"uid-{name}", "resourceVersion": str(revision)}
    metadata.update({key: value for key, value in parts.items() if key != "spec"})
    return orjson.dumps({"metadata": metadata, "spec": parts.get("spec", {})})


async def test_it_shows_what_was_there_and_what_comes(api: Api) -> None:
    await api.node("n1")
    view = ClusterView(api.verbs)
    view.want(NODE)
    view.want(CONFIGMAP, ListOptions(field_selector="metadata.name=wanted"))
    changes: list[tuple[str, bool, bool]] = []
    view.subscribe(NODE, lambda change: changes.append((change.key.name, change.old is not None, change.new is not None)))
    async with trio.open_nursery() as nursery:
        await nursery.start(view.run)
        assert [name_of(node) for node in view.list(NODE)] == ["n1"]
        await api.node("n2")
        for name in ("wanted", "unwanted"):
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
            written = await api.verbs.create(CONFIGMAP, "default", body)
            if name == "wanted":
                await view.saw_revision(CONFIGMAP, int(written["metadata"]["resourceVersion"]))
        node = await api.verbs.patch(NODE, "", "n1", {"metadata": {"labels": {"disk": "ssd"}}})
        await view.saw_revision(NODE, int(node["metadata"]["resourceVersion"]))
        assert (view.get(NODE, "", "n1") or {})["metadata"]["labels"] == {"disk": "ssd"}
        assert (view.get(NODE, "", "n1") or {})["kind"] == "Node"
        assert [name_of(each) for each in view.list(CONFIGMAP)] == ["wanted"]
        await api.verbs.delete(NODE, "", "n2")
        await view.saw_deletion(NODE, "", "n2", "")
        assert view.get(NODE, "", "n2") is None
        assert view.changed_at(NODE, "", "n2") is not None, "its end is remembered"
        assert changes[0] == ("n1", False, True)
        assert changes[-1] == ("n2", True, False)
        nursery.cancel_scope.cancel()


async def test_writing_into_what_it_gives_changes_nothing(api: Api) -> None:
    await api.node("n1")
    view = ClusterView(api.verbs)
    view.want(NODE)
    async with trio.open_nursery() as nursery:
        await nursery.start(view.run)
        (view.get(NODE, "", "n1") or {})["metadata"]["name"] = "forged"
        assert [name_of(node) for node in view.list(NODE)] == ["n1"]
        nursery.cancel_scope.cancel()


async def test_after_a_gap_a_list_tells_the_difference() -> None:
    table = Table(POD)
    told: list[tuple[str, str]] = []

    def tell(change: ViewChange) -> None:
        what = "gone" if change.new is None else "new" if change.old is None else "changed"
        told.append((change.key.name, what))

    table.subscribers.append(tell)
    for revision, names in ((3, ["a", "b"]), (9, ["b", "c"])):
        table.begin()
        table.add([document(name, revision if name == "b" else 1) for name in names])
        table.finish(revision)
    assert told == [("a", "new"), ("b", "new"), ("b", "changed"), ("c", "new"), ("a", "gone")]
    assert table.revision == 9


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("abcd"),
            st.sampled_from(["", "n1", "n2"]),
            st.sampled_from([(), ("u1",), ("u1", "u2")]),
            st.sampled_from(["web", "db"]),
            st.booleans(),
        ),
        max_size=25,
    )
)
def test_it_answers_as_the_world_of_the_planners_tests(happenings: list[tuple[str, str, tuple[str, ...], str, bool]]) -> None:
    async def scenario() -> None:
        view, world = ClusterView(_Never()), World()  # type: ignore[arg-type]
        view.want(POD)
        table = view.table(POD)
        for revision, (name, node, owners, app, deleted) in enumerate(happenings, 1):
            references = [{"uid": uid, "controller": uid == "u1"} for uid in owners]
            raw = document(name, revision, ownerReferences=references, labels={"app": app}, spec={"nodeName": node})
            table.apply(WatchEvent("DELETED" if deleted else "ADDED", raw))
            if deleted:
                world.gone(POD, "default", name)
            else:
                world.put(POD, orjson.loads(raw))
            selector = label_selector_of_set({"app": "web"})
            for namespace in ("", "default", "other"):
                assert _names(view.list(POD, namespace)) == _names(world.list(POD, namespace))
                assert _names(view.selected(POD, "default", selector)) == _names(world.selected(POD, "default", selector))
                for uid in ("", "u1", "u2"):
                    found = view.owned_by(POD, uid, namespace)
                    assert _names(found) == _names(world.owned_by(POD, uid, namespace))
            for each in ("", "n1", "n2"):
                assert _names(view.pods_on(each)) == _names(world.pods_on(each))
            seen = [view.changed_at(POD, "default", each) is None for each in "abcd"]
            assert seen == [world.changed_at(POD, "default", each) is None for each in "abcd"]
            assert (view.get(POD, "default", name) is None) == (world.get(POD, "default", name) is None) == deleted

    trio.run(scenario)


def _names(pods: Iterator[Object]) -> list[str]:
    return sorted(name_of(pod) for pod in pods)


class _Never:
    """Verbs that nobody calls, for what is fed by hand."""

    def __getattr__(self, name: str) -> object:
        raise AssertionError(f"nobody should call {name}")


class _Counting(Table):
    """Counts its lists; ``behind`` makes its first watch ask for a revision that a restarted server no longer knows."""

    def __init__(self, kind: Kind, *, behind: bool = False) -> None:
        super().__init__(kind)
        self.lists = 0
        self._behind = behind

    def begin(self) -> None:
        self.lists += 1
        super().begin()

    def resume_from(self) -> int:
        return 1 if self._behind and self.lists == 1 else super().resume_from()


async def put(api: Api, name: str) -> None:
    await api.verbs.create(CONFIGMAP, "default", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})


async def shown(table: Table, names: set[str]) -> None:
    with trio.fail_after(60):
        while {key.name for key in table.keys("default")} != names:
            await table.moved()


async def test_a_watch_from_before_a_restart_begins_anew_with_a_list(tmp_path: Path) -> None:
    async with open_store(tmp_path / "state.db") as store:
        api = Api(LocalVerbs(Registry(store), USER))
        await api.verbs.create(NAMESPACE, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}})
        await put(api, "before")
    async with open_store(tmp_path / "state.db") as store, trio.open_nursery() as nursery:
        api = Api(LocalVerbs(Registry(store), USER))
        table = _Counting(CONFIGMAP, behind=True)
        nursery.start_soon(follow, api.verbs, CONFIGMAP, table)
        await shown(table, {"before"})
        await put(api, "after")
        await shown(table, {"before", "after"})
        assert table.lists == 2
        nursery.cancel_scope.cancel()


async def test_a_watch_that_the_server_ends_goes_on_where_it_was(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WATCH_BACKLOG_EVENTS_MAX", 3)
    table = _Counting(CONFIGMAP)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow, api.verbs, CONFIGMAP, table)
        await table.synced.wait()
        names = {f"c{number}" for number in range(60)}
        async with trio.open_nursery() as writers:
            for name in names:
                writers.start_soon(put, api, name)
        await shown(table, names)
        assert table.lists == 1, "the history still reached back"
        nursery.cancel_scope.cancel()


@given(st.permutations(["name", "labels", "managedFields", "uid"]), st.integers(1, 4), st.booleans())
async def test_managers_are_not_kept(order: list[str], count: int, repeated: bool) -> None:
    """Wherever they stand, and only they go."""
    keys = [key for key in order[:count] if key != "name"] + ["name"]
    managers = [{"manager": "kubectl", "fieldsV1": {"f:spec": {'f:x\\"]': {}}}}]
    values = {"name": "a", "labels": {"x": "y"}, "managedFields": managers, "uid": "1"}
    text = orjson.dumps({"managedFields": managers}).decode()[1:-1] if repeated else ""
    document = {"metadata": {key: values[key] for key in keys}, "data": {"note": text}}
    table = Table(CONFIGMAP)
    table.begin()
    table.add([orjson.dumps(document)])
    entry = table.get("", "a")
    assert entry is not None
    kept = orjson.loads(entry.raw)
    assert kept == {
        "metadata": {key: values[key] for key in keys if key != "managedFields"},
        "data": document["data"],
    }
