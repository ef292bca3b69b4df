"""What is kept of a pod says the same as the pod."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.api import podstate, times
from edgekube.api.objects import controller_of, is_deleting, labels_of, uid_of
from edgekube.api.pod_facts import DELETION_COST, pod_facts

_TIMES = st.sampled_from([None, "2026-01-01T00:00:10Z", "2026-03-04T05:06:07Z"])
_CONDITIONS = st.fixed_dictionaries(
    {"type": st.sampled_from(["Ready", "Initialized"]), "status": st.sampled_from(["True", "False", "Unknown"])},
    optional={"lastTransitionTime": _TIMES},
)
_PODS = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries(
            {"name": st.just("web"), "namespace": st.just("default"), "uid": st.sampled_from(["a", "b"])},
            optional={
                "creationTimestamp": _TIMES,
                "deletionTimestamp": _TIMES,
                "labels": st.sampled_from([None, {}, {"app": "web"}]),
                "annotations": st.sampled_from([None, {DELETION_COST: "7"}, {DELETION_COST: "x"}]),
                "ownerReferences": st.sampled_from([None, [], [{"uid": "o"}], [{"uid": "o"}, {"uid": "c", "controller": True}]]),
            },
        )
    },
    optional={
        "spec": st.fixed_dictionaries({}, optional={"nodeName": st.sampled_from([None, "", "n1"])}),
        "status": st.fixed_dictionaries(
            {},
            optional={
                "phase": st.sampled_from([None, "Pending", "Running", "Succeeded", "Failed"]),
                "conditions": st.none() | st.lists(_CONDITIONS, max_size=2),
                "containerStatuses": st.sampled_from([None, [], [{"restartCount": 3}, {}]]),
            },
        ),
    },
)


@settings(max_examples=150, deadline=None)
@given(_PODS, st.sampled_from([0, 30]))
def test_facts_say_what_the_pod_says(pod: dict[str, Any], min_ready: int) -> None:
    facts, now = pod_facts(orjson.dumps(pod)), times.parse("2026-01-01T00:00:20Z")
    assert (facts.uid, facts.labels, facts.deleting) == (uid_of(pod), labels_of(pod), is_deleting(pod))
    assert facts.controller == (controller_of(pod) or {}).get("uid", "")
    assert (facts.node, facts.phase) == (podstate.node_of(pod), podstate.phase_of(pod))
    assert (facts.finished, facts.active) == (podstate.is_finished(pod), podstate.is_active(pod))
    assert facts.ready == podstate.is_ready(pod)
    assert facts.ready_since == (podstate.ready_since(pod) or 0.0)
    assert facts.available_in(min_ready, now) == podstate.available_in(pod, min_ready, now)
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    assert facts.restarts == max((int(status.get("restartCount") or 0) for status in statuses), default=0)


@pytest.mark.parametrize(
    ("status", "addresses"),
    [
        ({}, ()),
        ({"podIP": "10.42.0.1"}, ("10.42.0.1",)),
        ({"podIP": "10.42.0.1", "podIPs": [{"ip": "10.42.0.1"}, {"ip": "fd00::1"}]}, ("10.42.0.1", "fd00::1")),
        ({"podIP": "127.0.0.1"}, ()),
    ],
)
def test_addresses_that_lead_somewhere(status: dict[str, Any], addresses: tuple[str, ...]) -> None:
    assert pod_facts(orjson.dumps({"metadata": {"name": "web"}, "status": status})).addresses == addresses
