"""Objects written as protobuf are read as the same objects."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.api.kinds import KINDS
from edgekube.api.protobuf import decode_protobuf
from edgekube.api.protobuf_answers import encode, encode_event, has_form
from tests.api.samples import full_pod
from tests.api.table_samples import SAMPLES


def _without_empty(value: Any) -> Any:
    """Lists, maps, texts and numbers that are empty look like none at all, in Go too."""
    if isinstance(value, dict):
        kept = {key: _without_empty(each) for key, each in value.items()}
        return {key: each for key, each in kept.items() if each not in ({}, [], "", 0, None, False)}
    if isinstance(value, list):
        return [_without_empty(each) for each in value]
    return value.replace(".000000Z", "Z") if isinstance(value, str) else value


@pytest.mark.parametrize(("api_version", "kind"), [key for key in SAMPLES if has_form(*key)])
def test_samples_come_back(api_version: str, kind: str) -> None:
    for sample in SAMPLES[api_version, kind]:
        obj = {"kind": kind, "apiVersion": api_version, **sample}
        assert _without_empty(decode_protobuf(encode(obj))) == _without_empty(obj)


def test_a_full_pod_comes_back() -> None:
    pod = {"kind": "Pod", "apiVersion": "v1", **full_pod()}
    assert _without_empty(decode_protobuf(encode(pod))) == _without_empty(pod)


def test_what_a_field_may_be() -> None:
    pod = {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": "p", "creationTimestamp": None, "labels": {"k": ""}, "generation": 2**40},
        "spec": {
            "activeDeadlineSeconds": -5,
            "automountServiceAccountToken": False,
            "volumes": [{"name": "v", "emptyDir": {}}],
            "containers": [{
                "name": "c", "livenessProbe": {"httpGet": {"port": "http", "path": "/"}, "initialDelaySeconds": 3},
                "readinessProbe": {"tcpSocket": {"port": 80}}, "resources": {"limits": {"cpu": "100m"}},
            }],
        },
    }  # fmt: skip
    back = decode_protobuf(encode(pod))
    del pod["metadata"]["creationTimestamp"]  # type: ignore[attr-defined]
    assert _without_empty(back) == _without_empty(pod)
    assert back["spec"]["automountServiceAccountToken"] is False, "a pointer: false is not nothing"
    assert back["spec"]["volumes"][0]["emptyDir"] == {}
    lease = {"kind": "Lease", "apiVersion": "coordination.k8s.io/v1", "spec": {"renewTime": "2026-01-02T03:04:05.000006Z"}}
    assert decode_protobuf(encode(lease))["spec"] == lease["spec"]
    secret = {"kind": "Secret", "apiVersion": "v1", "data": {"k": "AAEC/w=="}}
    assert decode_protobuf(encode(secret))["data"] == secret["data"]


@given(st.dictionaries(st.text(min_size=1), st.text(min_size=1)), st.integers(0, 2**53), st.text(min_size=1))
def test_texts_and_numbers_come_back(data: dict[str, str], generation: int, name: str) -> None:
    obj = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name, "generation": generation}, "data": data}
    assert _without_empty(decode_protobuf(encode(obj))) == _without_empty(obj)


def test_a_schema_comes_back() -> None:
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "array", "items": {"type": "string", "maxLength": 5}},
            "b": {"type": "object", "additionalProperties": {"type": "number", "minimum": 0.5}},
            "c": {"type": "object", "additionalProperties": True, "default": {"x": [1]}},
        },
    }
    crd = {
        "kind": "CustomResourceDefinition",
        "apiVersion": "apiextensions.k8s.io/v1",
        "spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": schema}}]},
    }
    assert _without_empty(decode_protobuf(encode(crd))) == crd


def test_lists_and_statuses_have_a_form() -> None:
    for kind in KINDS.rows:
        if has_form(kind.api_version, kind.kind) and kind.stored:
            assert has_form(kind.api_version, kind.list_kind), kind
    assert has_form("v1", "Status") and not has_form("v1", "Nothing")
    with pytest.raises(LookupError, match="Widget has no protobuf form"):
        encode({"kind": "Widget", "apiVersion": "stable.example.com/v1"})


def test_a_frame() -> None:
    frame = encode_event("ADDED", {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "n"}})
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    assert frame[4:11] == b"\x0a\x05ADDED"
