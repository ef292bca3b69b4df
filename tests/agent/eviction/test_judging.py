"""When a node counts as short, for how long, and which shortage comes first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.agent.eviction.judging import Memory, Observation, judge, short
from edgekube.agent.eviction.thresholds import (
    ALLOCATABLE_MEMORY,
    MEMORY,
    NODEFS,
    PIDS,
    Amount,
    Threshold,
    hard_amount,
    thresholds_of,
)
from edgekube.node_rules import NodeRules

MI = 1 << 20
HARD = Threshold(MEMORY, Amount(100 * MI))
SOFT = Threshold(NODEFS, Amount(share=0.2), grace_seconds=90)


def seen(**available: int) -> dict[str, Observation]:
    signals = {"memory": MEMORY, "disk": NODEFS, "pids": PIDS}
    return {signals[name]: Observation(amount, 1000 * MI) for name, amount in available.items()}


def test_the_defaults_are_the_kubelets() -> None:
    found = {threshold.signal: threshold.amount for threshold in thresholds_of(NodeRules())}
    assert found == {
        "memory.available": Amount(100 * MI),
        "nodefs.available": Amount(share=0.1),
        "nodefs.inodesFree": Amount(share=0.05),
        "imagefs.available": Amount(share=0.15),
        "imagefs.inodesFree": Amount(share=0.05),
        "allocatableMemory.available": Amount(100 * MI),
    }
    assert ALLOCATABLE_MEMORY not in {t.signal for t in thresholds_of(NodeRules(enforce_allocatable=frozenset()))}
    assert hard_amount(thresholds_of(NodeRules()), NODEFS, 1000) == 100
    assert thresholds_of(NodeRules(eviction_hard=(("memory.available", "0%"), ("pid.available", "100%")))) == ()


def test_a_hard_threshold_acts_at_once_and_its_pressure_lasts() -> None:
    calm = judge((HARD,), seen(memory=100 * MI), Memory(), 0, 300)
    assert (calm.pressures, calm.act_on) == (frozenset(), ())
    hit = judge((HARD,), seen(memory=99 * MI), calm.memory, 10, 300)
    assert (hit.pressures, hit.act_on) == (frozenset({"MemoryPressure"}), (HARD,))
    over = judge((HARD,), seen(memory=500 * MI), hit.memory, 20, 300)
    assert (over.pressures, over.act_on) == (frozenset({"MemoryPressure"}), ())
    assert judge((HARD,), seen(memory=500 * MI), over.memory, 309, 300).pressures
    assert not judge((HARD,), seen(memory=500 * MI), over.memory, 311, 300).pressures
    assert judge((HARD,), seen(memory=9 * MI), Memory(), 0, 0).pressures, "without a transition period it is told while it lasts"


def test_a_soft_threshold_waits_and_forgets() -> None:
    first = judge((SOFT,), seen(disk=100 * MI), Memory(), 0, 300)
    assert (first.pressures, first.act_on) == (frozenset({"DiskPressure"}), ())
    assert judge((SOFT,), seen(disk=100 * MI), first.memory, 89, 300).act_on == ()
    assert judge((SOFT,), seen(disk=100 * MI), first.memory, 90, 300).act_on == (SOFT,)
    better = judge((SOFT,), seen(disk=300 * MI), first.memory, 60, 300)
    assert judge((SOFT,), seen(disk=100 * MI), better.memory, 100, 300).act_on == ()


def test_what_was_met_holds_until_more_is_free() -> None:
    threshold = Threshold(MEMORY, Amount(100 * MI), minimum_reclaim=Amount(50 * MI))
    hit = judge((threshold,), seen(memory=90 * MI), Memory(), 0, 300)
    between = judge((threshold,), seen(memory=120 * MI), hit.memory, 10, 300)
    assert between.act_on == (threshold,)
    assert judge((threshold,), seen(memory=150 * MI), between.memory, 20, 300).act_on == ()
    assert judge((threshold,), seen(memory=120 * MI), Memory(), 20, 300).act_on == ()
    assert short((threshold,), seen(memory=120 * MI), with_reclaim=True) == (threshold,)


def test_memory_comes_first_and_what_is_not_observed_is_no_reason() -> None:
    pids = Threshold(PIDS, Amount(200))
    hard_disk = Threshold(NODEFS, Amount(share=0.5))
    verdict = judge((hard_disk, pids, HARD), seen(memory=1, disk=1), Memory(), 0, 300)
    assert verdict.act_on == (HARD, hard_disk)
    assert verdict.pressures == {"MemoryPressure", "DiskPressure"}


@given(st.lists(st.integers(0, 1000 * MI), min_size=1, max_size=30), st.sampled_from([0, 30, 300]))
def test_a_pressure_is_told_whenever_it_is_there(amounts: list[int], transition_seconds: int) -> None:
    memory, last_short = Memory(), -(10**6)
    for step, amount in enumerate(amounts):
        now = step * 10
        verdict = judge((HARD,), seen(memory=amount), memory, now, transition_seconds)
        memory = verdict.memory
        if amount < 100 * MI:
            last_short = now
            assert verdict.act_on == (HARD,)
        else:
            assert verdict.act_on == ()
        assert bool(verdict.pressures) == (amount < 100 * MI or now - last_short < transition_seconds)


@pytest.mark.parametrize(
    ("rules", "complaint"),
    [
        (NodeRules(eviction_soft=((MEMORY, "1Gi"),)), "grace period must be specified for the soft eviction threshold"),
        (NodeRules(eviction_hard=(("memory", "1Gi"),)), "unsupported eviction signal memory"),
        (NodeRules(eviction_minimum_reclaim=((MEMORY, "-1"),)), "negative eviction minimum reclaim specified for memory.avail"),
        (NodeRules(eviction_hard=((MEMORY, "x%"),)), "x% is not a percentage"),
    ],
)
def test_rules_that_cannot_be(rules: NodeRules, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        thresholds_of(rules)
