"""What every stored kind does alike, told to the server over HTTP, once for each row of the table of kinds."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import orjson
import pytest
import yaml

from edgekube.admission import in_use
from edgekube.api.custom.conditions import CLEANUP_FINALIZER
from edgekube.api.kinds import CSIDRIVER, CUSTOMRESOURCEDEFINITION, Kind
from edgekube.api.objects import Object
from edgekube.registry.strategies import strategy_of
from tests.server.running import Answer, Api
from tests.server.samples import STORED, sample_of

MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
PARTIAL = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json"
PARTIAL_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"
OURS = {"labels": {"sweep": "yes"}}

every_kind = pytest.mark.parametrize("kind", STORED, ids=lambda kind: f"{kind.group_resource}-{kind.version}")
#: A definition is established as soon as it is there, and again when its status says otherwise (test_custom_kinds).
all_but_definitions = pytest.mark.parametrize(
    "kind",
    [kind for kind in STORED if kind != CUSTOMRESOURCEDEFINITION],
    ids=lambda kind: f"{kind.group_resource}-{kind.version}",
)


class Talk:
    """Requests about one kind."""

    def __init__(self, api: Api, kind: Kind) -> None:
        self.api = api
        self.kind = kind
        self.sample = sample_of(kind)
        self.namespace = "default" if kind.namespaced else ""

    def name(self, letter: str = "a") -> str:
        return self.sample.name.format(letter)

    def path(self, letter: str = "", subresource: str = "", /, **query: Any) -> str:
        path = self.kind.path(self.namespace, self.name(letter) if letter else "", subresource)
        return f"{path}?{urlencode(query)}" if query else path

    def made(self, letter: str = "a", **metadata: Any) -> Object:
        return self.sample.made(self.kind, letter, **{**OURS, **metadata})

    async def create(self, letter: str = "a", **metadata: Any) -> Any:
        answered = await self.api.ask("POST", self.path(), self.made(letter, **metadata))
        assert answered.status == 201, answered.text
        if self.kind == CUSTOMRESOURCEDEFINITION:
            return await self.get(letter)  # it is established by a write that follows
        return answered.json

    async def get(self, letter: str = "a") -> Any:
        answered = await self.api.ask("GET", self.path(letter))
        assert answered.status == 200, answered.text
        return answered.json

    async def patch(self, body: Any, content_type: str = MERGE, subresource: str = "", **query: Any) -> Answer:
        return await self.api.ask("PATCH", self.path("a", subresource, **query), body, content_type=content_type)

    async def delete(self, letter: str = "a", **options: Any) -> Answer:
        return await self.api.ask("DELETE", self.path(letter), {"propagationPolicy": "Background", **options})

    def listed(self, obj: Object) -> Object:
        """As an item of a list, which does not say its type where the list does."""
        return {key: value for key, value in obj.items() if key not in ("kind", "apiVersion")}

    async def revision(self) -> str:
        return str((await self.api.ask("GET", self.path(limit=1))).json["metadata"]["resourceVersion"])

    async def finalize(self, letter: str = "a") -> None:
        """What the controllers of namespaces, definitions and storage in use do last."""
        if self.kind == CUSTOMRESOURCEDEFINITION or self.kind.resource in in_use.FINALIZERS:
            answered = await self.api.ask("PATCH", self.path(letter), {"metadata": {"finalizers": None}}, content_type=MERGE)
            assert answered.status == 200, answered.text
        if self.kind.kind == "Namespace":
            current = await self.get(letter)
            answered = await self.api.ask("PUT", self.path(letter, "finalize"), {**current, "spec": {}})
            assert answered.status == 200, answered.text

    def refusal(self, reason: str, code: int, message: str, name: str = "") -> Object:
        details = {"name": name, "group": self.kind.group, "kind": self.kind.plural}
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "details": {key: value for key, value in details.items() if value},
            "code": code,
        }


@pytest.fixture
def talk(api: Api, kind: Kind) -> Talk:
    return Talk(api, kind)


def assert_success(answered: Answer) -> None:
    assert answered.status == 200, answered.text


@every_kind
async def test_a_life(talk: Talk, kind: Kind) -> None:
    api, name = talk.api, talk.name()
    created = await talk.create()
    metadata = created["metadata"]
    assert (created["kind"], created["apiVersion"]) == (kind.kind, kind.api_version)
    assert (metadata["name"], metadata.get("namespace", "")) == (name, talk.namespace)
    assert metadata["uid"]
    assert metadata["resourceVersion"]
    assert metadata["creationTimestamp"].endswith("Z")

    again = await api.ask("POST", talk.path(), talk.made())
    assert again.json == talk.refusal("AlreadyExists", 409, f'{kind.group_resource} "{name}" already exists', name)
    assert await talk.get() == created
    head = await api.ask("HEAD", talk.path("a"))
    assert (head.status, head.body) == (405, b""), "upstream has no routes for it"

    same = await api.ask("PUT", talk.path("a"), created)
    assert same.json == created, "a change that changes nothing is not written"
    labelled = {**created, "metadata": {**metadata, "labels": {**metadata["labels"], "colour": "red"}}}
    changed = await api.ask("PUT", talk.path("a"), labelled)
    assert_success(changed)
    assert changed.json["metadata"]["labels"]["colour"] == "red"
    assert int(changed.json["metadata"]["resourceVersion"]) > int(metadata["resourceVersion"])
    stale = await api.ask("PUT", talk.path("a"), created)
    modified = "the object has been modified; please apply your changes to the latest version and try again"
    wanted = f'Operation cannot be fulfilled on {kind.group_resource} "{name}": {modified}'
    assert stale.json == talk.refusal("Conflict", 409, wanted, name)
    del labelled["metadata"]["resourceVersion"]
    labelled["metadata"]["labels"]["colour"] = "blue"
    unconditional = await api.ask("PUT", talk.path("a"), labelled)
    if strategy_of(kind).unconditional_update:
        assert_success(unconditional)
        assert unconditional.json["metadata"]["labels"]["colour"] == "blue"
    else:
        assert unconditional.status == 422
        assert unconditional.json["details"]["causes"][0]["field"] == "metadata.resourceVersion"

    wrong = await talk.delete(preconditions={"uid": "another"})
    assert (wrong.status, wrong.json["reason"]) == (409, "Conflict")
    old = await talk.delete(preconditions={"resourceVersion": metadata["resourceVersion"]})
    assert (old.status, old.json["reason"]) == (409, "Conflict")
    gone = await talk.delete(preconditions={"uid": metadata["uid"]})
    assert_success(gone)
    if kind.kind == "Namespace":
        assert gone.json["status"]["phase"] == "Terminating"
        await talk.finalize()
    elif kind == CUSTOMRESOURCEDEFINITION:
        assert gone.json["status"]["conditions"][-1]["type"] == "Terminating"
        await talk.finalize()
    elif strategy_of(kind).returns_deleted:
        assert gone.json["kind"] == kind.kind
        if kind.resource in in_use.FINALIZERS:
            await talk.finalize()
    else:
        assert gone.json["status"] == "Success"
        assert gone.json["details"]["uid"] == metadata["uid"]
    missing = talk.refusal("NotFound", 404, f'{kind.group_resource} "{name}" not found', name)
    assert (await api.ask("GET", talk.path("a"))).json == missing
    assert (await talk.delete()).json == missing
    assert (await talk.patch({"metadata": {"labels": {"a": "b"}}})).json == missing
    if not strategy_of(kind).create_on_update:
        assert (await api.ask("PUT", talk.path("a"), created)).json == missing


@every_kind
async def test_lists(talk: Talk, kind: Kind) -> None:
    api = talk.api
    created = [talk.listed(await talk.create(letter)) for letter in "abc"]
    listed = (await api.ask("GET", talk.path(labelSelector="sweep=yes"))).json
    assert (listed["kind"], listed["apiVersion"]) == (kind.list_kind, kind.api_version)
    assert listed["items"] == created
    assert int(listed["metadata"]["resourceVersion"]) >= int(created[-1]["metadata"]["resourceVersion"])
    everywhere = (await api.ask("GET", f"{kind.path()}?labelSelector=sweep%3Dyes")).json
    assert everywhere["items"] == created

    names, token, pages = [], "", 0
    while True:
        query: dict[str, Any] = {"limit": 1, "labelSelector": "sweep in (yes)", **({"continue": token} if token else {})}
        page = (await api.ask("GET", talk.path(**query))).json
        names += [item["metadata"]["name"] for item in page["items"]]
        pages += 1
        token = page["metadata"].get("continue", "")
        if not token:
            break
    assert names == [talk.name(letter) for letter in "abc"]
    assert pages == 3
    none = (await api.ask("GET", talk.path(labelSelector="sweep=no"))).json
    assert none["items"] == []
    one = (await api.ask("GET", talk.path(fieldSelector=f"metadata.name={talk.name('b')}"))).json
    assert one["items"] == [created[1]]
    others = (await api.ask("GET", talk.path(fieldSelector=f"metadata.name!={talk.name('b')}", labelSelector="sweep"))).json
    assert others["items"] == [created[0], created[2]]
    unknown = await api.ask("GET", talk.path(fieldSelector="spec.colour=red"))
    assert (unknown.status, unknown.json["reason"]) == (400, "BadRequest")
    assert '"spec.colour" is not a known field selector' in unknown.json["message"] or "not supported" in unknown.json["message"]

    table = (await api.ask("GET", talk.path(labelSelector="sweep=yes"), accept=TABLE)).json
    assert table["kind"] == "Table"
    assert [row["cells"][0] for row in table["rows"]] == names or kind.kind == "Event"
    assert all(len(row["cells"]) == len(table["columnDefinitions"]) for row in table["rows"])
    assert [row["object"]["metadata"] for row in table["rows"]] == [obj["metadata"] for obj in created]
    row = (await api.ask("GET", talk.path("a"), accept=TABLE)).json["rows"]
    assert [entry["object"]["kind"] for entry in row] == ["PartialObjectMetadata"]
    partial = (await api.ask("GET", talk.path("a"), accept=PARTIAL)).json
    assert partial == {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": created[0]["metadata"]}
    partials = (await api.ask("GET", talk.path(labelSelector="sweep=yes"), accept=PARTIAL_LIST)).json
    assert partials["kind"] == "PartialObjectMetadataList"
    assert [item["metadata"] for item in partials["items"]] == [obj["metadata"] for obj in created]

    if "deletecollection" not in kind.verbs:
        refused = await api.ask("DELETE", talk.path())
        assert (refused.status, refused.json["reason"]) == (405, "MethodNotAllowed")
        return
    query = {"labelSelector": "sweep=yes", "fieldSelector": f"metadata.name!={talk.name('b')}"}
    deleted = await api.ask("DELETE", talk.path(**query), {"propagationPolicy": "Background"})
    assert_success(deleted)
    assert [item["metadata"]["name"] for item in deleted.json["items"]] == [talk.name("a"), talk.name("c")]
    if kind == CUSTOMRESOURCEDEFINITION or kind.resource in in_use.FINALIZERS:
        await talk.finalize("a")
        await talk.finalize("c")
    left = (await api.ask("GET", talk.path(labelSelector="sweep=yes"))).json
    assert left["items"] == [created[1]]


@all_but_definitions
async def test_watches(talk: Talk, kind: Kind) -> None:
    api = talk.api
    start = await talk.revision()
    query = {"watch": "true", "resourceVersion": start, "labelSelector": "sweep=yes"}
    created = await talk.create()
    changed = (await talk.patch({"metadata": {"annotations": {"a": "b"}}})).json
    assert_success(await talk.delete())
    await talk.finalize()
    async with api.watch(talk.path(**query)) as lines:
        assert await lines.next() == {"type": "ADDED", "object": created}
        assert await lines.next() == {"type": "MODIFIED", "object": changed}
        last = await lines.next()
        while last["type"] == "MODIFIED":  # a namespace ends in steps
            last = await lines.next()
        assert last["type"] == "DELETED"
        assert int(last["object"]["metadata"]["resourceVersion"]) > int(changed["metadata"]["resourceVersion"])
        assert last["object"]["metadata"]["uid"] == created["metadata"]["uid"]
    async with api.watch(talk.path(**query), accept=PARTIAL) as lines:
        assert (await lines.next())["object"] == {
            "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": created["metadata"],
        }  # fmt: skip
    async with api.watch(talk.path(**query), accept=TABLE) as lines:
        first, second = await lines.next(), await lines.next()
        assert first["object"]["columnDefinitions"]
        assert first["object"]["rows"][0]["object"]["metadata"] == created["metadata"]
        assert second["object"]["rows"][0]["object"]["metadata"] == changed["metadata"]
    initial = {
        "watch": "true", "sendInitialEvents": "true", "allowWatchBookmarks": "true",
        "resourceVersionMatch": "NotOlderThan", "labelSelector": "sweep=yes",
    }  # fmt: skip
    other = await talk.create("b")
    async with api.watch(talk.path(**initial)) as lines:
        assert await lines.next() == {"type": "ADDED", "object": other}
        end = await lines.next()
        assert (end["type"], end["object"]["kind"], end["object"]["apiVersion"]) == ("BOOKMARK", kind.kind, kind.api_version)
        assert end["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        await talk.create("c")
        assert (await lines.next())["object"]["metadata"]["name"] == talk.name("c")
    named = {"watch": "true", "resourceVersion": start, "fieldSelector": f"metadata.name={talk.name('b')}"}
    async with api.watch(talk.path(**named)) as lines:
        assert await lines.next() == {"type": "ADDED", "object": other}
    async with api.watch(talk.path("b", watch="true", resourceVersion=start)) as lines:
        assert await lines.next() == {"type": "ADDED", "object": other}


@every_kind
async def test_patches(talk: Talk, kind: Kind) -> None:
    created = await talk.create()
    merged = (await talk.patch({"metadata": {"labels": {"colour": "red", "sweep": None}}})).json
    assert merged["metadata"]["labels"].get("colour") == "red"
    assert "sweep" not in merged["metadata"]["labels"]
    counts = kind.plural == "endpointslices"  # whose labels say which Service they are of
    assert merged["metadata"].get("generation") == (2 if counts else created["metadata"].get("generation"))
    operations = [
        {"op": "test", "path": "/metadata/labels/colour", "value": "red"},
        {"op": "add", "path": "/metadata/annotations", "value": {"a": "b"}},
    ]
    patched = await talk.patch(operations, JSON_PATCH)
    assert_success(patched)
    counted = {"deprecated.daemonset.template.generation": "1"} if kind.plural == "daemonsets" else {}
    assert patched.json["metadata"]["annotations"] == {"a": "b", **counted}
    owners = [{"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": name} for name in ("one", "two")]
    for owner in owners:
        patched = await talk.patch({"metadata": {"ownerReferences": [owner]}}, STRATEGIC)
        assert_success(patched)
    assert {owner["uid"] for owner in patched.json["metadata"]["ownerReferences"]} == {"one", "two"}, "merged by uid"
    removed = await talk.patch({"metadata": {"ownerReferences": [{"uid": "one", "$patch": "delete"}]}}, STRATEGIC)
    assert removed.json["metadata"]["ownerReferences"] == owners[1:]
    failed = await talk.patch([{"op": "test", "path": "/metadata/name", "value": "other"}], JSON_PATCH)
    assert (failed.status, failed.json["reason"]) == (422, "Invalid")
    stale = await talk.patch({"metadata": {"resourceVersion": "1"}})
    assert (stale.status, stale.json["reason"]) == (409, "Conflict")
    for wrong in (b"{", b"[", b""):
        refused = await talk.patch(wrong)
        assert (refused.status, refused.json["reason"]) == (400, "BadRequest"), wrong
    renamed = await talk.patch({"metadata": {"name": "other"}})
    assert renamed.status in (400, 422)
    refused = await talk.patch(b"{}", "application/json")
    assert (refused.status, refused.json["reason"]) == (415, "UnsupportedMediaType")
    if talk.sample.change is not None:
        before = await talk.get()
        changed = await talk.patch(talk.sample.change)
        assert_success(changed)
        assert changed.json["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]
        generation = before["metadata"].get("generation")
        counts = generation or kind == CSIDRIVER  # whose first change is its first generation
        assert changed.json["metadata"].get("generation") == ((generation or 0) + 1 if counts else None)
        assert await talk.get() == changed.json


@all_but_definitions
async def test_status(talk: Talk, kind: Kind) -> None:
    api, sample = talk.api, talk.sample
    if "status" not in kind.subresources:
        await talk.create()
        answered = await talk.patch({"status": {}}, subresource="status")
        assert (answered.status, answered.json["reason"]) == (404, "NotFound")
        return
    assert sample.status is not None
    with_status = {**talk.made(), "status": sample.status}
    created = (await api.ask("POST", talk.path(), with_status)).json
    kept = kind.kind in ("Node", "PersistentVolume")
    for key, value in sample.status.items():
        if not kept and not (kind.kind == "Namespace" and key == "phase"):
            assert created.get("status", {}).get(key) != value, "a new object brings no status along"
    assert (await api.ask("GET", talk.path("a", "status"))).json == created
    wrong = {**created, "status": sample.status, "metadata": {**created["metadata"], "annotations": {"by": "status"}}}
    if "spec" in wrong and sample.change and "spec" in sample.change:
        wrong["spec"] = {**wrong["spec"], **sample.change["spec"]}
    written = await api.ask("PUT", talk.path("a", "status"), wrong)
    assert_success(written)
    assert written.json.get("spec") == created.get("spec"), "the spec does not come through /status"
    assert written.json["metadata"].get("generation") == created["metadata"].get("generation")
    for key, value in sample.status.items():
        if value:
            assert written.json["status"][key] == value
    patched = await talk.patch({"status": {**sample.status, "x": 1}}, subresource="status", fieldValidation="Ignore")
    assert_success(patched)
    main = await talk.patch({"status": None, "metadata": {"labels": {"main": "yes"}}})
    assert_success(main)
    assert main.json["status"] == patched.json["status"], "the status does not come through the object itself"
    put = await api.ask("PUT", talk.path("a"), {**main.json, "status": {}})
    assert_success(put)
    assert put.json["status"] == patched.json["status"]
    stale = await api.ask("PUT", talk.path("a", "status"), created)
    assert (stale.status, stale.json["reason"]) == (409, "Conflict")


@pytest.mark.parametrize("kind", [kind for kind in STORED if "scale" in kind.subresources], ids=lambda kind: kind.plural)
async def test_scale(talk: Talk, kind: Kind) -> None:
    api = talk.api
    created = await talk.create()
    scale = (await api.ask("GET", talk.path("a", "scale"))).json
    assert (scale["kind"], scale["apiVersion"], scale["spec"]) == ("Scale", "autoscaling/v1", {"replicas": 1})
    assert scale["status"] == {"replicas": 0, "selector": "app=web"}
    for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp"):
        assert scale["metadata"][key] == created["metadata"][key]
    patched = await talk.patch({"spec": {"replicas": 3}}, subresource="scale")
    assert_success(patched)
    assert patched.json["spec"] == {"replicas": 3}
    scaled = await talk.get()
    assert (scaled["spec"]["replicas"], scaled["metadata"]["generation"]) == (3, 2)
    stale = await api.ask("PUT", talk.path("a", "scale"), scale)
    assert (stale.status, stale.json["reason"]) == (409, "Conflict")
    del scale["metadata"]["resourceVersion"]
    scale["spec"]["replicas"] = 0
    put = await api.ask("PUT", talk.path("a", "scale"), scale)
    assert_success(put)
    assert put.json["spec"] == {}
    negative = await api.ask("PUT", talk.path("a", "scale"), {**scale, "spec": {"replicas": -1}})
    assert (negative.status, negative.json["reason"]) == (422, "Invalid")
    wrong = await api.ask("PUT", talk.path("a", "scale"), {**scale, "spec": {"replicas": "two"}})
    assert (wrong.status, wrong.json["reason"]) == (400, "BadRequest")
    dry = await talk.patch({"spec": {"replicas": 9}}, subresource="scale", dryRun="All")
    assert dry.json["spec"] == {"replicas": 9}
    assert (await talk.get())["spec"]["replicas"] == 0


@every_kind
async def test_dry_runs(talk: Talk, kind: Kind) -> None:
    api = talk.api
    revision = api.registry.store.revision()
    dry = await api.ask("POST", talk.path(dryRun="All"), talk.made())
    assert dry.status == 201
    assert dry.json["metadata"]["uid"]
    assert (await api.ask("GET", talk.path("a"))).status == 404
    assert api.registry.store.revision() == revision
    created = await talk.create()
    again = await api.ask("POST", talk.path(dryRun="All"), talk.made())
    assert (again.status, again.json["reason"]) == (409, "AlreadyExists")
    labels = {"metadata": {"labels": {"dry": "run"}}}
    patched = await talk.patch(labels, dryRun="All")
    assert patched.json["metadata"]["labels"]["dry"] == "run"
    put = await api.ask("PUT", talk.path("a", dryRun="All"), patched.json)
    assert_success(put)
    assert_success(await api.ask("DELETE", talk.path("a", dryRun="All", propagationPolicy="Background")))
    assert_success(await api.ask("DELETE", talk.path("a"), {"dryRun": ["All"]}))
    if "deletecollection" in kind.verbs:
        assert_success(await api.ask("DELETE", talk.path(dryRun="All", labelSelector="sweep=yes")))
    assert await talk.get() == created
    wrong = await talk.patch(labels, dryRun="Some")
    assert wrong.status == 422
    assert wrong.json["details"]["causes"][0]["field"] == "dryRun"


@every_kind
async def test_finalizers(talk: Talk, kind: Kind) -> None:
    api = talk.api
    created = await talk.create(finalizers=["example.com/wait"])
    dead = await talk.patch({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 1}})
    assert [cause["field"] for cause in dead.json["details"]["causes"]] == [
        "metadata.deletionTimestamp",
        "metadata.deletionGracePeriodSeconds",
    ]
    marked = await talk.delete()
    assert_success(marked)
    held = await talk.get()
    assert held["metadata"]["deletionTimestamp"].endswith("Z")
    # A namespace goes when it is empty, however long that takes.
    assert held["metadata"].get("deletionGracePeriodSeconds") == (None if kind.plural == "namespaces" else 0)
    if created["metadata"].get("generation"):
        assert held["metadata"]["generation"] == created["metadata"]["generation"] + 1
    assert_success(await talk.delete())
    assert await talk.get() == held, "a second delete changes nothing"
    added = await talk.patch({"metadata": {"finalizers": ["example.com/wait", "example.com/late"]}})
    assert added.status == 422
    assert added.json["details"]["causes"][0]["field"] == "metadata.finalizers"
    revived = await talk.patch({"metadata": {"deletionTimestamp": None}})
    assert revived.json["metadata"]["deletionTimestamp"] == held["metadata"]["deletionTimestamp"]
    taken = await talk.patch({"metadata": {"finalizers": None}})
    assert_success(taken)
    if kind.kind == "Namespace":
        await talk.finalize()
    assert (await api.ask("GET", talk.path("a"))).status == 404

    await talk.create("b")
    assert_success(await talk.delete("b", propagationPolicy="Foreground"))
    waiting = (await talk.get("b"))["metadata"]
    own = [CLEANUP_FINALIZER] if kind == CUSTOMRESOURCEDEFINITION else []
    if kind.resource in in_use.FINALIZERS:
        own = [in_use.FINALIZERS[kind.resource]]
    assert waiting["finalizers"] == [*own, "foregroundDeletion"]
    assert waiting["deletionTimestamp"]
    wrong = await talk.delete("b", propagationPolicy="Sometimes")
    assert (wrong.status, wrong.json["reason"]) == (422, "Invalid")


@every_kind
async def test_fields(talk: Talk, kind: Kind) -> None:
    api = talk.api
    unknown = {**talk.made(), "colour": "red", "metadata": {**talk.made()["metadata"], "shape": "round"}}
    strict = await api.ask("POST", talk.path(fieldValidation="Strict"), unknown)
    assert (strict.status, strict.json["reason"]) == (400, "BadRequest")
    for field in ("colour", "metadata.shape"):
        assert f'unknown field "{field}"' in strict.json["message"]
    assert "strict decoding error" in strict.json["message"]
    ignored = await api.ask("POST", talk.path(fieldValidation="Ignore", dryRun="All"), unknown)
    assert ignored.status == 201
    assert "unknown field" not in ignored.headers.get("warning", "")
    warned = await api.ask("POST", talk.path(fieldValidation="Warn"), unknown)
    assert warned.status == 201
    assert "colour" not in warned.json
    for field in ("colour", "metadata.shape"):
        assert f'299 - "unknown field \\"{field}\\""' in warned.headers["warning"]
    patched = await talk.patch({"colour": "red"}, fieldValidation="Strict")
    assert patched.status == 422 or (patched.status, patched.json["reason"]) == (400, "BadRequest")
    repeated = orjson.dumps(talk.made("b"))[:-1] + b',"kind":"%s"}' % kind.kind.encode()
    twice = await api.ask("POST", talk.path(fieldValidation="Strict"), repeated)
    assert (twice.status, 'duplicate field "kind"' in twice.json["message"]) == (400, True)

    wrong_type = await api.ask("POST", talk.path(), {**talk.made("b"), "metadata": {"name": 5}})
    assert (wrong_type.status, wrong_type.json["reason"]) == (400, "BadRequest")
    assert "cannot unmarshal number into Go struct field ObjectMeta.metadata.name of type string" in wrong_type.json["message"]
    other = {**talk.made("b"), "kind": "Other"}
    assert (await api.ask("POST", talk.path(), other)).status == 400
    elsewhere = talk.made("b", namespace="elsewhere")
    placed = await api.ask("POST", talk.path(dryRun="All"), elsewhere)
    if kind.namespaced:
        assert (placed.status, placed.json["reason"]) == (400, "BadRequest")
    else:
        assert placed.status == 201 and "namespace" not in placed.json["metadata"]
    revision = await api.ask("POST", talk.path(), talk.made("b", resourceVersion="5"))
    assert (revision.status, revision.json["message"]) == (500, "resourceVersion should not be set on objects to be created")
    wrong_too = await api.ask("POST", talk.path(), talk.made("no/name", resourceVersion="5"))
    assert (wrong_too.status, wrong_too.json["reason"]) == (422, "Invalid"), "what validation finds is told first"
    nameless = talk.made("b")
    del nameless["metadata"]["name"]
    refused = await api.ask("POST", talk.path(), nameless)
    if kind.plural == "limitranges":
        assert refused.status == 201, "the server names it"
        return
    assert (refused.status, refused.json["reason"]) == (422, "Invalid")
    assert refused.json["details"]["causes"][0] == {
        "reason": "FieldValueRequired",
        "message": "Required value: name or generateName is required",
        "field": "metadata.name",
    }
    for bad in ("a/b", "..", "a%b"):
        nameless["metadata"]["name"] = bad
        refused = await api.ask("POST", talk.path(), nameless)
        assert (refused.status, refused.json["reason"]) == (422, "Invalid"), bad
    if talk.sample.name == "sample-{}":
        made = talk.made("b", generateName="made-")
        del made["metadata"]["name"]
        generated = await api.ask("POST", talk.path(), made)
        assert generated.status == 201, generated.text
        name = generated.json["metadata"]["name"]
        assert name.startswith("made-")
        assert len(name) == 10
        if kind.kind == "Namespace":
            assert generated.json["metadata"]["labels"]["kubernetes.io/metadata.name"] == name


@every_kind
async def test_forms(talk: Talk, kind: Kind) -> None:
    api = talk.api
    text = yaml.safe_dump(talk.made()).encode()
    made = await api.ask("POST", talk.path(), text, content_type="application/yaml", accept="application/yaml")
    assert (made.status, made.headers["content-type"]) == (201, "application/yaml")
    assert yaml.safe_load(made.text)["metadata"]["name"] == talk.name()
    assert yaml.safe_load((await api.ask("GET", talk.path("a"), accept="application/yaml")).text) == await talk.get()
    listed = await api.ask("GET", talk.path(labelSelector="sweep=yes"), accept="application/yaml")
    assert [item["metadata"]["name"] for item in yaml.safe_load(listed.text)["items"]] == [talk.name()]
    pretty = await api.ask("GET", talk.path("a", pretty="true"))
    assert pretty.text.startswith('{\n  "kind"')
    assert pretty.json == await talk.get()
    unread = await api.ask("POST", talk.path(), b"<xml/>", content_type="application/xml")
    assert (unread.status, unread.json["reason"]) == (415, "UnsupportedMediaType")
    unwritten = await api.ask("GET", talk.path("a"), accept="application/xml")
    assert (unwritten.status, unwritten.json["reason"]) == (406, "NotAcceptable")
    broken = await api.ask("POST", talk.path(), b'{"kind"')
    assert (broken.status, broken.json["reason"]) == (400, "BadRequest")


async def test_methods_that_are_not_there(api: Api) -> None:
    refusal = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "the server does not allow this method on the requested resource",
        "reason": "MethodNotAllowed",
        "details": {},
        "code": 405,
    }
    for kind in STORED:
        talk = Talk(api, kind)
        refused = [("POST", talk.path("a")), ("PUT", talk.path()), ("PATCH", talk.path()), ("OPTIONS", talk.path("a"))]
        if kind.namespaced:
            refused += [("POST", kind.path()), ("DELETE", kind.path())]  # in every namespace at once
            nowhere = await api.ask("GET", kind.path("", "a"))
            assert (nowhere.status, nowhere.json["details"]) == (404, {}), kind
        for method, path in refused:
            answered = await api.ask(method, path, talk.made())
            assert (answered.status, answered.json) == (405, refusal), (method, path)
        below = await api.ask("GET", talk.path("a", "nothing"))
        assert (below.status, below.json["reason"], below.json["details"]) == (404, "NotFound", {}), kind
        assert below.json["message"] == "the server could not find the requested resource"
