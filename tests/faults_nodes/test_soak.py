"""The soak draws every fault, and the same ones for the same seed."""

from __future__ import annotations

import random

from tests.faults_nodes.soak import FAULT_SECONDS_MAX, Drawn, draw

NODES = ["n1", "n2", "n3"]


def drawn(seed: int, count: int) -> list[Drawn]:
    chance = random.Random(seed)
    return [draw(chance, NODES) for _ in range(count)]


def test_the_same_seed_draws_the_same_faults() -> None:
    assert drawn(7, 50) == drawn(7, 50) != drawn(8, 50)


def test_every_kind_is_drawn_for_every_node_and_within_bounds() -> None:
    faults = drawn(1, 2000)
    kinds = {fault.words[0] for fault in faults}
    own = {"kill", "stop", "containerd", "shim", "container"}
    assert kinds == {"pull", "silence", "deaf", "loss", "slow", "move", "off", *own}
    assert {fault.words[:2] for fault in faults} == {(kind, node) for kind in kinds for node in NODES}
    assert all(0 < fault.seconds <= FAULT_SECONDS_MAX and 1 <= fault.replicas <= 6 for fault in faults)
    assert all(fault.words[1] != fault.words[2] for fault in faults if fault.words[0] in ("silence", "deaf") and fault.words[2:])
