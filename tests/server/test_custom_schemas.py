"""Objects are held against the schema of their kind."""

from __future__ import annotations

import pytest

from edgekube.api.objects import Object
from tests.server.custom import DEFINITIONS, custom, definition, path, version
from tests.server.running import Api

API_VERSION = "stable.example.com/v1"

SCHEMA: Object = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "spec": {
            "type": "object",
            "required": ["size"],
            "properties": {
                "size": {"type": "integer", "minimum": 1, "maximum": 10},
                "color": {"type": "string", "enum": ["red", "blue"], "default": "red"},
                "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5},
                "port": {"x-kubernetes-int-or-string": True},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
                "template": {"type": "object", "x-kubernetes-embedded-resource": True,
                             "x-kubernetes-preserve-unknown-fields": True},
                "maybe": {"type": "string", "nullable": True},
            },
        },
        "status": {"type": "object", "properties": {"ready": {"type": "boolean"}}},
    },
}  # fmt: skip


async def _defined(api: Api, schema: Object = SCHEMA, **more: object) -> None:
    made = await api.ask("POST", DEFINITIONS, definition("Widget", version("v1", schema, **more)))
    assert made.status == 201, made.text


async def test_what_was_sent_to_another_kinds_url_is_called_by_its_name(api: Api) -> None:
    await _defined(api)
    told = (await api.ask("POST", "/api/v1/namespaces/default/configmaps", custom("Widget", "one", spec={"size": 1}))).json
    assert (told["code"], told["message"]) == (
        400,
        'Widget in version "v1" cannot be handled as a ConfigMap: no kind "Widget" is registered for version '
        '"stable.example.com/v1" in scheme "pkg/runtime/scheme.go:111"',
    )


_OTHER_VERSION = f"does not match the expected API version ({API_VERSION})"
_MISSING = "the object provided is unrecognized (must be of type Widget): Object 'Kind' is missing in "


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({}, 400, f"{_MISSING}'{{}}' ({{}})"),
        (
            {"apiVersion": API_VERSION},
            400,
            f"""{_MISSING}'{{"apiVersion":"{API_VERSION}"}}' ({{"apiVersion":"stable.example. ...)""",
        ),
        ({"kind": "Widget"}, 400, f"the API version in the data () {_OTHER_VERSION}"),
        ({"kind": "Pod", "apiVersion": "v1"}, 400, f"the API version in the data (v1) {_OTHER_VERSION}"),
        (
            {"kind": "Gadget", "apiVersion": API_VERSION, "metadata": {"name": "one"}},
            422,
            'Gadget.stable.example.com "one" is invalid: kind: Invalid value: "Gadget": must be Widget',
        ),
    ],
)
async def test_an_object_of_a_kind_that_no_program_knows_says_what_it_is(
    api: Api, body: Object, status: int, message: str
) -> None:
    await _defined(api)
    told = await api.ask("POST", path("widgets"), body)
    assert (told.status, told.json["message"]) == (status, message)


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ({"kind": "X"}, 'X.stable.example.com "one" is invalid: kind: Invalid value: "X": must be Widget'),
        (
            {"apiVersion": "a/v9"},
            f'Widget.stable.example.com "one" is invalid: apiVersion: Invalid value: "a/v9": must be {API_VERSION}',
        ),
    ],
)
async def test_a_patch_cannot_make_it_something_else(api: Api, patch: Object, message: str) -> None:
    await _defined(api)
    await api.ask("POST", path("widgets"), custom("Widget", "one", spec={"size": 1}))
    told = await api.ask("PATCH", f"{path('widgets')}/one", patch, content_type="application/merge-patch+json")
    assert (told.status, told.json["message"]) == (422, message)


def _causes(answer: Object) -> list[tuple[str, str]]:
    return [(cause["field"], cause["message"]) for cause in answer["details"]["causes"]]


async def test_defaults_are_filled_and_unknown_fields_dropped(api: Api) -> None:
    await _defined(api)
    spec = {"size": 2, "extra": 1, "maybe": None, "name": None, "free": {"any": {"thing": 1}}}
    made = await api.ask("POST", path("widgets"), custom("Widget", "one", spec=spec))
    assert made.status == 201, made.text
    assert made.json["spec"] == {"size": 2, "color": "red", "maybe": None, "free": {"any": {"thing": 1}}}


