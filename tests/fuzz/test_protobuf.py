"""Protobuf bodies: real ones with bytes changed, and ones that were made to hurt."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.api.test_protobuf import KUBECTL_CONFIGMAP, body, field, varint
from tests.fuzz.effort import effort
from tests.fuzz.mutating import bitten
from tests.fuzz.serving import Fuzzed

PROTOBUF = "application/vnd.kubernetes.protobuf"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def real_pod() -> bytes:
    container = field(1, "main") + field(2, "demo:1") + field(6, field(3, 8080) + field(1, "http"))
    container += field(8, field(1, field(1, "cpu") + field(2, field(1, "100m"))))
    container += field(10, field(1, field(2, field(1, "/ok") + field(2, field(1, 1) + field(3, "http")))) + field(2, 0))
    spec = field(1, field(1, "v") + field(2, field(2, b""))) + field(2, container) + field(11, 0) + field(5, 60)
    metadata = field(1, "p") + field(8, field(1, 1_700_000_000)) + field(11, field(1, "k") + field(2, ""))
    return body("v1", "Pod", field(1, metadata) + field(2, spec))


def nested(depth: int) -> bytes:
    inner = b""
    for _ in range(depth):
        inner = field(12, inner)  # fieldsV1-like: any message within a message
    return inner


def nested_schema(depth: int) -> bytes:
    schema = b""
    for _ in range(depth):
        schema = field(30, schema)  # JSONSchemaProps.not
    return body("apiextensions.k8s.io/v1", "CustomResourceDefinition", field(2, field(7, field(4, field(1, schema)))))


@effort(200)
@given(st.integers(0, 2**32 - 1))
def test_changed_bodies(server: Fuzzed, seed: int) -> None:
    source = random.Random(seed)
    path, whole = source.choice([(PODS, real_pod()), (CONFIGMAPS, KUBECTL_CONFIGMAP), (DEFINITIONS, nested_schema(3))])
    sent = bitten(whole, source) if source.random() < 0.3 else whole[:4] + bitten(whole[4:], source)
    answer = server.ask(
        source.choice(("POST", "POST", "PUT")),
        path if source.random() < 0.9 else f"{path}/p",
        sent,
        query={"dryRun": "All"},
        content_type=PROTOBUF,
    )
    assert answer.status in (200, 201, 400, 404, 405, 409, 415, 422), answer.text


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(lambda: body("v1", "Pod", nested(2000)), id="2000 messages in one another"),
        pytest.param(lambda: nested_schema(120), id="120 schemas in one another"),
        pytest.param(lambda: nested_schema(20_000), id="20000 schemas in one another"),
        pytest.param(lambda: b"k8s\0" + varint(2 << 3 | 2) + varint(2**63) + b"x", id="a length of 2^63"),
        pytest.param(lambda: b"k8s\0" + b"\xff" * 1_000_000, id="a number without end"),
        pytest.param(
            lambda: body("v1", "ConfigMap", field(2, field(1, "a") + field(2, "b")) * 150_000), id="150000 times one key"
        ),
        pytest.param(lambda: body("v1", "Pod", field(1, field(1, "p") + field(11, field(1, "k")) * 150_000)), id="150000 labels"),
        pytest.param(lambda: body("v1", "Pod", field(200, "x" * 3_000_000)), id="3 MB of an unknown field"),
        pytest.param(lambda: body("v1", "Pod", field(2, field(5, 2**63))), id="a number that Go could not hold"),
        pytest.param(lambda: body("v1", "Pod", field(1, field(8, field(1, 2**62)))), id="a time of the far future"),
    ],
)
def test_bodies_that_were_made_to_hurt(server: Fuzzed, sent: object) -> None:
    made = sent()  # type: ignore[operator]
    began = time.perf_counter()
    answer = server.ask("POST", PODS, made, query={"dryRun": "All"}, content_type=PROTOBUF)
    assert answer.status in (400, 413, 422), answer.text[:1000]
    server.ask("POST", DEFINITIONS, made, query={"dryRun": "All"}, content_type=PROTOBUF)
    assert time.perf_counter() - began < 20
