"""The queue: whose turn it is, pauses, and what wakes whom."""

from __future__ import annotations

from edgekube.scheduler.pending import Pending
from edgekube.scheduler.pods import PendingPod, pending_pod
from tests.scheduler.worlds import pod


def anything(pod: PendingPod, plugins: frozenset[str]) -> bool:
    return True


def test_the_queue_hands_out_by_priority_then_age() -> None:
    pending = Pending()
    for name, priority, created in (("late", 0, "12"), ("early", 0, "11"), ("urgent", 100, "13")):
        asked = pod(name, priority=priority)
        asked["metadata"]["creationTimestamp"] = f"2026-01-01T{created}:00:00Z"
        pending.add(pending_pod(asked))
    order = [taken.facts.name for taken in iter(lambda: pending.take(0.0), None)]
    assert order == ["urgent", "early", "late"]


def test_an_unplaced_pod_waits_for_a_change_and_its_pause() -> None:
    pending = Pending()
    wanted = pending_pod(pod("a"))
    pending.add(wanted)
    assert pending.take(0.0) is wanted
    pending.park(wanted, 0.0)
    pending.add(pending_pod(pod("a")))
    assert pending.take(100.0) is None, "its own status is no reason to try again"
    assert pending.next_at() == 300.0
    pending.wake(anything)
    assert pending.next_at() == 0.1
    assert pending.take(0.05) is None
    again = pending.take(1.0)
    assert again is not None
    pending.park(again, 1.0)
    pending.wake(anything)
    assert pending.next_at() == 1.2, "the pause doubles"
    changed = pod("a", nodeSelector={"disk": "ssd"})
    pending.add(pending_pod(changed))
    assert pending.take(1.0) is not None, "a changed pod is tried at once"
    pending.remove("uid-a")
    assert len(pending) == 0


def test_only_whom_it_helps_is_woken() -> None:
    pending = Pending()
    for name in ("cpu", "taint"):
        pending.park(pending_pod(pod(name)), 0.0, frozenset({name}))
    assert pending.wake(lambda _, plugins: "taint" in plugins)
    assert not pending.wake(lambda _, plugins: "taint" in plugins), "it is awake already"
    taken = pending.take(1.0)
    assert taken is not None and taken.facts.name == "taint"
    assert pending.take(1.0) is None
    assert pending.next_at() == 300.0
    assert pending.take(300.0) is not None, "after five minutes in any case"


def test_a_failed_binding_is_tried_again_by_itself() -> None:
    pending = Pending()
    pending.park(pending_pod(pod("a")), 5.0, retry=True)
    assert pending.next_at() == 5.1
    assert pending.take(5.1) is not None
    assert pending.next_at() is None


def test_a_pod_that_went_is_nowhere() -> None:
    pending = Pending()
    pending.park(pending_pod(pod("a")), 0.0)
    pending.remove("uid-a")
    assert pending.next_at() is None and pending.take(1000.0) is None and len(pending) == 0
