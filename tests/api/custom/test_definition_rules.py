"""What a definition may not say, in the words of kube-apiserver."""

from __future__ import annotations

import base64
import tracemalloc
from typing import Any

import pytest

from edgekube.api.custom.conditions import condition
from edgekube.api.custom.definition_rules import check_definition, check_definition_update
from edgekube.api.custom.naming import settle
from edgekube.api.defaults import apply_defaults
from edgekube.api.kinds import CUSTOMRESOURCEDEFINITION
from edgekube.api.objects import Object
from edgekube.api.validation.fields import Findings, gathered
from tests.server.custom import definition, version

ROOT = "spec.validation.openAPIV3Schema"


def _refusals(crd: Object, old: Object | None = None) -> list[str]:
    for each in (crd, *((old,) if old else ())):
        apply_defaults(CUSTOMRESOURCEDEFINITION, each)
    out = Findings()
    if old is None:
        check_definition(out, crd)
    else:
        check_definition_update(out, crd, old)
    return [f"{cause.field}: {cause.message}" for cause in out]


def _spec(**properties: Any) -> Object:
    return {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}


def _schema(schema: Object) -> list[str]:
    return _refusals(definition("Widget", version("v1", schema)))


def test_a_good_definition_is_good() -> None:
    assert _refusals(definition()) == []
    assert _schema(_spec(a={"type": "string", "default": "x"}, b={"x-kubernetes-int-or-string": True})) == []


