"""The plan for a Deployment: its ReplicaSets' sizes, annotations and history, and its status.

Enters: a Deployment, the ReplicaSets of its namespace and, for Recreate, their pods.
Leaves: ReplicaSets made, sized and deleted; revision annotations; status; ScalingReplicaSet events.
Holds: one step a plan: what a step changes wakes the next one.
Next: controllers.replicaset.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from edgekube.api import podstate
from edgekube.api.adoption import adopters, selector_of
from edgekube.api.calls import Call, Create, Delete, Later, Patch, Record
from edgekube.api.controller import Controller, Key, Moment, controlled_by, itself
from edgekube.api.errors import StatusError
from edgekube.api.kinds import DEPLOYMENT, POD, REPLICASET
from edgekube.api.objects import Object, annotations_of, is_deleting, name_of, namespace_of, spec_of, status_of, uid_of
from edgekube.api.ownership import claim
from edgekube.api.statuses import status_calls
from edgekube.api.verbs import DeleteOptions
from edgekube.api.view import View
from edgekube.controllers.deployment import facts, making, rollout
from edgekube.controllers.deployment import status as statuses
from edgekube.controllers.deployment.keys import of_recreated_pods


def plan(view: View, key: Key, now: Moment) -> list[Call]:
    deployment = view.get(DEPLOYMENT, key.namespace, key.name)
    if deployment is None:
        return []
    selector = selector_of(deployment)
    if selector.everything:
        message = "This deployment is selecting all pods. A non-empty selector is required."
        return [Record(deployment, "Warning", "SelectingAll", message)]
    candidates = [
        *view.owned_by(REPLICASET, uid_of(deployment)),
        *view.owned_by(REPLICASET, "", key.namespace),
    ]
    replicasets, calls = claim(DEPLOYMENT, deployment, REPLICASET, candidates, selector.matches)
    return calls + _Step(view, deployment, replicasets, now).calls()


class _Step:
    """One step of one Deployment."""

    def __init__(self, view: View, deployment: Object, replicasets: list[Object], now: Moment) -> None:
        self.view = view
        self.deployment = deployment
        self.new, self.old = facts.new_and_old(deployment, replicasets)
        self.wall_seconds = now.wall_seconds
        conditions = status_of(deployment).get("conditions") or []
        self.conditions = statuses.with_pause(deployment, conditions, now.wall_seconds)
        self.paused = bool(spec_of(deployment).get("paused"))

    @property
    def all(self) -> list[Object]:
        return [*self.old, *([self.new] if self.new is not None else [])]

    def calls(self) -> list[Call]:
        if is_deleting(self.deployment):
            return self._status(rolling_out=False)
        calls = self._revisions()
        rolling = facts.is_rolling(self.deployment)
        if self.paused or (rolling and rollout.is_scaling(self.deployment, self.all)):
            calls += self._resize(rollout.scaled(self.deployment, self.new, self.old))
            return calls + (self._history() if self.paused else []) + self._status(rolling_out=False)
        if not rolling:
            sizes = {name_of(each): 0 for each in self.old if facts.replicas_of(each)}
            if sizes or self._old_pods_left():
                return calls + self._resize(sizes) + self._status(rolling_out=True)
        if self.new is None:
            return calls + self._create()
        if rolling:
            sizes = rollout.rolling(self.deployment, self.new, self.old)
        else:
            sizes = {name_of(self.new): facts.replicas_of(self.deployment)}
        calls += self._resize(sizes)
        status = statuses.counts(self.deployment, self.new, self.old)
        if statuses.is_complete(self.deployment, status):
            calls += self._history()
        return calls + self._status(rolling_out=True)

    # Revisions: which template came when.

    def _next_revision(self) -> int:
        return max(map(facts.revision_number, self.old), default=0) + 1

    def _revisions(self) -> list[Call]:
        """The new ReplicaSet carries the highest revision, and the Deployment says which that is."""
        if self.new is None:
            return []
        calls: list[Call] = []
        revision = max(self._next_revision(), facts.revision_number(self.new))
        wanted = making.copied_annotations(self.deployment) | {facts.REVISION: str(revision)}
        before = annotations_of(self.new).get(facts.REVISION)
        if before and before != str(revision):
            history = annotations_of(self.new).get(facts.REVISION_HISTORY)
            wanted[facts.REVISION_HISTORY] = ",".join(filter(None, [history, before]))
        have = annotations_of(self.new)
        changed: dict[str, str | None] = {key: value for key, value in wanted.items() if have.get(key) != value}
        patch: Object = {"metadata": {"annotations": changed}} if changed else {}
        min_ready = int(spec_of(self.deployment).get("minReadySeconds") or 0)
        if int(spec_of(self.new).get("minReadySeconds") or 0) != min_ready:
            patch["spec"] = {"minReadySeconds": min_ready or None}
        if patch:
            calls.append(Patch(REPLICASET, namespace_of(self.new), name_of(self.new), patch))
        calls += self._own_revision(str(revision))
        if facts.progress_deadline_seconds(self.deployment) and not any(
            each.get("type") == "Progressing" for each in self.conditions
        ):
            message = f'Found new replica set "{name_of(self.new)}"'
            self.conditions = statuses.with_progress(
                self.conditions, "True", "NewReplicaSetFound", message, self.wall_seconds
            )  # fmt: skip
        return calls

    def _own_revision(self, revision: str) -> list[Call]:
        if annotations_of(self.deployment).get(facts.REVISION) == revision:
            return []
        patch = {"metadata": {"annotations": {facts.REVISION: revision}}}
        # As status: an annotation that a user sets would count in metadata.generation.
        return [Patch(DEPLOYMENT, namespace_of(self.deployment), name_of(self.deployment), patch, subresource="status")]

    # ReplicaSets.

    def _create(self) -> list[Call]:
        """The ReplicaSet of a template that has none yet."""
        status = status_of(self.deployment)
        collisions = status.get("collisionCount")
        digest = facts.template_hash(facts.template_of(self.deployment), collisions)
        name = f"{name_of(self.deployment)}-{digest}"
        namespace = namespace_of(self.deployment)
        if self.view.get(REPLICASET, namespace, name) is not None:
            # Another template, or somebody else, has this name: the next plan hashes with another count.
            return status_calls(DEPLOYMENT, self.deployment, {**status, "collisionCount": int(collisions or 0) + 1})
        revision = str(self._next_revision())
        size = rollout.new_size(self.deployment, 0, self.old)
        body = making.replicaset(self.deployment, name, digest, size, revision)
        calls: list[Call] = [Create(REPLICASET, namespace, body, on_failure=self._create_failed)]
        if size:
            calls.append(self._scaled_event(name, 0, size))
        calls += self._own_revision(revision)
        if facts.progress_deadline_seconds(self.deployment) is not None:
            self.conditions = statuses.with_progress(
                self.conditions, "True", "NewReplicaSetCreated", f'Created new replica set "{name}"', self.wall_seconds
            )
        return calls + self._status(rolling_out=False)

    def _create_failed(self, error: StatusError) -> Sequence[Call]:
        if error.reason == "AlreadyExists" or facts.progress_deadline_seconds(self.deployment) is None:
            return []
        conditions = status_of(self.deployment).get("conditions") or []
        self.conditions = statuses.with_progress(
            conditions, "False", "ReplicaSetCreateError", error.message, self.wall_seconds
        )  # fmt: skip
        return self._status(rolling_out=False)

    def _resize(self, sizes: rollout.Sizes) -> list[Call]:
        """Patches for the sizes, and for what every sized ReplicaSet says about the Deployment's own."""
        calls: list[Call] = []
        for replicaset in self.all:
            name, before = name_of(replicaset), facts.replicas_of(replicaset)
            size = sizes.get(name, before)
            annotations = making.size_annotations(self.deployment) if size or before else {}
            have = annotations_of(replicaset)
            changed = {key: value for key, value in annotations.items() if have.get(key) != value}
            if size == before and (not changed or (name not in sizes and replicaset is not self.new)):
                continue
            patch: Object = {"spec": {"replicas": size}} if size != before else {}
            if changed:
                patch["metadata"] = {"annotations": changed}
            calls.append(Patch(REPLICASET, namespace_of(replicaset), name, patch))
            if size != before:
                calls.append(self._scaled_event(name, before, size))
        return calls

    def _scaled_event(self, name: str, before: int, after: int) -> Record:
        way = "up" if after > before else "down"
        message = f"Scaled {way} replica set {name} from {before} to {after}"
        return Record(self.deployment, "Normal", "ScalingReplicaSet", message)

    def _old_pods_left(self) -> bool:
        """Pods of old templates that still run, or are on their way out (Recreate waits for them)."""
        return any(
            not podstate.is_finished(pod) for replicaset in self.old for pod in self.view.owned_by(POD, uid_of(replicaset))
        )

    def _history(self) -> list[Call]:
        """Delete the oldest empty ReplicaSets above revisionHistoryLimit."""
        limit = facts.history_limit(self.deployment)
        old = sorted((each for each in self.old if not is_deleting(each)), key=facts.revision_number)
        if limit is None or len(old) <= limit:
            return []
        return [
            Delete(REPLICASET, namespace_of(each), name_of(each), DeleteOptions(precondition_uid=uid_of(each)))
            for each in old[: len(old) - limit]
            if not facts.replicas_of(each)
            and not status_of(each).get("replicas")
            and int(each["metadata"].get("generation") or 0) <= int(status_of(each).get("observedGeneration") or 0)
        ]

    # Status.

    def _status(self, *, rolling_out: bool) -> list[Call]:
        status = statuses.counts(self.deployment, self.new, self.old)
        conditions = statuses.with_available(self.deployment, status, self.conditions, self.wall_seconds)
        deadline: float | None = None
        if rolling_out:
            conditions, deadline = statuses.with_rollout(self.deployment, self.new, status, conditions, self.wall_seconds)
        conditions = statuses.with_replica_failure(self.new, self.old, conditions)
        calls = status_calls(DEPLOYMENT, self.deployment, {**status, "conditions": conditions or None})
        return calls + ([Later(deadline + 1)] if deadline is not None else [])


DEPLOYMENT_CONTROLLER: Final = Controller(
    name="deployment-controller",
    watches=(
        (DEPLOYMENT, itself),
        (REPLICASET, controlled_by(DEPLOYMENT)),
        (REPLICASET, adopters(DEPLOYMENT)),
        (POD, of_recreated_pods),
    ),
    plan=plan,
)