async def test_unknown_fields_are_warned_of_or_refused(api: Api) -> None:
    await _defined(api)
    body = custom(
        "Widget", "one", spec={"size": 2, "extra": 1, "template": {"apiVersion": "v1", "kind": "X", "metadata": {"no": 1}}}
    )
    refused = await api.ask("POST", path("widgets") + "?fieldValidation=Strict", body)
    assert refused.status == 400
    assert refused.json["message"].endswith(
        'strict decoding error: unknown field "spec.extra", unknown field "spec.template.metadata.no"'
    )
    warned = await api.ask("POST", path("widgets") + "?fieldValidation=Warn", body)
    assert warned.status == 201
    assert 'unknown field \\"spec.extra\\"' in warned.headers["warning"]


async def test_wrong_values_are_named_as_upstream_names_them(api: Api) -> None:
    await _defined(api)
    spec = {"size": "big", "color": "green", "name": "TOOLONG", "port": True, "tags": ["a", "a"]}
    refused = await api.ask("POST", path("widgets"), custom("Widget", "one", spec=spec))
    assert refused.status == 422
    assert _causes(refused.json) == [
        ("spec.size", 'Invalid value: "string": spec.size in body must be of type integer: "string"'),
        ("spec.color", 'Unsupported value: "green": supported values: "red", "blue"'),
        ("spec.name", "Too long: may not be more than 5 bytes"),
        ("spec.port", 'Invalid value: "boolean": spec.port in body must be of type integer,string: "boolean"'),
        ("spec.tags[1]", 'Duplicate value: "a"'),
    ]
    missing = await api.ask("POST", path("widgets"), custom("Widget", "one"))
    assert _causes(missing.json) == [("spec", "Required value")]
    small = await api.ask("POST", path("widgets"), custom("Widget", "one", spec={"size": 0, "name": "A"}))
    assert _causes(small.json) == [
        ("spec.size", "Invalid value: 0: spec.size in body should be greater than or equal to 1"),
        ("spec.name", "Invalid value: \"A\": spec.name in body should match '^[a-z]+$'"),
    ]


async def test_what_was_wrong_before_is_not_held_against_an_update(api: Api) -> None:
    await _defined(api, {"type": "object", "x-kubernetes-preserve-unknown-fields": True})
    await api.ask("POST", path("widgets"), custom("Widget", "one", spec={"size": 99, "name": "ab"}))
    patch = [{"op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema", "value": SCHEMA}]
    changed = await api.ask(
        "PATCH", f"{DEFINITIONS}/widgets.stable.example.com", patch, content_type="application/json-patch+json"
    )
    assert changed.status == 200, changed.text
    merge = "application/merge-patch+json"
    fine = await api.ask("PATCH", path("widgets", "one"), {"spec": {"name": "cd"}}, content_type=merge)
    assert (fine.status, fine.json["spec"]) == (200, {"size": 99, "name": "cd", "color": "red"}), fine.text
    refused = await api.ask("PATCH", path("widgets", "one"), {"spec": {"size": 98}}, content_type=merge)
    assert refused.status == 422


async def test_what_is_stored_is_shown_by_the_schema_of_today(api: Api) -> None:
    await _defined(api, {"type": "object", "x-kubernetes-preserve-unknown-fields": True})
    await api.ask("POST", path("widgets"), custom("Widget", "one", spec={"size": 1, "old": True}))
    patch = [{"op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema", "value": SCHEMA}]
    await api.ask("PATCH", f"{DEFINITIONS}/widgets.stable.example.com", patch, content_type="application/json-patch+json")
    assert (await api.ask("GET", path("widgets", "one"))).json["spec"] == {"size": 1, "color": "red"}
    assert (await api.ask("GET", path("widgets"))).json["items"][0]["spec"] == {"size": 1, "color": "red"}


async def test_status_is_a_part_of_its_own_where_the_definition_says_so(api: Api) -> None:
    await _defined(api, subresources={"status": {}})
    body = custom("Widget", "one", spec={"size": 2}, status={"ready": True})
    made = (await api.ask("POST", path("widgets"), body)).json
    assert "status" not in made
    made |= {"status": {"ready": True}, "spec": {"size": 3}}
    told = await api.ask("PUT", path("widgets", "one") + "/status", made)
    assert told.status == 200, told.text
    assert (told.json["status"], told.json["spec"]["size"], told.json["metadata"]["generation"]) == ({"ready": True}, 2, 1)
    told.json["status"]["ready"] = "yes"
    merge = "application/merge-patch+json"
    wrong = await api.ask("PATCH", path("widgets", "one") + "/status", {"status": {"ready": "yes"}}, content_type=merge)
    assert _causes(wrong.json) == [("status.ready", 'Invalid value: "string": ready in body must be of type boolean: "string"')]
    changed = await api.ask(
        "PATCH", path("widgets", "one"), {"spec": {"size": 3}, "status": {"ready": False}}, content_type=merge
    )
    assert (changed.json["status"], changed.json["metadata"]["generation"]) == ({"ready": True}, 2)


