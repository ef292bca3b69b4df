"""Pods that wait for a node: by priority, then by age; those that fitted nowhere wait for a change.

Enters: pending pods, outcomes, and the time.
Leaves: the next pod to place, and when to look again.
Holds: a pod that fitted nowhere is tried again when something relevant has changed and its pause is over; the pause doubles from
BACKOFF_FIRST_SECONDS to BACKOFF_LAST_SECONDS (kube-scheduler's podInitialBackoff, there 1 s, and podMaxBackoff).
Bound: one place per pending pod.
Next: reconcile.scheduling.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Final

from edgekube.scheduler.facts import PendingPod

BACKOFF_FIRST_SECONDS: Final = 0.1
BACKOFF_LAST_SECONDS: Final = 10.0
#: Even without a change that we know of (kube-scheduler's podMaxInUnschedulablePodsDuration).
UNSCHEDULABLE_SECONDS: Final = 300.0


@dataclass(slots=True)
class _Parked:
    pod: PendingPod
    ready_at: float  # the pause is over
    stale_at: float  # tried again in any case
    woken: bool = False  # something changed since it was parked


class Pending:
    def __init__(self) -> None:
        self._pods: dict[str, PendingPod] = {}  # active, by uid
        self._heap: list[tuple[int, float, int, str]] = []
        self._parked: dict[str, _Parked] = {}
        self._attempts: dict[str, int] = {}
        self._serial = 0

    def add(self, pod: PendingPod) -> None:
        """New, or changed: it is tried at once, unless its last attempt failed for a reason that has not changed."""
        parked = self._parked.get(pod.facts.uid)
        if parked is not None and _same_wish(parked.pod, pod):
            pod.told_at = parked.pod.told_at
            parked.pod = pod
            return
        self._activate(pod)

    def _activate(self, pod: PendingPod) -> None:
        uid = pod.facts.uid
        self._parked.pop(uid, None)
        known = uid in self._pods
        self._pods[uid] = pod
        if not known:
            self._serial += 1
            heapq.heappush(self._heap, (-pod.priority, pod.created_seconds, self._serial, uid))

    def remove(self, uid: str) -> None:
        """Bound, gone or no longer ours."""
        self._pods.pop(uid, None)
        self._parked.pop(uid, None)
        self._attempts.pop(uid, None)

    def take(self, now: float) -> PendingPod | None:
        """The next pod to place; it is out of the queue until add() or park()."""
        self._wake_due(now)
        while self._heap:
            *_, uid = heapq.heappop(self._heap)
            pod = self._pods.pop(uid, None)
            if pod is not None:
                return pod
        return None

    def park(self, pod: PendingPod, now: float, *, retry: bool = False) -> None:
        """It found no node. ``retry``: try again after the pause, without a change (binding failed)."""
        uid = pod.facts.uid
        attempts = self._attempts.get(uid, 0)
        self._attempts[uid] = attempts + 1
        pause = min(BACKOFF_LAST_SECONDS, BACKOFF_FIRST_SECONDS * 2 ** min(attempts, 10))
        self._parked[uid] = _Parked(pod, now + pause, now + UNSCHEDULABLE_SECONDS, retry)

    def something_changed(self) -> None:
        """A node or the room on one: whatever is parked deserves another look once its pause is over."""
        for parked in self._parked.values():
            parked.woken = True

    def next_at(self) -> float | None:
        """When a parked pod is due."""
        return min((each.ready_at if each.woken else each.stale_at for each in self._parked.values()), default=None)

    def _wake_due(self, now: float) -> None:
        due = [each.pod for each in self._parked.values() if (each.ready_at if each.woken else each.stale_at) <= now]
        for pod in due:
            self._activate(pod)

    def __len__(self) -> int:
        return len(self._pods) + len(self._parked)


def _same_wish(old: PendingPod, new: PendingPod) -> bool:
    return (
        old.facts == new.facts
        and old.priority == new.priority
        and old.node_selector == new.node_selector
        and old.node_affinity == new.node_affinity
        and old.tolerations == new.tolerations
    )
