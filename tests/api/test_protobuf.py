"""Protobuf bodies: as kubectl sends them, and as nobody should."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.api.errors import StatusError
from edgekube.api.protobuf import decode_protobuf

#: What kubectl 1.32 sends for ``create configmap a --from-literal=x=y``.
KUBECTL_CONFIGMAP = bytes.fromhex(
    "6b3873000a0f0a0276311209436f6e6669674d6170121b0a110a016112001a0022002a00320038004200" + "12060a0178120179" + "1a002200"
)


def field(number: int, value: bytes | str | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value & (2**64 - 1))
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def body(api_version: str, kind: str, raw: bytes) -> bytes:
    return b"k8s\0" + field(1, field(1, api_version) + field(2, kind)) + field(2, raw) + field(3, "") + field(4, "")


def test_a_configmap_of_kubectl() -> None:
    assert decode_protobuf(KUBECTL_CONFIGMAP) == {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"name": "a"},
        "data": {"x": "y"},
    }


def test_every_type_of_field() -> None:
    container = field(1, "main") + field(2, "demo:1")
    container += field(6, field(3, 8080) + field(1, "http"))
    container += field(8, field(1, field(1, "cpu") + field(2, field(1, "100m"))))
    probe = field(1, field(2, field(1, "/ok") + field(2, field(1, 1) + field(3, "http")))) + field(2, 0) + field(7, 0)
    container += field(10, probe)
    spec = field(1, field(1, "v") + field(2, field(2, b""))) + field(2, container) + field(11, 0) + field(5, 2**64 - 5)
    metadata = field(1, "p") + field(8, field(1, 1_700_000_000)) + field(11, field(1, "k") + field(2, ""))
    decoded = decode_protobuf(body("v1", "Pod", field(1, metadata) + field(2, spec) + field(200, "a newer field")))
    assert decoded["metadata"] == {"name": "p", "creationTimestamp": "2023-11-14T22:13:20Z", "labels": {"k": ""}}
    assert decoded["spec"]["volumes"] == [{"name": "v", "emptyDir": {}}]
    assert decoded["spec"]["activeDeadlineSeconds"] == -5
    assert "hostNetwork" not in decoded["spec"]
    main = decoded["spec"]["containers"][0]
    assert main["ports"] == [{"name": "http", "containerPort": 8080}]
    assert main["resources"] == {"limits": {"cpu": "100m"}}
    assert main["livenessProbe"] == {"httpGet": {"path": "/ok", "port": "http"}, "terminationGracePeriodSeconds": 0}


def test_bytes_and_lists_in_maps() -> None:
    secret = decode_protobuf(body("v1", "Secret", field(2, field(1, "k") + field(2, b"\x00\xff"))))
    assert secret["data"] == {"k": "AP8="}
    extra = field(5, field(1, "scopes") + field(2, field(1, "a") + field(1, "b")))
    review = decode_protobuf(body("authorization.k8s.io/v1", "SubjectAccessReview", field(2, field(3, "u") + extra)))
    assert review["spec"]["extra"] == {"scopes": ["a", "b"]}


def test_options_of_a_delete() -> None:
    options = decode_protobuf(body("apps/v1", "DeleteOptions", field(1, 0) + field(4, "Foreground")))
    assert options["gracePeriodSeconds"] == 0
    assert options["propagationPolicy"] == "Foreground"


def test_a_kind_without_a_protobuf_form() -> None:
    with pytest.raises(StatusError) as error:
        decode_protobuf(body("example.com/v1", "Thing", b""))
    assert error.value.reason == "UnsupportedMediaType"


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=64), st.integers(0, len(KUBECTL_CONFIGMAP)))
def test_broken_bodies_are_refused_or_read(noise: bytes, at: int) -> None:
    for text in (KUBECTL_CONFIGMAP[:at] + noise, b"k8s\0" + noise, body("v1", "Pod", noise)):
        try:
            assert isinstance(decode_protobuf(text), dict)
        except StatusError as error:
            assert error.reason in ("BadRequest", "UnsupportedMediaType")


def test_a_definition_and_what_in_its_schema_is_one_thing_or_another() -> None:
    """JSON has a schema or a list, a schema or a truth value, in one place; protobuf has a field for each."""
    string = field(5, "string")
    schema = (
        field(5, "object")
        + field(24, field(1, string))  # items: one schema
        + field(33, field(1, 1))  # additionalItems: true
        + field(30, field(2, string))  # additionalProperties: a schema
        + field(8, field(1, b'{"a":[1]}'))  # default: any JSON
        + varint(9 << 3 | 1)
        + struct.pack("<d", 10)  # maximum: JSON writes whole numbers without a point
        + field(38, 1)
    )
    version = field(1, "v1") + field(2, 1) + field(3, 1) + field(4, field(1, schema)) + field(5, field(1, b""))
    made = decode_protobuf(
        body("apiextensions.k8s.io/v1", "CustomResourceDefinition", field(2, field(1, "g") + field(7, version)))
    )
    (told,) = made["spec"]["versions"]
    assert told["subresources"] == {"status": {}}
    assert told["schema"]["openAPIV3Schema"] == {
        "type": "object",
        "items": {"type": "string"},
        "additionalItems": True,
        "additionalProperties": {"type": "string"},
        "default": {"a": [1]},
        "maximum": 10,
        "x-kubernetes-preserve-unknown-fields": True,
    }
    listed = decode_protobuf(body("apiregistration.k8s.io/v1", "APIService", field(2, field(2, "g") + field(5, b"\x01"))))
    assert listed["spec"]["group"] == "g" and listed["spec"]["caBundle"] == "AQ=="
