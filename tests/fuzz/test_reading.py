"""Selectors, continue tokens, resource versions and headers that nobody would write."""

from __future__ import annotations

import base64
import random

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.effort import effort
from tests.fuzz.mutating import bitten
from tests.fuzz.serving import Fuzzed
from tests.registry.cluster import config_map

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
PIECES = st.sampled_from(
    [
        "a",
        "app",
        "=",
        "==",
        "!=",
        "!",
        ",",
        " ",
        "in",
        "notin",
        "(",
        ")",
        "(a,b)",
        "()",
        "exists",
        ">",
        "<",
        "5",
        "-1",
        "\\",
        "\\,",
        "\0",
        "é",
        "a/b",
        "/",
        "metadata.name",
        "metadata.namespace",
        "spec.nodeName",
        "status.phase",
        "a" * 64,
        "x" * 5000,
        "99999999999999999999",
    ]
)
SELECTORS = st.lists(PIECES, max_size=9).map("".join) | st.text(max_size=30)
VERSIONS = st.sampled_from(
    ["", "0", "1", "-1", "00", "1e3", "\u0661", "0x1", " 1", "18446744073709551616", "9223372036854775807", "a"]
) | st.text(max_size=8)
MATCHES = st.sampled_from(["", "Exact", "NotOlderThan", "exact", "\0"])
BOOLEANS = st.sampled_from(["", "true", "false", "1", "0", "True", "maybe"])
NUMBERS = st.sampled_from(["", "0", "1", "2", "-1", "9223372036854775807", "9223372036854775808", "x", "1.5", "\u0661"])


@pytest.fixture(scope="module", autouse=True)
def some_config_maps(server: Fuzzed) -> None:
    for name in "abcde":
        server.must("POST", CONFIGMAPS, config_map(name, labels={"app": name}))


@effort(120)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "labelSelector": SELECTORS,
            "fieldSelector": SELECTORS,
            "resourceVersion": VERSIONS,
            "resourceVersionMatch": MATCHES,
            "limit": NUMBERS,
            "continue": VERSIONS,
            "watch": BOOLEANS,
            "allowWatchBookmarks": BOOLEANS,
            "sendInitialEvents": BOOLEANS,
            "timeoutSeconds": NUMBERS,
            "pretty": BOOLEANS,
            "dryRun": st.sampled_from(["All", "", "all"]),
        },
    ),
    st.sampled_from([CONFIGMAPS, "/api/v1/pods", "/apis/apps/v1/deployments", "/api/v1/nodes", f"{CONFIGMAPS}/a"]),
    st.sampled_from(["GET", "GET", "DELETE"]),
)
def test_queries(server: Fuzzed, query: dict[str, str], path: str, method: str) -> None:
    answer = server.ask(method, path, query=query | ({"dryRun": "All"} if method == "DELETE" else {}))
    assert answer.status in (200, 400, 404, 405, 410, 414, 422, 504), answer.text


@effort(80)
@given(st.integers(0, 2**32 - 1))
def test_continue_tokens_that_were_changed(server: Fuzzed, seed: int) -> None:
    source = random.Random(seed)
    token = server.must("GET", CONFIGMAPS, query={"limit": 2})["metadata"]["continue"]
    plain = base64.urlsafe_b64decode(token + "==")
    if source.random() < 0.5:
        parts = orjson.loads(plain)
        parts[source.choice(list(parts))] = source.choice(
            [None, 0, -1, 2**63, "", "meta.k8s.io/v1", [], ["a"], ["\0", "b"], ["a", "b", "c"], {}, [1, 2]]
        )
        plain = orjson.dumps(parts)
    else:
        plain = bitten(plain, source)
    changed = base64.urlsafe_b64encode(plain).decode()
    kind = source.choice(["configmaps", "secrets", "pods"])
    answer = server.ask("GET", f"/api/v1/namespaces/default/{kind}", query={"limit": 2, "continue": changed})
    assert answer.status in (200, 400, 410, 504), answer.text  # 504: a revision that is not yet


HEADER_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
MEDIA = st.sampled_from(
    [
        "application/json",
        "application/yaml",
        "application/vnd.kubernetes.protobuf",
        "application/json;as=Table;v=v1;g=meta.k8s.io",
        "*/*",
        "a/b",
        "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
        "application/json;as=Table;v=v9;g=",
        "application/json;q=",
        ";",
        ",",
        "q=0",
        "application/json;stream=watch",
        "application/cbor",
        "text/*;q=0.1",
        "application/merge-patch+json",
        "application/apply-patch+yaml",
    ]
)
MEDIA_LISTS = st.lists(MEDIA, max_size=4).map(",".join) | HEADER_TEXT


@effort(120)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "accept": MEDIA_LISTS,
            "content_type": MEDIA_LISTS,
            "accept_encoding": HEADER_TEXT,
            "user_agent": HEADER_TEXT,
            "if_none_match": HEADER_TEXT,
            "impersonate_user": HEADER_TEXT,
            "impersonate_group": HEADER_TEXT,
            "impersonate_uid": HEADER_TEXT,
            "impersonate_extra_a%2f": HEADER_TEXT,
            "upgrade": st.sampled_from(["websocket", "SPDY/3.1", "h2c", ""]),
            "connection": st.sampled_from(["upgrade", "keep-alive"]),
            "sec_websocket_protocol": HEADER_TEXT,
            "sec_websocket_key": HEADER_TEXT,
            "audit_id": HEADER_TEXT,
            "kubectl_command": HEADER_TEXT,
            "x_forwarded_for": HEADER_TEXT,
            "x_remote_user": HEADER_TEXT,
            "traceparent": HEADER_TEXT,
            "range": HEADER_TEXT,
        },
    ),
    st.sampled_from(
        [
            ("GET", CONFIGMAPS),
            ("GET", "/openapi/v3"),
            ("GET", "/apis"),
            ("GET", "/openapi/v2"),
            ("GET", "/version"),
            ("GET", "/metrics"),
            ("POST", CONFIGMAPS),
            ("PATCH", f"{CONFIGMAPS}/a"),
            ("GET", "/api/v1/namespaces/default/pods/a/exec"),
            ("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews"),
            ("GET", "/api/v1/nodes/a/proxy/x"),
            ("DELETE", f"{CONFIGMAPS}/zz"),
        ]
    ),
    st.sampled_from(
        [b"", b"{}", b"null", b"k8s\0", b"- a\n- b", b"\xff\xfe", orjson.dumps({"metadata": {"generateName": "n-"}})]
    ),
)
def test_headers(server: Fuzzed, headers: dict[str, str], asked: tuple[str, str], body: bytes) -> None:
    method, path = asked
    sent = {name: value.strip() for name, value in headers.items()}
    server.ask(method, path, None if method == "GET" else body, query=None, **sent)
