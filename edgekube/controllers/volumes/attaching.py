"""Volumes of CSI drivers are attached to the nodes whose pods use them, and detached when none does.

Enters: volumes, the pods that use them, nodes, VolumeAttachments and CSIDrivers.
Leaves: VolumeAttachments made and deleted, for the driver's own attacher to act on; a Node's volumesAttached; events of pods.
Holds: a volume is the key, so that one for a single node is never attached to two; volumes that are the same to their driver
share an attachment, which goes when nobody uses any of them there. While a node says that it uses the volume it is not detached,
unless the node has the out-of-service taint, or was unhealthy for as long as detaching has waited; the wait is noted in the
attachment, so that a restart of ours does not begin it anew. What others attached is left alone.
Bound: limits.FORCED_DETACH_SECONDS.
Source: kubernetes.io, "Volumes", CSI; "Non-graceful node shutdown handling"; pkg/controller/volume/attachdetach.
Next: controllers.volumes.attach_events; an external attacher; agents look at the attachment.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from edgekube import limits
from edgekube.api import attachment, podstate, storage, times
from edgekube.api.calls import Call, Create, Delete, Later, Patch
from edgekube.api.controller import Change, Controller, Key, Moment, sides
from edgekube.api.kinds import CSIDRIVER, NODE, PERSISTENTVOLUME, PERSISTENTVOLUMECLAIM, POD, VOLUMEATTACHMENT
from edgekube.api.objects import Object, annotations_of, is_deleting, name_of, namespace_of, uid_of
from edgekube.api.verbs import DeleteOptions
from edgekube.api.view import View
from edgekube.controllers.volumes.attach_events import attach_events, refusal_events
from edgekube.controllers.volumes.attached_lists import patch_attached

OUT_OF_SERVICE: Final = "node.kubernetes.io/out-of-service"
#: Annotation of an attachment that is to be deleted and may not yet: since when.
WAITS_SINCE: Final = "edgekube.io/detaching-since"


def plan(view: View, key: Key, now: Moment) -> list[Call]:
    volume = view.get(PERSISTENTVOLUME, "", key.name)
    attachments = attachment.of_volume(list(view.list(VOLUMEATTACHMENT)), volume, key.name)
    users: dict[str, list[Object]] = {}
    if volume is not None and _is_attachable(view, volume):
        for pod in _users(view, volume):
            users.setdefault(podstate.node_of(pod), []).append(pod)
    own = {node_name: list(pods) for node_name, pods in users.items()}
    if any(attachment.node_of(each) not in users for each in attachments):
        # Before anything is detached: its driver may know it by another volume as well.
        for twin in _twins(view, key.name, attachments):
            for pod in _users(view, twin):
                users.setdefault(podstate.node_of(pod), []).append(pod)
    calls: list[Call] = []
    left: set[str] = set()
    for each in attachments:
        node_name = attachment.node_of(each)
        left.add(node_name)
        if node_name in users or is_deleting(each):
            listed = _keep_listed(view, volume, each, attachment.is_attached(each) and not is_deleting(each))
            calls += listed
            if volume is not None and node_name in own and not is_deleting(each):
                calls += attach_events(volume, each, own[node_name], news=bool(listed))
        else:
            calls += _detach(view, volume, each, now)
    if volume is not None:
        calls += _attach(view, volume, own, users, attachments, left)
    return calls


def _twins(view: View, volume_name: str, attachments: list[Object]) -> Iterator[Object]:
    """Other volumes that are the same to their driver, by the attachments, which are there without the volume too."""
    for other in view.list(PERSISTENTVOLUME):
        if name_of(other) == volume_name or attachment.csi_of(other) is None:
            continue
        same = any(attachment.attachment_name(other, attachment.node_of(each)) == name_of(each) for each in attachments)
        if same and _is_attachable(view, other):
            yield other


def _is_attachable(view: View, volume: Object) -> bool:
    source = attachment.csi_of(volume)
    return source is not None and attachment.needs_attaching(view.get(CSIDRIVER, "", str(source.get("driver") or "")))


def _users(view: View, volume: Object) -> Iterator[Object]:
    """Pods on nodes whose claim is bound to the volume, until they have ended."""
    reference = storage.claim_of(volume)
    if reference is None:
        return
    namespace, name = str(reference.get("namespace") or ""), str(reference.get("name") or "")
    claim = view.get(PERSISTENTVOLUMECLAIM, namespace, name)
    if claim is None or not storage.is_bound_to(volume, claim) or not storage.is_fully_bound(claim):
        return
    for pod in view.list(POD, namespace):
        if podstate.node_of(pod) and not _has_ended(pod) and name in storage.claims_of(pod):
            yield pod


def _has_ended(pod: Object) -> bool:
    if podstate.is_finished(pod):
        return True
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return is_deleting(pod) and bool(statuses) and all("terminated" in (each.get("state") or {}) for each in statuses)


# --- attaching


def _attach(
    view: View,
    volume: Object,
    own: dict[str, list[Object]],
    users: dict[str, list[Object]],
    attachments: list[Object],
    left: set[str],
) -> Iterator[Call]:
    for node_name, pods in sorted(own.items()):
        if any(attachment.node_of(each) == node_name for each in attachments) or view.get(NODE, "", node_name) is None:
            continue
        if left and not attachment.is_for_many_nodes(volume):
            others = [pod for other in left for pod in users.get(other, ())]
            yield from refusal_events(volume, pods, others)
        else:
            left.add(node_name)
            yield Create(VOLUMEATTACHMENT, "", _attachment(volume, node_name))


def _attachment(volume: Object, node_name: str) -> Object:
    return {
        "apiVersion": VOLUMEATTACHMENT.api_version,
        "kind": VOLUMEATTACHMENT.kind,
        "metadata": {"name": attachment.attachment_name(volume, node_name)},
        "spec": {
            "attacher": (attachment.csi_of(volume) or {}).get("driver"),
            "nodeName": node_name,
            "source": {"persistentVolumeName": name_of(volume)},
        },
    }


# --- detaching


def _detach(view: View, volume: Object | None, made: Object, now: Moment) -> list[Call]:
    node_name = attachment.node_of(made)
    node = view.get(NODE, "", node_name)
    if node is not None and attachment.listed_names(node, "volumesInUse", name_of(made)):
        waits = _waits(node, made, now)
        if waits is not None:
            return waits
    calls = _keep_listed(view, volume, made, False)
    return [*calls, Delete(VOLUMEATTACHMENT, "", name_of(made), DeleteOptions(precondition_uid=uid_of(made)))]


def _waits(node: Object, made: Object, now: Moment) -> list[Call] | None:
    """What is to be done while the node uses the volume; None: that is not waited for any longer."""
    if _is_out_of_service(node):
        return None
    since = annotations_of(made).get(WAITS_SINCE)
    calls: list[Call] = []
    if not since:
        since = times.rfc3339(now.wall_seconds)
        metadata: Object = {"uid": uid_of(made), "annotations": {WAITS_SINCE: since}}
        calls.append(Patch(VOLUMEATTACHMENT, "", name_of(made), {"metadata": metadata}))
    ready = podstate.condition_of(node, "Ready")
    if ready is not None and ready.get("status") == "True":
        return calls  # it will say so, when it is done with the volume or is unhealthy
    left = limits.FORCED_DETACH_SECONDS - max(0.0, now.wall_seconds - times.parse(since))
    return [*calls, Later(left)] if left > 0 else None


def _is_out_of_service(node: Object) -> bool:
    return any(taint.get("key") == OUT_OF_SERVICE for taint in (node.get("spec") or {}).get("taints") or ())


def _keep_listed(view: View, volume: Object | None, made: Object, wanted: bool) -> list[Call]:
    """The Node's volumesAttached has the attachment's volume, or has it no more."""
    node = view.get(NODE, "", attachment.node_of(made))
    if node is None:
        return []
    there = attachment.listed_names(node, "volumesAttached", name_of(made))
    if bool(there) == wanted or (wanted and volume is None):
        return []
    listed = [each for each in (node.get("status") or {}).get("volumesAttached") or () if each.get("name") not in there]
    if wanted and volume is not None:
        listed.append({"name": attachment.unique_name(volume), "devicePath": ""})
    return [patch_attached(node, listed)]


# --- who is woken


def _volumes_of_pod(change: Change, view: View) -> Iterator[Key]:
    old, new = change.old, change.new
    if (
        old is not None
        and new is not None
        and (podstate.node_of(old), _has_ended(old)) == (podstate.node_of(new), _has_ended(new))
    ):
        return
    for side in sides(change):
        if podstate.node_of(side):
            for name in storage.claims_of(side):
                claim = view.get(PERSISTENTVOLUMECLAIM, namespace_of(side), name)
                yield from _of_claim(claim)


def _of_claim(claim: Object | None) -> Iterator[Key]:
    volume = ((claim or {}).get("spec") or {}).get("volumeName")
    if volume:
        yield Key("", volume)


def _volumes_of_claim(change: Change, view: View) -> Iterator[Key]:
    for side in sides(change):
        yield from _of_claim(side)


def _volume(change: Change, view: View) -> Iterator[Key]:
    if any(attachment.csi_of(side) is not None for side in sides(change)):
        yield change.key


def _volumes_of_attachment(change: Change, view: View) -> Iterator[Key]:
    for side in sides(change):
        if attachment.volume_of(side):
            yield Key("", attachment.volume_of(side))
    if change.new is None and change.old is not None and attachment.is_attachment_name(change.key.name):
        # Whoever has waited for it may be the pod of another volume that is the same to the driver.
        driver = (change.old.get("spec") or {}).get("attacher")
        for volume in view.list(PERSISTENTVOLUME):
            is_drivers = (attachment.csi_of(volume) or {}).get("driver") == driver
            if is_drivers and attachment.attachment_name(volume, attachment.node_of(change.old)) == change.key.name:
                yield Key("", name_of(volume))


def _volumes_of_node(change: Change, view: View) -> Iterator[Key]:
    """What of a node decides about detaching; heartbeats do not."""
    told = []
    for side in sides(change):
        ready = (podstate.condition_of(side, "Ready") or {}).get("status")
        status = side.get("status") or {}
        told.append((ready, _is_out_of_service(side), status.get("volumesInUse"), status.get("volumesAttached")))
    if len(told) == 2 and told[0] == told[1]:
        return
    for each in view.list(VOLUMEATTACHMENT):
        if attachment.node_of(each) == change.key.name and attachment.volume_of(each):
            yield Key("", attachment.volume_of(each))
    if change.old is None:
        for pod in view.pods_on(change.key.name):
            for name in storage.claims_of(pod):
                yield from _of_claim(view.get(PERSISTENTVOLUMECLAIM, namespace_of(pod), name))


def _volumes_of_driver(change: Change, view: View) -> Iterator[Key]:
    for volume in view.list(PERSISTENTVOLUME):
        if (attachment.csi_of(volume) or {}).get("driver") == change.key.name:
            yield Key("", name_of(volume))


ATTACH_DETACH_CONTROLLER: Final = Controller(
    name="attachdetach-controller",
    watches=(
        (POD, _volumes_of_pod),
        (PERSISTENTVOLUMECLAIM, _volumes_of_claim),
        (PERSISTENTVOLUME, _volume),
        (VOLUMEATTACHMENT, _volumes_of_attachment),
        (NODE, _volumes_of_node),
        (CSIDRIVER, _volumes_of_driver),
    ),
    plan=plan,
)