SCHEMAS: list[tuple[Object, list[str]]] = [
    ({"type": "string"}, [f'{ROOT}.type: Invalid value: "string": must be object at the root']),
    ({}, [f"{ROOT}.type: Required value: must not be empty at the root"]),
    (
        {"type": "object", "properties": {"spec": {}}},
        [f"{ROOT}.properties[spec].type: Required value: must not be empty for specified object fields"],
    ),
    (
        _spec(a={"type": "array"}),
        [f"{ROOT}.properties[spec].properties[a].items: Required value: must be specified"],
    ),
    (
        _spec(a={"type": "array", "items": {}}),
        [f"{ROOT}.properties[spec].properties[a].items.type: Required value: must not be empty for specified array items"],
    ),
    (
        {"type": "object", "additionalProperties": True},
        [f"{ROOT}.additionalProperties: Forbidden: must not be used at the root"],
    ),
    (
        {"type": "object", "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}},
        [
            f"{ROOT}.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata "
            "is implicitly specified"
        ],
    ),
    (
        _spec(a={"type": "string", "anyOf": [{"type": "integer"}]}),
        [f"{ROOT}.properties[spec].properties[a].anyOf[0].type: Forbidden: must be empty to be structural"],
    ),
    (
        {"type": "object", "oneOf": [{"properties": {"spec": {"required": ["a"]}}}]},
        [f"{ROOT}.properties[spec]: Required value: because it is defined in {ROOT}.oneOf[0].properties[spec]"],
    ),
    (
        _spec(a={"type": "string", "pattern": "(?=x)"}),
        [
            f'{ROOT}.properties[spec].properties[a].pattern: Invalid value: "(?=x)": must be a valid regular expression, but '
            "isn't: error parsing regexp: invalid or unsupported Perl syntax: `(?=`"
        ],
    ),
    (
        _spec(a={"type": "object", "x-kubernetes-embedded-resource": True}),
        [
            f"{ROOT}.properties[spec].properties[a].properties: Required value: must not be empty if "
            "x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields"
        ],
    ),
    (
        _spec(a={"type": "array", "uniqueItems": True, "items": {"type": "string"}}),
        [
            f"{ROOT}.properties[spec].properties[a].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime "
            "complexity becomes quadratic"
        ],
    ),
    (
        _spec(a={"type": "object", "properties": {"b": {"type": "string"}}, "additionalProperties": {"type": "string"}}),
        [
            f"{ROOT}.properties[spec].properties[a].additionalProperties: Forbidden: additionalProperties and properties are "
            "mutual exclusive"
        ],
    ),
    (
        _spec(a={"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "map"}),
        [
            f"{ROOT}.properties[spec].properties[a].x-kubernetes-list-map-keys: Required value: must not be empty if "
            "x-kubernetes-list-type is map"
        ],
    ),
    (
        _spec(
            a={
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "properties": {"k": {"type": "string"}}},
            }
        ),
        [
            f"{ROOT}.properties[spec].properties[a].items.properties[k].default: Required value: this property is in "
            "x-kubernetes-list-map-keys, so it must have a default or be a required property"
        ],
    ),
    (
        _spec(a={"type": "integer", "default": "x"}),
        [f'{ROOT}.properties[spec].properties[a].default: Invalid value: "string":  in body must be of type integer: "string"'],
    ),
    (
        _spec(a={"type": "object", "default": {"no": 1}}),
        [f'{ROOT}.properties[spec].properties[a].default: Invalid value: {{"no":1}}: must not have unknown fields'],
    ),
    (
        {"type": "object", "properties": {"kind": {"type": "string", "default": "Widget"}}},
        [f"{ROOT}.properties[kind].default: Forbidden: must not be set in top-level kind"],
    ),
    (
        _spec(a={"type": "null"}),
        [
            f'{ROOT}.properties[spec].properties[a].type: Unsupported value: "null": supported values: "array", "boolean", '
            '"integer", "number", "object", "string"',
            f"{ROOT}.properties[spec].properties[a].type: Forbidden: type cannot be set to null, use nullable as an alternative",
        ],
    ),
    ({"type": "object", "nullable": True}, [f"{ROOT}.nullable: Forbidden: nullable cannot be true at the root"]),
    (
        {"type": "object", "x-kubernetes-validations": [{"rule": " "}, {"rule": "true\nfalse"}]},
        [
            f"{ROOT}.x-kubernetes-validations[0].rule: Required value: rule is not specified",
            f"{ROOT}.x-kubernetes-validations[1].message: Required value: message must be specified if rule contains line breaks",
        ],
    ),
]


@pytest.mark.parametrize(("schema", "expected"), SCHEMAS, ids=[str(number) for number in range(len(SCHEMAS))])
def test_a_schema_that_is_not_structural_is_refused(schema: Object, expected: list[str]) -> None:
    found = _schema(schema)
    assert [text for text in expected if text not in found] == [], found
    assert len(found) <= len(expected), found


def test_versions_are_counted_and_named() -> None:
    crd = definition("Widget", version("v1"), version("v1", storage=True), version("V2", storage=False))
    texts = [text.partition(": Invalid value")[0] + "|" + text.rpartition(": ")[2] for text in _refusals(crd)]
    assert "spec.versions|must contain unique version names" in texts
    assert "spec.versions|must have exactly one version marked as storage version" in texts
    assert any(text.startswith("spec.versions[2].name|") for text in texts)


def test_versions_are_shown_as_upstream_holds_them() -> None:
    def shown(storage: str) -> str:
        return (
            f'{{"Name":"v1","Served":true,"Storage":{storage},"Deprecated":false,"DeprecationWarning":null,"Schema":null,'
            '"Subresources":null,"AdditionalPrinterColumns":null,"SelectableFields":null}'
        )

    assert _refusals(definition("Widget", version("v1"), version("v1", storage=False))) == [
        f"spec.versions: Invalid value: [{shown('true')},{shown('false')}]: must contain unique version names"
    ]


def test_a_field_that_selects_needs_a_schema() -> None:
    crd = definition("Widget", version("v1", selectableFields=[{"jsonPath": ".spec.a"}]))
    del crd["spec"]["versions"][0]["schema"]
    assert 'spec.selectableFields: Invalid value: "": may only be set when validations.schema is included' in _refusals(crd)


def test_either_name_is_made_of_plural_and_group() -> None:
    crd = definition()
    crd["metadata"]["generateName"] = "w"
    assert _refusals(crd) == ['metadata.generateName: Invalid value: "w": must be spec.names.plural+"."+spec.group']


def test_an_empty_keyword_is_a_keyword() -> None:
    schema = _spec(a={"type": "array", "items": {"type": "string"}, "additionalItems": {}})
    where = f"{ROOT}.properties[spec].properties[a].additionalItems"
    assert f"{where}: Forbidden: additionalItems is not supported" in _schema(schema)
    crd = definition("Widget", version("v1", {"type": "object", "not": {}}, subresources={"status": {}}))
    assert any(text.startswith(f"{ROOT}: Invalid value") and "fields are allowed at the root" in text for text in _refusals(crd))


def test_protected_groups_need_approval() -> None:
    crd = definition(group="things.k8s.io")
    field = "metadata.annotations[api-approved.kubernetes.io]"
    detail = 'protected groups must have approval annotation "api-approved.kubernetes.io"'
    more = "https://github.com/kubernetes/enhancements/pull/1111"
    assert _refusals(crd) == [f"{field}: Required value: {detail}, see {more}"]
    crd["metadata"]["annotations"] = {"api-approved.kubernetes.io": "sure"}
    assert _refusals(crd) == [
        f'{field}: Invalid value: "sure": {detail} with either a URL or a reason starting with "unapproved", see {more}'
    ]
    for good in ("https://github.com/kubernetes/kubernetes/pull/1", "unapproved, a test"):
        crd["metadata"]["annotations"] = {"api-approved.kubernetes.io": good}
        assert _refusals(crd) == []


def test_a_conversion_webhook_says_where_it_is() -> None:
    crd = definition(conversion={"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v2"]}})
    assert _refusals(crd) == [
        "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook",
        'spec.conversion.conversionReviewVersions: Invalid value: ["v2"]: must include at least one of v1, v1beta1',
    ]


