"""What nodes say of themselves decides when the next step of a rotation may be taken."""

from __future__ import annotations

from typing import Any

from edgekube.api.node_trust import against_finishing, annotations_for, holding_old, not_trusting, trust_of

OLD, NEW = "0" * 64, "f" * 64


def node(name: str, *, ready: bool = True, trusted: tuple[str, ...] = (OLD, NEW), holds: str = NEW) -> dict[str, Any]:
    told = annotations_for(trusted, holds, "2027-01-01T00:00:00Z")
    status = {"conditions": [{"type": "Ready", "status": "True" if ready else "Unknown"}]}
    return {"metadata": {"name": name, "annotations": told}, "status": status}


def silent(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}


def test_what_a_node_says_is_read_back() -> None:
    trust = trust_of(node("pi-7"))
    assert trust.name == "pi-7" and trust.ready and trust.expires == "2027-01-01T00:00:00Z"
    assert trust.trusts == {OLD[:16], NEW[:16]} and trust.authority == NEW[:16]


def test_those_who_are_there_are_waited_for() -> None:
    nodes = [
        trust_of(each) for each in (node("b", trusted=(OLD,)), node("c", ready=False, trusted=(OLD,)), node("d"), silent("a"))
    ]
    assert not_trusting(nodes, NEW) == ["a", "b"]


def test_all_that_would_be_locked_out_stand_against_the_end() -> None:
    nodes = [trust_of(each) for each in (node("b", holds=OLD), node("c", ready=False, holds=OLD), node("d"), silent("a"))]
    assert holding_old(nodes, NEW) == ["a", "b", "c"]
    assert "a, b, c" in against_finishing(["a", "b", "c"]) and "--force" in against_finishing(["a"])
    assert holding_old([trust_of(node("d"))], NEW) == []
    assert holding_old([trust_of(node("e", trusted=(OLD,)))], NEW) == ["e"]
