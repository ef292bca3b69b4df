"""A pod's ephemeral volumes get their claims, which end with the pod.

Enters: pods; claims of the names that those volumes have.
Leaves: a claim owned by the pod; an event where somebody else's claim has that name.
Holds: a claim that is not the pod's is never used by it; the garbage collector takes the claim when the pod is gone.
Source: kubernetes.io, "Ephemeral Volumes", generic ephemeral volumes; pkg/controller/volume/ephemeral.
Next: controllers.volumes.binder.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from edgekube.api import storage
from edgekube.api.calls import Call, Create, Record, Report
from edgekube.api.controller import Change, Controller, Key, Moment, key_of
from edgekube.api.kinds import PERSISTENTVOLUMECLAIM, POD
from edgekube.api.objects import Object, controller_of, is_deleting, name_of, namespace_of
from edgekube.api.ownership import controller_reference
from edgekube.api.view import View


def plan(view: View, key: Key, now: Moment) -> list[Call]:
    pod = view.get(POD, *key)
    if pod is None or is_deleting(pod):
        return []
    calls: list[Call] = []
    for volume in _ephemeral(pod):
        name = storage.ephemeral_claim(pod, volume)
        there = view.get(PERSISTENTVOLUMECLAIM, key.namespace, name)
        if there is None:
            what = f"ephemeral volume {volume['name']}: create PVC {name}: {{error}}"
            report = Report(pod, "", "", "FailedBinding", what)
            calls.append(Create(PERSISTENTVOLUMECLAIM, key.namespace, _claim(pod, volume, name), report=report))
        elif not storage.is_made_for(there, pod):
            place = f"{key.namespace}/{name} was not created for pod {key.namespace}/{key.name}"
            why = f"ephemeral volume {volume['name']}: PVC {place} (pod is not owner)"
            return [*calls, Record(pod, "Warning", "FailedBinding", why)]
    return calls


def _ephemeral(pod: Object) -> list[Object]:
    return [volume for volume in (pod.get("spec") or {}).get("volumes") or () if volume.get("ephemeral") is not None]


def _claim(pod: Object, volume: Object, name: str) -> Object:
    template: Object = volume["ephemeral"].get("volumeClaimTemplate") or {}
    metadata: Object = {"name": name, "namespace": namespace_of(pod), "ownerReferences": [controller_reference(POD, pod)]}
    for part in ("annotations", "labels"):
        if (template.get("metadata") or {}).get(part):
            metadata[part] = template["metadata"][part]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata,
        "spec": template.get("spec") or {},
    }


def _pod_changed(change: Change, view: View) -> Iterator[Key]:
    if change.old is None and change.new is not None and _ephemeral(change.new):
        yield change.key


def _claim_changed(change: Change, view: View) -> Iterator[Key]:
    """A claim that is gone is made again, or made at last where it stood in the way."""
    if change.new is not None or change.old is None:
        return
    owner = controller_of(change.old)
    if owner is not None and owner.get("kind") == "Pod":
        yield Key(change.key.namespace, str(owner.get("name")))
    for pod in view.list(POD, change.key.namespace):
        if any(storage.ephemeral_claim(pod, volume) == name_of(change.old) for volume in _ephemeral(pod)):
            yield key_of(pod)


EPHEMERAL_CONTROLLER: Final = Controller(
    name="ephemeral_volume",
    watches=((POD, _pod_changed), (PERSISTENTVOLUMECLAIM, _claim_changed)),
    plan=plan,
)
