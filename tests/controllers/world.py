"""A cluster small enough to hold in the hand: what planners read, and what becomes of their calls, without any I/O.

It keeps objects as JSON, so that a planner that writes into what it was given changes nothing. It has no rules of its own beyond
revisions, generations, uids, finalizers and graceful deletion of pods that run.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator, Sequence

import orjson

from edgekube.api import times
from edgekube.api.calls import Call, Create, Delete, Later, Patch, Record, Require, RequireGone, RequireNone, Update
from edgekube.api.controller import Controller, Key, Moment, key_of
from edgekube.api.errors import StatusError, already_exists, conflict, not_found
from edgekube.api.kinds import NODE, POD, Kind
from edgekube.api.node_facts import NodeFacts, node_facts_of
from edgekube.api.objects import Object, labels_of, metadata_of, name_of, namespace_of, owners_of, uid_of
from edgekube.api.pod_facts import PodFacts, pod_facts_of
from edgekube.api.selectors.labels import LabelSelector
from edgekube.api.verbs import JSON_PATCH


class World:
    def __init__(self, wall_seconds: float = 1_800_000_000.0) -> None:
        self.started = wall_seconds
        self.now = wall_seconds
        self.events: list[str] = []
        self.later: float | None = None
        self.refuse: Callable[[Call], StatusError | None] = lambda _: None
        self._objects: dict[Kind, dict[Key, bytes]] = {}
        self._seen: dict[tuple[Kind, Key], float] = {}
        self._revision = 0

    # api.view.View.

    def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        raw = self._objects.get(kind, {}).get(Key(namespace, name))
        return None if raw is None else orjson.loads(raw)

    def list(self, kind: Kind, namespace: str = "") -> Iterator[Object]:
        for key, raw in list(self._objects.get(kind, {}).items()):
            if not namespace or key.namespace == namespace:
                yield orjson.loads(raw)

    def selected(self, kind: Kind, namespace: str, selector: LabelSelector) -> Iterator[Object]:
        return (obj for obj in self.list(kind, namespace) if selector.matches(labels_of(obj)))

    def owned_by(self, kind: Kind, owner_uid: str, namespace: str = "") -> Iterator[Object]:
        for obj in self.list(kind, namespace):
            owners = owners_of(obj)
            if any(each.get("uid") == owner_uid for each in owners) or (
                not owner_uid and not any(each.get("controller") for each in owners)
            ):
                yield obj

    def pod_facts_owned_by(self, owner_uid: str, namespace: str = "") -> Iterator[PodFacts]:
        return map(pod_facts_of, self.owned_by(POD, owner_uid, namespace))

    def pod_facts_selected(self, namespace: str, selector: LabelSelector) -> Iterator[PodFacts]:
        return map(pod_facts_of, self.selected(POD, namespace, selector))

    def node_facts(self) -> Iterator[NodeFacts]:
        return map(node_facts_of, self.list(NODE))

    def pods_on(self, node_name: str) -> Iterator[Object]:
        return (pod for pod in self.list(POD) if (pod.get("spec") or {}).get("nodeName", "") == node_name)

    def changed_at(self, kind: Kind, namespace: str, name: str) -> float | None:
        return self._seen.get((kind, Key(namespace, name)))

    # What happens in it.

    def moment(self) -> Moment:
        return Moment(self.now, self.now - self.started)

    def put(self, kind: Kind, obj: Object) -> Object:
        """Write as it is, with what a server adds."""
        metadata = metadata_of(obj)
        before = self.get(kind, namespace_of(obj), name_of(obj))
        self._revision += 1
        metadata["resourceVersion"] = str(self._revision)
        obj.setdefault("apiVersion", kind.api_version)
        obj.setdefault("kind", kind.kind)
        if before is None:
            metadata.setdefault("uid", f"uid-{self._revision}")
            metadata.setdefault("creationTimestamp", times.rfc3339(self.now))
            metadata.setdefault("generation", 1)
        elif before.get("spec") != obj.get("spec"):
            metadata["generation"] = int(metadata.get("generation") or 1) + 1
        key = key_of(obj)
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers") and "deletionGracePeriodSeconds" not in metadata:
            self._objects[kind].pop(key, None)
            self._seen[kind, key] = self.now - self.started
            return obj
        self._objects.setdefault(kind, {})[key] = orjson.dumps(obj)
        self._seen[kind, key] = self.now - self.started
        return obj

    def gone(self, kind: Kind, namespace: str, name: str) -> None:
        if self._objects.get(kind, {}).pop(Key(namespace, name), None) is not None:
            self._revision += 1
            self._seen[kind, Key(namespace, name)] = self.now - self.started

    def plan(self, controller: Controller, namespace: str, name: str) -> builtins.list[Call]:
        return controller.plan(self, Key(namespace, name), self.moment())

    def step(self, controller: Controller, namespace: str, name: str) -> builtins.list[Call]:
        """Plan a key and carry it out."""
        calls = self.plan(controller, namespace, name)
        self.carry_out(calls)
        return calls

    def carry_out(self, calls: Sequence[Call]) -> StatusError | None:
        self.later = None
        for call in calls:
            try:
                self._carry_out(call)
            except StatusError as error:
                report = getattr(call, "report", None)
                if report is not None and report.failure_reason:
                    self.events.append(f"{report.failure_reason}: " + report.failure_message.replace("{error}", error.message))
                remedy = getattr(call, "on_failure", None)
                if remedy is not None:
                    self.carry_out(remedy(error))
                return error
        return None

    def _carry_out(self, call: Call) -> None:
        refusal = self.refuse(call)
        if refusal is not None:
            raise refusal
        if isinstance(call, Record):
            self.events.append(f"{call.reason}: {call.message}")
        elif isinstance(call, Later):
            self.later = call.delay_seconds if self.later is None else min(self.later, call.delay_seconds)
        elif isinstance(call, Require):
            found = self.get(call.kind, call.namespace, call.name)
            if found is None or uid_of(found) != call.uid or found["metadata"].get("deletionTimestamp"):
                raise conflict(call.kind.group, call.kind.plural, call.name)
        elif isinstance(call, RequireGone):
            found = self.get(call.kind, call.namespace, call.name)
            if found is not None and (not call.uid or uid_of(found) == call.uid):
                raise conflict(call.kind.group, call.kind.plural, call.name)
        elif isinstance(call, RequireNone):
            for found in self.list(call.kind, call.namespace):
                if call.holds(found):
                    raise conflict(call.kind.group, call.kind.plural, name_of(found))
        elif isinstance(call, Create):
            self._create(call)
        elif isinstance(call, Update):
            self._update(call)
        elif isinstance(call, Patch):
            self._patch(call)
        else:
            self._delete(call)

    def _update(self, call: Update) -> None:
        stored = self.get(call.kind, namespace_of(call.object), name_of(call.object))
        if stored is None:
            raise not_found(call.kind.group, call.kind.plural, name_of(call.object))
        revision = metadata_of(call.object).get("resourceVersion")
        if revision and revision != metadata_of(stored)["resourceVersion"]:
            raise conflict(call.kind.group, call.kind.plural, name_of(call.object))
        if call.subresource not in ("", "status"):
            self.put(call.kind, call.object)
            return
        status, other = (call.object, stored) if call.subresource == "status" else (stored, call.object)
        obj: Object = {**orjson.loads(orjson.dumps(other)), "status": status.get("status")}
        self.put(call.kind, {key: value for key, value in obj.items() if value is not None})

    def _create(self, call: Create) -> None:
        obj: Object = orjson.loads(orjson.dumps(call.object))
        if call.subresource == "binding":
            pod = self.get(POD, call.namespace, call.name)
            assert pod is not None, "a pod that is bound exists"
            pod["spec"]["nodeName"] = obj["target"]["name"]
            self.put(POD, pod)
            return
        metadata = metadata_of(obj)
        if call.kind.namespaced:
            metadata["namespace"] = call.namespace
        if not metadata.get("name"):
            metadata["name"] = f"{metadata['generateName']}{self._revision + 1:05d}"
        if self.get(call.kind, call.namespace, metadata["name"]) is not None:
            raise already_exists(call.kind.group, call.kind.plural, metadata["name"])
        if call.kind is POD:
            obj["status"] = {"phase": "Pending"}
        self.put(call.kind, obj)
        if call.report is not None and call.report.success_reason:
            self.events.append(
                f"{call.report.success_reason}: " + call.report.success_message.replace("{name}", metadata["name"])
            )

    def _patch(self, call: Patch) -> None:
        obj = self.get(call.kind, call.namespace, call.name)
        if obj is None:
            raise not_found(call.kind.group, call.kind.plural, call.name)
        if call.patch_type == JSON_PATCH:
            assert isinstance(call.patch, list), "a JSON patch is a list"
            for operation in call.patch:
                parent, leaf = _walk(obj, operation["path"])
                if operation["op"] == "test":
                    if parent.get(leaf) != operation["value"]:
                        raise StatusError("Invalid", "the test of a JSON patch failed")
                elif operation["op"] == "add":
                    parent[leaf] = operation["value"]
                elif operation["op"] == "remove":
                    del parent[leaf]
        else:
            assert isinstance(call.patch, dict), "a merge patch is an object"
            wanted = (call.patch.get("metadata") or {}).get("uid")
            if wanted and wanted != uid_of(obj):
                raise conflict(call.kind.group, call.kind.plural, call.name)
            obj = _merge(obj, call.patch)
        self.put(call.kind, obj)

    def _delete(self, call: Delete) -> None:
        obj = self.get(call.kind, call.namespace, call.name)
        if obj is None:
            return
        if call.options.precondition_uid not in (None, uid_of(obj)):
            raise conflict(call.kind.group, call.kind.plural, call.name)
        metadata = metadata_of(obj)
        bound = call.kind is POD and (obj.get("spec") or {}).get("nodeName") and call.options.grace_period_seconds != 0
        finished = (obj.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        policy = call.options.propagation_policy
        if policy in ("Foreground", "Orphan"):
            finalizer = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}[policy]
            metadata["finalizers"] = [*(metadata.get("finalizers") or []), finalizer]
        if metadata.get("finalizers") or (bound and not finished):
            metadata["deletionTimestamp"] = metadata.get("deletionTimestamp") or times.rfc3339(self.now)
            metadata["deletionGracePeriodSeconds"] = 30 if bound else 0
            self.put(call.kind, obj)
        else:
            self.gone(call.kind, call.namespace, call.name)
        if call.report is not None and call.report.success_reason:
            self.events.append(f"{call.report.success_reason}: " + call.report.success_message.replace("{name}", call.name))


def _walk(obj: Object, path: str) -> tuple[Object, str]:
    *parents, leaf = [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]
    for part in parents:
        obj = obj[part]
    return obj, leaf


def _merge(target: Object, patch: Object) -> Object:
    result = dict(target)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = _merge(result.get(key) or {}, value)
        else:
            result[key] = value
    return result


def kubelet(world: World, pod: Object, *, ready: bool = True) -> None:
    """What a node would do: run the pod, and take it away once it is being deleted."""
    if pod["metadata"].get("deletionTimestamp"):
        world.gone(POD, namespace_of(pod), name_of(pod))
        return
    pod["spec"].setdefault("nodeName", "n1")
    status = {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": times.rfc3339(world.now)}
    before = next((each for each in (pod.get("status") or {}).get("conditions") or [] if each["type"] == "Ready"), None)
    if before is not None and before["status"] == status["status"]:
        status = before
    pod["status"] = {"phase": "Running", "conditions": [status]}
    world.put(POD, pod)
