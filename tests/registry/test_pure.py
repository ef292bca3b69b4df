"""The registry's pure parts under random input: tokens of pages, conversions, allocation, routes, negotiation."""

from __future__ import annotations

import random

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.api.errors import StatusError
from edgekube.api.kinds import CONFIGMAP, KINDS, POD
from edgekube.api.objects import Object
from edgekube.registry import continuation, conversion
from edgekube.registry.allocation import Refused, ServiceAllocator
from edgekube.registry.strategies.pods import PodStrategy
from edgekube.store.protocol import Key

_names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)


@settings(max_examples=50, deadline=None)
@given(_names, _names, st.integers(-1, 2**62))
def test_a_token_says_what_was_put_into_it(namespace: str, name: str, revision: int) -> None:
    key = Key(CONFIGMAP.resource, namespace, name)
    assert continuation.decode(continuation.encode(key, revision), CONFIGMAP) == (key, revision)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_any_other_token_is_a_bad_request(text: str) -> None:
    with pytest.raises(StatusError) as error:
        continuation.decode(text, CONFIGMAP)
    assert error.value.reason == "BadRequest"


_scaler_status = st.fixed_dictionaries(
    {"currentReplicas": st.integers(0, 9), "desiredReplicas": st.integers(0, 9)},
    optional={"currentCPUUtilizationPercentage": st.integers(1, 200)},
)
_scaler_spec = st.fixed_dictionaries(
    {"maxReplicas": st.integers(1, 9)},
    optional={"minReplicas": st.integers(1, 9), "targetCPUUtilizationPercentage": st.integers(1, 100)},
)


@settings(max_examples=50, deadline=None)
@given(_scaler_spec, _scaler_status)
def test_a_scaler_comes_back_as_it_went(spec: dict[str, int], status: dict[str, int]) -> None:
    kind = KINDS.by_resource("autoscaling", "v1", "horizontalpodautoscalers")
    assert kind is not None
    scaler = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": {"name": "a"}, "spec": spec, "status": status}
    back = conversion.object_from_storage(kind, conversion.to_storage(kind, orjson.loads(orjson.dumps(scaler))))
    assert back == scaler


def test_what_the_older_version_cannot_say_is_kept() -> None:
    kind = KINDS.by_resource("autoscaling", "v1", "horizontalpodautoscalers")
    assert kind is not None
    memory = {"type": "Resource", "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 70}}}
    newer = {
        "kind": kind.kind,
        "apiVersion": "autoscaling/v2",
        "metadata": {"name": "a"},
        "spec": {"maxReplicas": 3, "metrics": [memory], "behavior": {"scaleDown": {"stabilizationWindowSeconds": 5}}},
    }
    assert conversion.to_storage(kind, conversion.object_from_storage(kind, newer)) == newer


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 7)), max_size=40), st.integers(0, 2**32))
def test_no_address_is_given_twice_and_none_is_lost(steps: list[tuple[bool, int]], seed: int) -> None:
    allocator = ServiceAllocator("10.43.0.0/29", (30000, 30003), random.Random(seed))
    held: dict[int, str] = {}
    for takes, who in steps:
        if not takes:
            if who in held:
                allocator.free_address(held.pop(who), f"uid-{who}")
            continue
        if who in held:
            continue
        claim = allocator.claim(f"uid-{who}")
        try:
            held[who] = claim.address("IPv4", "", [])
        except Refused:
            assert len(held) == 6
        claim.keep()
        assert len(set(held.values())) == len(held)


def test_below_a_pod_only_what_is_asked_for_changes() -> None:
    old: Object = {
        "metadata": {"name": "a", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "a"}], "ephemeralContainers": [{"name": "look"}]},
        "status": {"phase": "Running"},
    }

    def sent(**spec: object) -> Object:
        metadata = {"name": "a", "labels": {"app": "x"}, "finalizers": ["a.example/b"], "resourceVersion": "7"}
        return {"metadata": metadata, "spec": {"nodeName": "there", **spec}, "status": {}}

    more = sent(ephemeralContainers=[{"name": "look"}, {"name": "more"}])
    PodStrategy(POD).prepare_for_ephemeral_containers(more, old)
    kept = {"name": "a", "labels": {"app": "web"}, "resourceVersion": "7"}
    spec = {"containers": [{"name": "a"}], "ephemeralContainers": [{"name": "look"}, {"name": "more"}]}
    assert more == {"metadata": kept, "spec": spec, "status": {"phase": "Running"}}
    none = sent()
    PodStrategy(POD).prepare_for_ephemeral_containers(none, old)
    assert none["spec"] == {"containers": [{"name": "a"}]}, "validation says that they may not go"
    resized = sent(containers=[{"name": "a", "image": "x", "resources": {"limits": {"cpu": "1"}}}])
    PodStrategy(POD).prepare_for_resize(resized, old)
    assert resized["metadata"] == kept and resized["spec"]["containers"] == [{"name": "a", "resources": {"limits": {"cpu": "1"}}}]
