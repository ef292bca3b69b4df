"""Pods that wait for a node: by priority, then by age; those that fitted nowhere wait for a change.

Enters: pending pods, outcomes, what happened, and the time.
Leaves: the next pod to place, and when to look again.
Holds: a pod that fitted nowhere is tried again when something has happened that may help it and its pause is over; the pause
doubles from BACKOFF_FIRST_SECONDS to BACKOFF_LAST_SECONDS (kube-scheduler's podInitialBackoff, there 1 s, and podMaxBackoff).
Bound: one place per pending pod.
Next: reconcile.scheduling.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from edgekube.scheduler.pods import PendingPod

BACKOFF_FIRST_SECONDS: Final = 0.1
BACKOFF_LAST_SECONDS: Final = 10.0
#: Even without a change that we know of (kube-scheduler's podMaxInUnschedulablePodsDuration).
UNSCHEDULABLE_SECONDS: Final = 300.0


class _Parked(Struct):
    pod: PendingPod
    #: The rules that refused it.
    plugins: frozenset[str]
    ready_at: float  # the pause is over
    due_at: float  # tried again then
    serial: int
    woken: bool = False  # something happened since it was parked


class Pending:
    def __init__(self) -> None:
        self._pods: dict[str, PendingPod] = {}  # active, by uid
        self._heap: list[tuple[int, float, int, str]] = []
        self._parked: dict[str, _Parked] = {}
        #: (due_at, serial, uid); an entry whose serial is not its pod's any more is old.
        self._due: list[tuple[float, int, str]] = []
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
        known = self._pods.get(uid)
        self._pods[uid] = pod
        if known is None or known.priority != pod.priority:
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

    def park(self, pod: PendingPod, now: float, plugins: frozenset[str] = frozenset(), *, retry: bool = False) -> None:
        """It found no node. ``retry``: try again after the pause, without a change (binding failed)."""
        uid = pod.facts.uid
        attempts = self._attempts.get(uid, 0)
        self._attempts[uid] = attempts + 1
        ready_at = now + min(BACKOFF_LAST_SECONDS, BACKOFF_FIRST_SECONDS * 2 ** min(attempts, 10))
        self._serial += 1
        parked = self._parked[uid] = _Parked(pod, plugins, ready_at, now + UNSCHEDULABLE_SECONDS, self._serial)
        if retry:
            parked.woken, parked.due_at = True, ready_at
        heapq.heappush(self._due, (parked.due_at, parked.serial, uid))

    def wake(self, helps: Callable[[PendingPod, frozenset[str]], bool]) -> bool:
        """Something happened: whoever it may help is tried again once its pause is over. True when there is anybody."""
        found = False
        for uid, parked in self._parked.items():
            if not parked.woken and helps(parked.pod, parked.plugins):
                found = parked.woken = True
                self._serial += 1
                parked.due_at, parked.serial = parked.ready_at, self._serial
                heapq.heappush(self._due, (parked.due_at, parked.serial, uid))
        return found

    def wake_pod(self, uid: str) -> None:
        """This one, whatever it waited for."""
        self.wake(lambda pod, _: pod.facts.uid == uid)

    def waits(self, uid: str) -> bool:
        return uid in self._parked

    def next_at(self) -> float | None:
        """When a parked pod is due."""
        while self._due:
            due_at, serial, uid = self._due[0]
            parked = self._parked.get(uid)
            if parked is not None and parked.serial == serial:
                return due_at
            heapq.heappop(self._due)
        return None

    def _wake_due(self, now: float) -> None:
        while (due_at := self.next_at()) is not None and due_at <= now:
            *_, uid = heapq.heappop(self._due)
            self._activate(self._parked[uid].pod)

    def __len__(self) -> int:
        return len(self._pods) + len(self._parked)


def _same_wish(old: PendingPod, new: PendingPod) -> bool:
    return (
        old.likeness == new.likeness
        and old.facts.labels == new.facts.labels
        and old.facts.terms == new.facts.terms
        and old.priority == new.priority
        and old.spread == new.spread
        and old.volumes == new.volumes
        and old.preempts == new.preempts
        and old.nominated == new.nominated
    )
