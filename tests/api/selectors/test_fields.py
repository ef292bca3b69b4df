"""Field selectors: matched against objects, keys and bytes; refused in upstream's words."""

import orjson
import pytest

from edgekube.api.errors import StatusError
from edgekube.api.kinds import CONFIGMAP, EVENT, KINDS, NODE, POD, SECRET
from edgekube.api.objects import Object
from edgekube.api.selectors.fields import parse_field_selector
from edgekube.api.selectors.kind_fields import selectable_fields

RUNNING: Object = {
    "metadata": {"name": "web-1", "namespace": "shop", "labels": {"app": "web"}},
    "spec": {"nodeName": "pi-1", "restartPolicy": "Always", "hostNetwork": True},
    "status": {"phase": "Running", "podIP": "10.42.0.7", "podIPs": [{"ip": "10.42.0.7"}]},
}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True), ("metadata.name=web-1", True), ("metadata.name!=web-1", False), ("metadata.namespace==shop", True),
        ("spec.nodeName=pi-1,status.phase=Running", True), ("spec.nodeName=", False), ("status.phase!=Running", False),
        ("spec.hostNetwork=true", True), ("status.podIP=10.42.0.7", True), ("status.nominatedNodeName=", True),
        ("spec.serviceAccountName=x", False), ("metadata.name=web-1,status.phase=Failed", False),
    ],
)  # fmt: skip
def test_field_selectors_match_objects_and_bytes(text: str, matches: bool) -> None:
    selector = parse_field_selector(POD, text)
    assert selector.matches(RUNNING) is matches
    assert selector.matches_raw(orjson.dumps(RUNNING)) is matches


def test_a_field_selector_may_need_only_the_key() -> None:
    selector = parse_field_selector(POD, "metadata.name=web-1")
    assert selector.metadata_only and selector.exact("metadata.name") == "web-1" and selector.matches_name("shop", "web-1")
    assert not parse_field_selector(POD, "status.phase=Running").metadata_only
    assert parse_field_selector(POD, "metadata.name!=web-1").exact("metadata.name") is None
    assert str(parse_field_selector(POD, "metadata.name!=a,spec.nodeName==b")) == "metadata.name!=a,spec.nodeName=b"


def test_kinds_have_fields_of_their_own() -> None:
    event: Object = {
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "name": "web-1", "uid": "u"},
        "reason": "Started",
        "reportingComponent": "kubelet",
        "type": "Normal",
    }
    selector = parse_field_selector(EVENT, "involvedObject.name=web-1,involvedObject.uid=u,source=kubelet,type!=Warning")
    assert selector.matches(event) and selector.matches_raw(orjson.dumps(event))
    assert parse_field_selector(NODE, "spec.unschedulable=false").matches({"spec": {}})
    assert parse_field_selector(SECRET, "type=Opaque").matches_raw(b'{"type":"Opaque","data":{"a":"YQ=="}}')
    job = KINDS.by_kind("batch/v1", "Job")
    assert job is not None and parse_field_selector(job, "status.successful=1").matches({"status": {"succeeded": 1}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("spec.image=x", "field label not supported: spec.image"),
        ("nonsense", "invalid selector: 'nonsense'; can't understand 'nonsense'"),
        ("metadata.name=a=b", "invalid field selector: unescaped character in value: ="),
        ("metadata.name=a\\b", "invalid field selector: invalid escape sequence: \\b"),
    ],
)
def test_bad_field_selectors_are_explained(text: str, message: str) -> None:
    with pytest.raises(StatusError) as caught:
        parse_field_selector(POD, text)
    assert (caught.value.code, caught.value.message) == (400, message)


def test_other_kinds_know_name_and_namespace_only() -> None:
    with pytest.raises(StatusError) as caught:
        parse_field_selector(CONFIGMAP, "data.x=y")
    assert caught.value.message == '"data.x" is not a known field selector: only "metadata.name", "metadata.namespace"'
    assert selectable_fields(CONFIGMAP) == ("metadata.name", "metadata.namespace")


def test_values_may_be_escaped() -> None:
    selector = parse_field_selector(POD, "metadata.name=a\\,b\\=c\\\\")
    assert selector.exact("metadata.name") == "a,b=c\\"


@pytest.mark.parametrize(
    "parts", [{}, {"spec": None, "status": None}, {"spec": {}, "status": {"podIPs": []}}, {"status": {"podIP": "x"}}]
)
def test_missing_parts_read_alike_from_objects_and_bytes(parts: Object) -> None:
    obj = {"metadata": {"name": "a"}, **parts}
    for field in selectable_fields(POD):
        for text in (f"{field}=", f"{field}!=x", f"{field}=false"):
            selector = parse_field_selector(POD, text)
            assert selector.matches_raw(orjson.dumps(obj)) is selector.matches(obj), text
