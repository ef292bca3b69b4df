"""Custom kinds come, are served like any other, and go."""

from __future__ import annotations

from tests.server.custom import DEFINITIONS, custom, definition, path, version
from tests.server.running import Api


def _condition(crd: dict, kind: str) -> dict:  # type: ignore[type-arg]
    return next((one for one in crd["status"].get("conditions") or () if one["type"] == kind), {})


async def test_a_definition_is_established_and_its_objects_are_served(api: Api) -> None:
    made = await api.ask("POST", DEFINITIONS, definition(names={"shortNames": ["wd"], "categories": ["all"]}))
    assert made.status == 201, made.text
    crd = (await api.ask("GET", f"{DEFINITIONS}/widgets.stable.example.com")).json
    assert _condition(crd, "NamesAccepted")["reason"] == "NoConflicts"
    assert _condition(crd, "Established")["status"] == "True"
    assert crd["status"]["acceptedNames"] == crd["spec"]["names"]
    assert crd["status"]["storedVersions"] == ["v1"]

    resources = (await api.ask("GET", "/apis/stable.example.com/v1")).json["resources"]
    assert [(one["name"], one["kind"], one["shortNames"]) for one in resources] == [("widgets", "Widget", ["wd"])]
    groups = (await api.ask("GET", "/apis")).json["groups"]
    assert groups[-1]["preferredVersion"]["groupVersion"] == "stable.example.com/v1"

    widget = await api.ask("POST", path("widgets"), custom("Widget", "one", spec={"size": 1}))
    assert widget.status == 201, widget.text
    assert widget.json["metadata"]["generation"] == 1
    changed = await api.ask("PATCH", path("widgets", "one"), {"spec": {"size": 2}}, content_type="application/merge-patch+json")
    assert (changed.status, changed.json["spec"], changed.json["metadata"]["generation"]) == (200, {"size": 2}, 2)
    refused = await api.ask(
        "PATCH", path("widgets", "one"), {"spec": {"size": 3}}, content_type="application/strategic-merge-patch+json"
    )
    assert refused.status == 415
    listed = (await api.ask("GET", path("widgets"))).json
    assert (listed["kind"], [item["spec"]["size"] for item in listed["items"]]) == ("WidgetList", [2])
    assert (await api.ask("DELETE", path("widgets", "one"))).status == 200
    assert (await api.ask("GET", path("widgets", "one"))).status == 404


async def test_what_was_defined_before_a_restart_is_served_after_it(api: Api) -> None:
    await api.ask("POST", DEFINITIONS, definition())
    generation = api.registry.kinds.generation
    await api.registry.custom.load()
    assert api.registry.kinds.generation == generation
    assert (await api.ask("GET", path("widgets"))).status == 200


async def test_versions_convert_by_name_when_nothing_else_is_asked(api: Api) -> None:
    crd = definition("Widget", version("v1"), version("v1beta1", storage=False), version("v2alpha1", storage=False))
    assert (await api.ask("POST", DEFINITIONS, crd)).status == 201
    group = (await api.ask("GET", "/apis/stable.example.com")).json
    assert [one["version"] for one in group["versions"]] == ["v1", "v1beta1", "v2alpha1"]
    await api.ask("POST", path("widgets", version="v1beta1"), custom("Widget", "one", "v1beta1", spec={"a": 1}))
    for name in ("v1", "v1beta1", "v2alpha1"):
        got = (await api.ask("GET", path("widgets", "one", version=name))).json
        assert (got["apiVersion"], got["spec"]) == (f"stable.example.com/{name}", {"a": 1})
    async with api.watch(path("widgets", version="v2alpha1") + "?watch=1") as lines:
        event = await lines.next()
        assert (event["type"], event["object"]["apiVersion"]) == ("ADDED", "stable.example.com/v2alpha1")


async def test_names_belong_to_whom_they_were_accepted_for(api: Api) -> None:
    await api.ask("POST", DEFINITIONS, definition("Widget", names={"shortNames": ["wd"]}))
    await api.ask("POST", DEFINITIONS, definition("Wodget", names={"shortNames": ["wd"]}))
    crd = (await api.ask("GET", f"{DEFINITIONS}/wodgets.stable.example.com")).json
    accepted = _condition(crd, "NamesAccepted")
    assert (accepted["status"], accepted["reason"], accepted["message"]) == (
        "False", "ShortNamesConflict", '"wd" is already in use',
    )  # fmt: skip
    assert _condition(crd, "Established")["reason"] == "NotAccepted"
    assert (await api.ask("GET", path("wodgets"))).status == 404

    patch = {"spec": {"names": {"shortNames": ["other"]}}}
    done = await api.ask("PATCH", f"{DEFINITIONS}/widgets.stable.example.com", patch, content_type="application/merge-patch+json")
    assert done.status == 200, done.text
    crd = (await api.ask("GET", f"{DEFINITIONS}/wodgets.stable.example.com")).json
    assert _condition(crd, "Established")["status"] == "True"
    assert (await api.ask("GET", path("wodgets"))).status == 200


async def test_a_watch_ends_with_its_kind(api: Api) -> None:
    await api.ask("POST", DEFINITIONS, definition())
    async with api.watch(path("widgets") + "?watch=1") as lines:
        await api.ask("DELETE", f"{DEFINITIONS}/widgets.stable.example.com")
        crd = (await api.ask("GET", f"{DEFINITIONS}/widgets.stable.example.com")).json
        assert crd["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]
        assert _condition(crd, "Terminating")["reason"] == "InstanceDeletionPending"
        late = await api.ask("POST", path("widgets"), custom("Widget", "late"))
        assert (late.status, late.json["message"]) == (
            405, "create not allowed while custom resource definition is terminating",
        )  # fmt: skip
        told = (await api.ask("GET", "/apis/stable.example.com/v1")).json["resources"][0]
        assert told["verbs"] == ["delete", "deletecollection", "get", "list", "watch"]
        await api.registry.custom.heed(crd, gone=True)
        assert await lines.next() is None