def test_selectable_fields_lead_to_scalars() -> None:
    schema = _spec(
        a={"type": "string"}, b={"type": "object", "properties": {"c": {"type": "array", "items": {"type": "string"}}}}
    )
    fields = [{"jsonPath": path} for path in (".spec.a", ".spec.a", ".spec.none", ".spec.b.c", ".spec['a']")]
    found = _refusals(definition("Widget", version("v1", schema, selectableFields=fields)))
    assert found == [
        'spec.selectableFields[1].jsonPath: Duplicate value: ".spec.a"',
        'spec.selectableFields[2].jsonPath: Invalid value: ".spec.none": is an invalid path: does not refer to a valid field',
        'spec.selectableFields[3].jsonPath: Invalid value: ".spec.b.c": must point to a field of type string, boolean or '
        "integer. Enum string fields and strings with formats are allowed.",
        "spec.selectableFields[4].jsonPath: Invalid value: \".spec['a']\": is an invalid path: array notation is not allowed",
    ]


def test_columns_and_scale_name_paths() -> None:
    crd = definition(
        "Widget",
        version(
            additionalPrinterColumns=[{"name": "A", "type": "text", "jsonPath": "spec.a"}],
            subresources={"scale": {"specReplicasPath": ".status.a", "statusReplicasPath": ".status.a"}},
        ),
    )
    assert _refusals(crd) == [
        'spec.subresources.scale.specReplicasPath: Invalid value: ".status.a": should be a json path under .spec',
        'spec.additionalPrinterColumns[0].type: Invalid value: "text": must be one of boolean,date,integer,number,string',
        'spec.additionalPrinterColumns[0].JSONPath: Invalid value: "spec.a": must be a simple json path starting with .',
    ]


def test_what_never_changes() -> None:
    old = definition()
    old["status"] = {"storedVersions": ["v1"], "conditions": [{"type": "Established", "status": "True"}]}
    new = definition("Other", namespaced=False, names={"plural": "widgets", "singular": "widget", "listKind": "WidgetList"})
    new["metadata"]["name"], new["status"] = old["metadata"]["name"], old["status"]
    assert _refusals(new, old) == [
        'spec.scope: Invalid value: "Cluster": field is immutable',
        'spec.names.kind: Invalid value: "Other": field is immutable',
    ]


def test_a_version_that_objects_are_stored_in_stays() -> None:
    old = definition("Widget", version("v1"), version("v2", storage=False))
    old["status"] = {"storedVersions": ["v1"]}
    new = definition("Widget", version("v2"))
    new["status"] = {"storedVersions": ["v1", "v2"]}
    assert [text.partition(";")[0] for text in _refusals(new, old)] == [
        'status.storedVersions[0]: Invalid value: "v1": missing from spec.versions'
    ]


def test_a_default_keeps_the_rules_of_its_place() -> None:
    rules = [{"rule": "self > 3", "message": "more than 3"}]
    assert _schema(_spec(a={"type": "integer", "default": 2, "x-kubernetes-validations": rules})) == [
        f"{ROOT}.properties[spec].properties[a].default: Invalid value: 2: more than 3"
    ]
    assert _schema(_spec(a={"type": "integer", "default": 4, "x-kubernetes-validations": rules})) == []


def test_a_bundle_is_waited_for_and_not_lost() -> None:
    good = base64.b64encode(b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n").decode()
    bad = base64.b64encode(b"nothing").decode()

    def of(bundle: str) -> Object:
        config = {"url": "https://example.com/convert", "caBundle": bundle}
        webhook = {"conversionReviewVersions": ["v1"], "clientConfig": config}
        return definition(conversion={"strategy": "Webhook", "webhook": webhook})

    waiting = of(bad)
    assert _refusals(waiting) == []
    assert settle(waiting, set(), set(), "2026-01-01T00:00:00Z")
    assert condition(waiting, "Established") == {
        "type": "Established", "status": "False", "lastTransitionTime": "2026-01-01T00:00:00Z", "reason": "InvalidCABundle",
        "message": "The conversion webhook CABundle is invalid",
    }  # fmt: skip
    serving = of(good)
    apply_defaults(CUSTOMRESOURCEDEFINITION, serving)
    settle(serving, set(), set(), "2026-01-01T00:00:00Z")
    lost = of(bad)
    lost["status"] = serving["status"]
    assert _refusals(lost, serving) == [
        f'spec.conversion.webhookClientConfig.caBundle: Invalid value: "{bad}": unable to load root certificates: unable to '
        "parse bytes as PEM block"
    ]


def test_faults_below_a_long_name_are_not_all_kept() -> None:
    """Each names its whole path: a thousand of them below a name of 800 kB would be 800 MB."""
    wrong = {"type": "object", "properties": {f"p{i}": {"type": "strange", "default": {"a": 1}} for i in range(1000)}}
    crd = definition("Widget", version("v1", _spec(**{"n" * 800_000: wrong})))
    tracemalloc.start()
    found = gathered(lambda out: check_definition(out, crd))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert any("strange" in cause.message for cause in found) and sum(len(cause.field) for cause in found) < 4_000_000
    assert peak_bytes < 40_000_000