async def test_scale_reads_and_writes_where_the_definition_points(api: Api) -> None:
    paths = {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size", "labelSelectorPath": ".status.selector"}
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    await _defined(api, schema, subresources={"status": {}, "scale": paths})
    made = (await api.ask("POST", path("widgets"), custom("Widget", "one", spec={"size": 2}))).json
    await api.ask("PUT", path("widgets", "one") + "/status", {**made, "status": {"size": 1, "selector": "app=x"}})
    scale = (await api.ask("GET", path("widgets", "one") + "/scale")).json
    assert (scale["spec"], scale["status"]) == ({"replicas": 2}, {"replicas": 1, "selector": "app=x"})
    scale["spec"]["replicas"] = 5
    scaled = await api.ask("PUT", path("widgets", "one") + "/scale", scale)
    assert (scaled.status, scaled.json["spec"]) == (200, {"replicas": 5}), scaled.text
    merge = "application/merge-patch+json"
    patched = await api.ask("PATCH", path("widgets", "one") + "/scale", {"spec": {"replicas": 7}}, content_type=merge)
    assert patched.status == 200, patched.text
    assert (await api.ask("GET", path("widgets", "one"))).json["spec"] == {"size": 7}
    wrong = await api.ask("PATCH", path("widgets", "one"), {"spec": {"size": -1}}, content_type=merge)
    assert _causes(wrong.json) == [(".spec.size", "Invalid value: -1: should be a non-negative integer")]


async def test_columns_are_those_of_the_definition(api: Api) -> None:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    columns = [
        {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
        {"name": "Size", "type": "integer", "jsonPath": ".spec.size", "priority": 1, "description": "How large."},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]
    await _defined(api, schema, additionalPrinterColumns=columns)
    body = custom(
        "Widget", "one", spec={"size": 3}, status={"conditions": [{"type": "Other"}, {"type": "Ready", "status": "True"}]}
    )
    await api.ask("POST", path("widgets"), body)
    accept = "application/json;as=Table;g=meta.k8s.io;v=v1"
    table = (await api.ask("GET", path("widgets"), accept=accept)).json
    assert [(one["name"], one["type"], one["priority"]) for one in table["columnDefinitions"]] == [
        ("Name", "string", 0), ("Ready", "string", 0), ("Size", "integer", 1), ("Age", "date", 0),
    ]  # fmt: skip
    assert table["rows"][0]["cells"][:3] == ["one", "True", 3]
    assert table["rows"][0]["cells"][3].endswith("s")


async def test_selectable_fields_select(api: Api) -> None:
    await _defined(api, selectableFields=[{"jsonPath": ".spec.color"}])
    for name, color in (("one", "red"), ("two", "blue")):
        await api.ask("POST", path("widgets"), custom("Widget", name, spec={"size": 1, "color": color}))
    listed = (await api.ask("GET", path("widgets") + "?fieldSelector=spec.color%3Dblue")).json
    assert [item["metadata"]["name"] for item in listed["items"]] == ["two"]
    refused = await api.ask("GET", path("widgets") + "?fieldSelector=spec.size%3D1")
    assert (refused.status, refused.json["message"]) == (400, "field label not supported: spec.size")
    async with api.watch(path("widgets") + "?watch=1&fieldSelector=spec.color%3Dred") as lines:
        assert (await lines.next())["object"]["metadata"]["name"] == "one"
        merge = "application/merge-patch+json"
        await api.ask("PATCH", path("widgets", "one"), {"spec": {"color": "blue"}}, content_type=merge)
        assert (await lines.next())["type"] == "DELETED"


async def test_a_deprecated_version_says_so(api: Api) -> None:
    await _defined(api, deprecated=True)
    answer = await api.ask("GET", path("widgets"))
    assert answer.headers["warning"] == '299 - "stable.example.com/v1 Widget is deprecated"'


async def test_rules_are_kept(api: Api) -> None:
    spec = {
        "type": "object",
        "properties": {"size": {"type": "integer"}, "color": {"type": "string", "maxLength": 9}},
        "x-kubernetes-validations": [
            {"rule": "self.size <= 10", "messageExpression": "self.color + ' is too large'"},
            {"rule": "self.color == oldSelf.color", "message": "a color stays", "fieldPath": ".color",
             "reason": "FieldValueForbidden"},
        ],
    }  # fmt: skip
    await _defined(api, {"type": "object", "properties": {"spec": spec}})
    refused = await api.ask("POST", path("widgets"), custom("Widget", "one", spec={"size": 11, "color": "red"}))
    assert _causes(refused.json) == [("spec", "Invalid value: red is too large")]
    wrong = await api.ask("POST", path("widgets"), custom("Widget", "one", spec={"size": "x", "color": "red"}))
    assert _causes(wrong.json)[1:] == [(
        "<nil>",
        "Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing "
        "errors to complete validation",
    )]  # fmt: skip
    assert (await api.ask("POST", path("widgets"), custom("Widget", "one", spec={"size": 1, "color": "red"}))).status == 201
    merge = "application/merge-patch+json"
    changed = await api.ask("PATCH", path("widgets", "one"), {"spec": {"color": "blue"}}, content_type=merge)
    assert _causes(changed.json) == [("spec.color", "Forbidden: a color stays")]


async def test_a_definition_with_a_bad_rule_is_refused(api: Api) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "x-kubernetes-validations": [{"rule": "self.b == 1"}]}
    refused = await api.ask("POST", DEFINITIONS, definition("Widget", version("v1", schema)))
    assert refused.status == 422
    assert refused.json["details"]["causes"][0]["field"] == "spec.validation.openAPIV3Schema.x-kubernetes-validations[0].rule"
    assert "undefined field 'b'" in refused.text


async def test_a_patch_that_says_a_field_twice_is_told(api: Api) -> None:
    await _defined(api)
    await api.ask("POST", path("widgets"), custom("Widget", "one", spec={"size": 2}))
    merge = "application/merge-patch+json"
    twice = b'{"spec": {"size": 3, "size": 4, "nothing": 1}}'
    refused = await api.ask("PATCH", path("widgets", "one") + "?fieldValidation=Strict", twice, content_type=merge)
    assert refused.status == 422
    assert 'duplicate field "spec.size"' in refused.json["message"]
    assert 'unknown field "spec.nothing"' in refused.json["message"]


async def test_items_of_a_list_map_have_the_keys_that_the_schema_gives_them(api: Api) -> None:
    port = {
        "type": "object",
        "required": ["port"],
        "properties": {"port": {"type": "integer"}, "proto": {"type": "string", "default": "TCP"}, "name": {"type": "string"}},
    }
    ports = {"type": "array", "items": port, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "proto"]}
    await _defined(api, {"type": "object", "properties": {"spec": {"type": "object", "properties": {"ports": ports}}}})

    async def applied(manager: str, *items: Object) -> Object:
        body = custom("Widget", "one", spec={"ports": list(items)})
        where = path("widgets", "one") + f"?fieldManager={manager}"
        answer = await api.ask("PATCH", where, body, content_type="application/apply-patch+yaml")
        assert answer.status in (200, 201), answer.text
        spec: Object = answer.json["spec"]
        return spec

    await applied("one", {"port": 80, "name": "http"})
    assert await applied("two", {"port": 80, "proto": "UDP"}) == {
        "ports": [{"port": 80, "proto": "TCP", "name": "http"}, {"port": 80, "proto": "UDP"}]
    }
    assert await applied("one") == {"ports": [{"port": 80, "proto": "UDP"}]}


async def test_an_object_that_was_judged_by_yesterdays_schema_is_mended(api: Api) -> None:
    await _defined(api, {"type": "object", "x-kubernetes-preserve-unknown-fields": True})
    stale = api.registry.kinds.by_kind("stable.example.com/v1", "Widget")
    assert stale is not None
    patch = [{"op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema", "value": SCHEMA}]
    await api.ask("PATCH", f"{DEFINITIONS}/widgets.stable.example.com", patch, content_type="application/json-patch+json")
    made = await api.verbs.create(stale, "default", custom("Widget", "one", spec={"size": 1}))
    assert api.registry.custom.settled_after(stale) >= int(made["metadata"]["resourceVersion"])
    assert (await api.ask("GET", path("widgets", "one"))).json["spec"] == {"size": 1, "color": "red"}
