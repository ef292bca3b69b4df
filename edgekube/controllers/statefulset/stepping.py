"""One step of a StatefulSet: pods made, kept true, scaled away and updated, in order.

Enters: a StatefulSet, its pods, its revisions, and the claims through the view.
Leaves: calls, and how many pods of the current revision they take away.
Holds: with OrderedReady nothing is made or deleted while a pod before it is not running, ready and available, or still on its way
out; Parallel waits for nobody. Scaling comes before updating.
Bound: limits.BURST_REPLICAS pods made by one plan.
Source: k8s.io/kubernetes pkg/controller/statefulset/stateful_set_control.go, stateful_pod_control.go.
Next: controller.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct, field

from edgekube import limits
from edgekube.api import podstate
from edgekube.api.calls import Call, Create, Delete, OnFailure, Patch, Record, Report
from edgekube.api.controller import Moment
from edgekube.api.kinds import PERSISTENTVOLUMECLAIM, POD
from edgekube.api.objects import Object, is_deleting, name_of, namespace_of, spec_of, uid_of
from edgekube.api.revisions import template_in
from edgekube.api.verbs import DeleteOptions
from edgekube.api.view import View
from edgekube.controllers.statefulset import identity, making, retention, updating
from edgekube.controllers.statefulset.history import History


class Calls(Struct):
    """In the order in which they are carried out."""

    claims: list[Call] = field(default_factory=list)
    creations: list[Call] = field(default_factory=list)
    patches: list[Call] = field(default_factory=list)
    deletions: list[Call] = field(default_factory=list)
    events: list[Call] = field(default_factory=list)

    def in_order(self) -> list[Call]:
        return [*self.events, *self.claims, *self.creations, *self.patches, *self.deletions]


class Step:
    def __init__(
        self, view: View, stateful: Object, pods: Iterable[Object], history: History, now: Moment, failed: OnFailure
    ) -> None:
        self._view = view
        self._stateful = stateful
        self._history = history
        self._now = now
        self._failed = failed
        self._min_ready_seconds = int(spec_of(stateful).get("minReadySeconds") or 0)
        self._ordered = not identity.allows_burst(stateful)
        self.calls = Calls()
        self.replaced = 0
        start = identity.start_of(stateful)
        pods = list(pods)
        #: By place; None where there is no pod. As far as one plan may come: somebody may ask for two thousand million.
        self.replicas: list[Object | None] = [None] * min(identity.replicas_of(stateful), len(pods) + limits.BURST_REPLICAS)
        #: Replicas at places beyond that; those before them come first.
        self._beyond: list[Object] = []
        #: Highest ordinal first.
        self.condemned: list[Object] = []
        for pod in pods:
            ordinal = identity.ordinal_of(pod)
            if not identity.in_range(stateful, ordinal):
                self.condemned += [pod] if ordinal >= 0 else []
            elif ordinal - start < len(self.replicas):
                self.replicas[ordinal - start] = pod
            else:
                self._beyond.append(pod)
        self.condemned.sort(key=identity.ordinal_of, reverse=True)

    def there(self) -> list[Object]:
        return [*(pod for pod in self.replicas if pod is not None), *self._beyond, *self.condemned]

    def _unavailable(self, pod: Object) -> bool:
        return is_deleting(pod) or not podstate.is_available(pod, self._min_ready_seconds, self._now.wall_seconds)

    def run(self) -> None:
        """Fill ``calls``."""
        for place, pod in enumerate(self.replicas):
            if not self._replica(place, pod) and self._ordered:
                return
        for pod in self.condemned:
            self._own_claims(pod)
        first_unhealthy = next((each for each in reversed(self.condemned) if self._unavailable(each)), None)
        for pod in self.condemned[:1] if self._ordered else self.condemned:
            self._scale_away(pod, first_unhealthy)
        if self._ordered and self.condemned:
            return
        for pod in updating.replaced(self._stateful, self.replicas, self._history.update_name, self._unavailable):
            self._delete(pod)
            self.replaced += identity.revision_of_pod(pod) == self._history.current_name

    # Replicas. The answers say whether those that come after may be looked at.

    def _replica(self, place: int, pod: Object | None) -> bool:
        ordinal = place + identity.start_of(self._stateful)
        if pod is None:
            self._create(ordinal)
            return False
        if podstate.is_finished(pod):
            if not is_deleting(pod):
                self._delete(pod)
            return False
        if podstate.phase_of(pod) == "Pending":
            if not self._make_claims(pod, ordinal):
                return False
            self._own_claims(pod)
        if self._ordered and (self._unavailable(pod) or not identity.is_running_and_ready(pod)):
            return False
        self._keep_true(pod, ordinal)
        return True

    def _create(self, ordinal: int) -> None:
        if len(self.calls.creations) >= limits.BURST_REPLICAS:
            return
        revision = self._revision_for(ordinal)
        pod = making.pod_for(self._stateful, template_in(revision), ordinal, name_of(revision))
        namespace = namespace_of(pod)
        claims = [self._claim(claim) for claim in making.claims_for(self._stateful, ordinal).values()]
        if any(claim is not None and retention.is_stale(self._stateful, pod, claim) for claim in claims):
            return  # it goes with the pod before; its end wakes the next plan
        if self._view.get(POD, namespace, name_of(pod)) is not None:
            return  # a namesake that is not ours; its end wakes the next plan
        if self._make_claims(pod, ordinal):
            report = self._report("Create", name_of(pod))
            self.calls.creations.append(Create(POD, namespace, pod, report=report, on_failure=self._failed))

    def _revision_for(self, ordinal: int) -> Object:
        """Below the partition, and where an update has not come yet, a pod comes back as it was."""
        partition = updating.partition_of(self._stateful)
        current = int((self._stateful.get("status") or {}).get("currentReplicas") or 0)
        place = ordinal - identity.start_of(self._stateful)
        if partition is not None:
            stays = place < partition
        else:
            stays = updating.is_rolling(self._stateful) and place < current
        return self._history.current if stays else self._history.update

    def _keep_true(self, pod: Object, ordinal: int) -> None:
        if not identity.matches(self._stateful, pod):
            patch = {"metadata": {"uid": uid_of(pod), "labels": identity.labels_for(self._stateful, ordinal)}}
            self.calls.patches.append(Patch(POD, namespace_of(pod), name_of(pod), patch))
        if not making.storage_matches(self._stateful, pod, ordinal):
            # Volumes of a pod cannot change; somebody has to delete it.
            self._make_claims(pod, ordinal)
            why = "Pod updates may not change fields other than those that a running pod allows: its volumes are not its claims"
            self._tell("Update", pod, why)
        self._own_claims(pod)

    def _scale_away(self, pod: Object, first_unhealthy: Object | None) -> None:
        unhealthy = self._unavailable(pod) or not identity.is_running_and_ready(pod)
        if not is_deleting(pod) and not (self._ordered and unhealthy and pod is not first_unhealthy):
            self._delete(pod)

    def _delete(self, pod: Object) -> None:
        options = DeleteOptions(precondition_uid=uid_of(pod))
        report = self._report("Delete", name_of(pod))
        self.calls.deletions.append(Delete(POD, namespace_of(pod), name_of(pod), options, report=report, on_failure=self._failed))

    # Claims.

    def _claim(self, wanted: Object) -> Object | None:
        return self._view.get(PERSISTENTVOLUMECLAIM, namespace_of(wanted), name_of(wanted))

    def _make_claims(self, pod: Object, ordinal: int) -> bool:
        """Whether all claims are there, or are being made by this plan."""
        complete = True
        owners = retention.first_owners(self._stateful)
        for claim in making.claims_for(self._stateful, ordinal).values():
            there = self._claim(claim)
            if there is not None:
                if is_deleting(there):
                    self._tell("Create", pod, f"pvc {name_of(claim)} is being deleted")
                    complete = False
                continue
            if owners:
                claim["metadata"]["ownerReferences"] = owners
            set_name = name_of(self._stateful)
            report = Report(
                self._stateful,
                "SuccessfulCreate",
                f"Create Claim {{name}} Pod {name_of(pod)} in StatefulSet {set_name} success",
                "FailedCreate",
                f"Create Claim {{name}} for Pod {name_of(pod)} in StatefulSet {set_name} failed error: {{error}}",
            )
            self.calls.claims.append(
                Create(PERSISTENTVOLUMECLAIM, namespace_of(claim), claim, report=report, on_failure=self._failed)
            )
        return complete

    def _own_claims(self, pod: Object) -> None:
        for wanted in making.claims_for(self._stateful, identity.ordinal_of(pod)).values():
            claim = self._claim(wanted)
            if claim is None or is_deleting(claim):
                continue
            owners = retention.owners_for(claim, self._stateful, pod)
            if owners is None:
                continue
            if retention.conflicting_controller(claim, self._stateful, pod):
                message = (
                    f"PersistentVolumeClaim {name_of(claim)} has a conflicting OwnerReference that acts as a manging controller, "
                    "the retention policy is ignored for this claim"
                )
                self.calls.events.append(Record(self._stateful, "Warning", "ConflictingController", message))
            metadata = {
                "uid": uid_of(claim),
                "resourceVersion": claim["metadata"].get("resourceVersion"),
                "ownerReferences": owners,
            }
            self.calls.patches.append(Patch(PERSISTENTVOLUMECLAIM, namespace_of(claim), name_of(claim), {"metadata": metadata}))

    # Events.

    def _report(self, verb: str, pod_name: str) -> Report:
        about = f"{verb} Pod {pod_name} in StatefulSet {name_of(self._stateful)}"
        return Report(
            self._stateful, f"Successful{verb}", f"{about} successful", f"Failed{verb}", f"{about} failed error: {{error}}"
        )

    def _tell(self, verb: str, pod: Object, error: str) -> None:
        message = f"{verb} Pod {name_of(pod)} in StatefulSet {name_of(self._stateful)} failed error: {error}"
        self.calls.events.append(Record(self._stateful, "Warning", f"Failed{verb}", message))
