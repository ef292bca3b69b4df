"""The plan for a DaemonSet: its history, its pods, and its status.

Enters: a DaemonSet, its pods and revisions, and all nodes.
Leaves: revisions; pods made, deleted, adopted and released; status; events.
Holds: a plan makes up for what is missing or too much; only one that finds nothing of that moves a rolling update on.
Bound: limits.DAEMON_BURST_PODS_MAX a plan.
Next: scheduler.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Final

from edgekube import limits
from edgekube.api import podstate
from edgekube.api.adoption import adopters, selector_of
from edgekube.api.calls import Call, Create, Delete, Later, Record, Report
from edgekube.api.controller import Change, Controller, Key, Moment, controlled_by, itself, key_of, looks_alike, lost_by
from edgekube.api.errors import StatusError
from edgekube.api.kinds import CONTROLLERREVISION, DAEMONSET, NODE, POD
from edgekube.api.node_facts import NodeFacts
from edgekube.api.objects import Object, is_deleting, labels_of, namespace_of
from edgekube.api.pod_claims import claim_pods
from edgekube.api.pod_facts import PodFacts
from edgekube.api.statuses import status_calls
from edgekube.api.verbs import DeleteOptions
from edgekube.api.view import View
from edgekube.controllers.daemonset import making, rolling
from edgekube.controllers.daemonset.backoff import Backoff
from edgekube.controllers.daemonset.history import cleaned, history_of
from edgekube.controllers.daemonset.managing import managed, oldest_first
from edgekube.controllers.daemonset.placing import Placing


def plan(view: View, key: Key, now: Moment, *, backoff: Backoff) -> list[Call]:
    daemon = view.get(DAEMONSET, key.namespace, key.name)
    if daemon is None:
        return []
    selector = selector_of(daemon)
    if selector.everything:
        message = "This daemon set is selecting all pods. A non-empty selector is required."
        return [Record(daemon, "Warning", "SelectingAll", message)]
    if is_deleting(daemon):
        # Its history may be gone already, and without that nothing can be said of its pods.
        return []
    pods, calls = claim_pods(DAEMONSET, daemon, view, selector.matches)
    history = history_of(view, daemon, selector, pods)
    calls += history.calls
    if not history.digest:
        return calls
    step = _Step(daemon, list(view.node_facts()), _by_node(view, pods), history.digest, backoff, now)
    calls += step.calls()
    calls += cleaned(daemon, history.old, pods)
    return calls + step.status()


def _by_node(view: View, pods: Iterable[PodFacts]) -> dict[str, list[PodFacts]]:
    """The pods where they are, or are to be."""
    by_node: dict[str, list[PodFacts]] = {}
    for pod in sorted(pods, key=lambda pod: pod.name):
        if pod.finished and pod.deleting:
            continue  # somebody's finalizer holds it; nothing is to be done about it here
        node_name: str | None = pod.node
        if not node_name:
            whole = view.get(POD, pod.namespace, pod.name)
            node_name = None if whole is None else making.target_node(whole)
        if node_name is not None:
            by_node.setdefault(node_name, []).append(pod)
    return by_node


class _Step:
    """One step of one DaemonSet."""

    def __init__(
        self,
        daemon: Object,
        nodes: list[NodeFacts],
        by_node: dict[str, list[PodFacts]],
        digest: str,
        backoff: Backoff,
        now: Moment,
    ) -> None:
        self.daemon = daemon
        self.nodes = nodes
        self.digest = digest
        self.backoff = backoff
        self.now = now
        self.placing = Placing(daemon)
        self.min_ready_seconds = int((daemon.get("spec") or {}).get("minReadySeconds") or 0)
        self.by_node = by_node

    def calls(self) -> list[Call]:
        changes = managed(
            self.daemon,
            self.nodes,
            self.by_node,
            self.placing,
            surging=rolling.allows_surge(self.daemon),
            digest=self.digest,
            min_ready_seconds=self.min_ready_seconds,
            backoff=self.backoff,
            now=self.now,
        )
        create, delete = changes.create, changes.delete
        if not create and not delete and rolling.is_rolling(self.daemon):
            step = rolling.Rolling(
                self.daemon,
                self.nodes,
                self.by_node,
                self.placing,
                self.digest,
                self.min_ready_seconds,
                self.now.wall_seconds,
            ).step()
            create, delete = step.create, step.delete
        return changes.calls + self._created(create) + self._deleted(delete)

    def _created(self, node_names: Iterable[str]) -> list[Call]:
        report = Report(self.daemon, "SuccessfulCreate", "Created pod: {name}", "FailedCreate", "Error creating: {error}")
        return [
            Create(
                POD,
                namespace_of(self.daemon),
                making.pod_for(self.daemon, node_name, self.digest),
                report=report,
                on_failure=self._failed,
            )
            for node_name in list(node_names)[: limits.DAEMON_BURST_PODS_MAX]
        ]

    def _deleted(self, pods: Iterable[PodFacts]) -> list[Call]:
        report = Report(self.daemon, "SuccessfulDelete", "Deleted pod: {name}", "FailedDelete", "Error deleting: {error}")
        return [
            Delete(
                POD,
                pod.namespace,
                pod.name,
                DeleteOptions(precondition_uid=pod.uid),
                report=report,
                on_failure=self._failed,
            )
            for pod in list(pods)[: limits.DAEMON_BURST_PODS_MAX]
        ]

    def _failed(self, error: StatusError) -> list[Call]:
        return self.status()

    def status(self) -> list[Call]:
        desired = current = misscheduled = ready = updated = available = 0
        waits: list[float] = []
        for node in self.nodes:
            pods = self.by_node.get(node.name) or []
            if not self.placing.on(node).run:
                misscheduled += bool(pods)
                continue
            desired += 1
            if not pods:
                continue
            current += 1
            pod = oldest_first(pods)[0]
            ready += pod.ready
            wait = pod.available_in(self.min_ready_seconds, self.now.wall_seconds)
            available += wait == 0.0
            waits += [wait] if wait else []
            updated += making.is_updated(self.daemon, pod, self.digest)
        status: Object = {
            "currentNumberScheduled": current,
            "numberMisscheduled": misscheduled,
            "desiredNumberScheduled": desired,
            "numberReady": ready,
            "observedGeneration": (self.daemon.get("metadata") or {}).get("generation") or None,
            "updatedNumberScheduled": updated or None,
            "numberAvailable": available or None,
            "numberUnavailable": desired - available or None,
            "collisionCount": (self.daemon.get("status") or {}).get("collisionCount"),
            "conditions": (self.daemon.get("status") or {}).get("conditions"),
        }
        return status_calls(DAEMONSET, self.daemon, status) + [Later(wait) for wait in waits]


def _of_node(change: Change, view: View) -> Iterable[Key]:
    """Nodes that come, go, or change what is asked of them here; heartbeats do not."""

    def asked(node: Object) -> tuple[object, ...]:
        return (labels_of(node), (node.get("spec") or {}).get("taints"))

    if looks_alike(change, asked):
        return ()
    return [key_of(daemon) for daemon in view.list(DAEMONSET)]


_controlled: Final = controlled_by(DAEMONSET)


def _of_its_pods(change: Change, view: View) -> Iterable[Key]:
    """The controller of a pod of which it would see another thing; what containers do says nothing to it."""
    if looks_alike(change, _seen):
        return ()
    return _controlled(change, view)


def _seen(pod: Object) -> tuple[object, ...]:
    return podstate.belonging(pod), podstate.phase_of(pod), podstate.node_of(pod), podstate.ready_since(pod)


def controller() -> Controller:
    """One for each run: it remembers where pods failed."""
    return Controller(
        name="daemonset-controller",
        watches=(
            (DAEMONSET, itself),
            (POD, _of_its_pods),
            (POD, adopters(DAEMONSET)),
            (NODE, _of_node),
            (CONTROLLERREVISION, lost_by(DAEMONSET)),
            (CONTROLLERREVISION, adopters(DAEMONSET)),
        ),
        plan=functools.partial(plan, backoff=Backoff()),
    )
