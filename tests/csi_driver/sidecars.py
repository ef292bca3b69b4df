"""What a driver's own sidecars do beside it: provision, attach and resize, by the same objects as the upstream ones.

Enters: the API, as a driver's service account has it; the driver's socket.
Leaves: volumes made and deleted, attachments answered, claims on their way to more.
Holds: each change is looked at as a whole, so that what a sidecar missed while it was away is done when it is back.
Source: kubernetes-csi external-provisioner, external-attacher, external-resizer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import trio
from google.protobuf.message_factory import GetMessageClass

from edgekube.agent._generated import csi_pb2 as csi
from edgekube.api import quantities, storage
from edgekube.api.errors import StatusError
from edgekube.api.kinds import CSINODE, PERSISTENTVOLUME, PERSISTENTVOLUMECLAIM, STORAGECLASS, VOLUMEATTACHMENT, Kind
from edgekube.api.objects import Object, annotations_of, is_deleting, name_of, namespace_of, uid_of
from edgekube.api.verbs import BOOKMARK, DELETED, ListOptions, Verbs

_PV, _PVC, _VA = PERSISTENTVOLUME, PERSISTENTVOLUMECLAIM, VOLUMEATTACHMENT
PROVISIONED: Final = "external-provisioner.volume.kubernetes.io/finalizer"
_MODE: Final = {"ReadWriteOnce": 1, "ReadOnlyMany": 3, "ReadWriteMany": 5, "ReadWriteOncePod": 7}
#: A pod may be placed before its node has told the API of the driver: then the real ones ask again, too.
_AGAIN_SECONDS: Final = 0.1


class _NotYet(Exception):
    """What is needed is on its way."""


@dataclass
class Sidecars:
    verbs: Verbs
    driver: str
    socket: Path

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._each, _PVC, self._provision)
            nursery.start_soon(self._each, _PVC, self._resize)
            nursery.start_soon(self._each, _PV, self._delete)
            nursery.start_soon(self._each, _VA, self._attach)

    async def _each(self, kind: Kind, act: Callable[[Object], Awaitable[None]]) -> None:
        listed = await self.verbs.list(kind)
        for obj in listed.objects():
            await self._tried(kind, act, obj)
        async with self.verbs.watch(kind, "", ListOptions(revision=listed.revision)) as events:
            async for event in events:
                if event.type not in (BOOKMARK, DELETED):
                    await self._tried(kind, act, event.object())

    async def _tried(self, kind: Kind, act: Callable[[Object], Awaitable[None]], obj: Object) -> None:
        """As it is by now, until it went well or what it is about is gone: nothing is done twice because two changes came."""
        while True:
            try:
                await act(await self.verbs.get(kind, namespace_of(obj), name_of(obj)))
                return
            except StatusError as error:
                assert error.reason in ("Conflict", "NotFound", "AlreadyExists"), error
                if error.reason != "Conflict":
                    return
            except _NotYet:
                await trio.sleep(_AGAIN_SECONDS)

    async def _ask(self, service: str, method: str, **fields: Any) -> Any:
        described = csi.DESCRIPTOR.services_by_name[service].methods_by_name[method]
        request = GetMessageClass(described.input_type)(**fields)

        def call() -> Any:
            with grpc.insecure_channel(f"unix:{self.socket}") as channel:
                ask = channel.unary_unary(
                    f"/csi.v1.{service}/{method}",
                    request_serializer=lambda message: message.SerializeToString(),
                    response_deserializer=GetMessageClass(described.output_type).FromString,
                )
                return ask(request, timeout=30)

        return await trio.to_thread.run_sync(call)

    async def _patch(self, kind: Kind, obj: Object, patch: Object, subresource: str = "") -> Object:
        metadata = {"uid": uid_of(obj), **patch.pop("metadata", {})}
        whole = {"metadata": metadata, **patch}
        return await self.verbs.patch(kind, namespace_of(obj), name_of(obj), whole, subresource=subresource)

    # --- external-provisioner

    async def _provision(self, claim: Object) -> None:
        ours = annotations_of(claim).get(storage.STORAGE_PROVISIONER) == self.driver
        if not ours or claim["spec"].get("volumeName") or is_deleting(claim):
            return
        storage_class = await self.verbs.get(STORAGECLASS, "", storage.class_of(claim))
        if storage.delays_binding(storage_class) and storage.SELECTED_NODE not in annotations_of(claim):
            return
        name, size = f"pvc-{uid_of(claim)}", storage.requested(claim)
        capability = {"mount": {}, "access_mode": {"mode": _MODE[storage.modes_of(claim)[0]]}}
        made = await self._ask(
            "Controller",
            "CreateVolume",
            name=name,
            capacity_range={"required_bytes": quantities.to_bytes(size)},
            volume_capabilities=[capability],
            parameters=storage_class.get("parameters") or {},
        )
        spec: Object = {
            "capacity": {"storage": quantities.text_of(made.volume.capacity_bytes, "binary")},
            "accessModes": storage.modes_of(claim),
            "persistentVolumeReclaimPolicy": storage_class["reclaimPolicy"],
            "storageClassName": storage.class_of(claim),
            "claimRef": storage.claim_reference(claim),
            "csi": {"driver": self.driver, "volumeHandle": made.volume.volume_id},
        }
        metadata = {"name": name, "annotations": {storage.PROVISIONED_BY: self.driver}, "finalizers": [PROVISIONED]}
        await self.verbs.create(_PV, "", {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": spec})

    async def _delete(self, volume: Object) -> None:
        if annotations_of(volume).get(storage.PROVISIONED_BY) != self.driver or volume["status"].get("phase") != "Released":
            return
        held = volume["metadata"].get("finalizers") or []
        if volume["spec"]["persistentVolumeReclaimPolicy"] != "Delete" or any(
            each.startswith("external-attacher") for each in held
        ):
            return
        await self._ask("Controller", "DeleteVolume", volume_id=volume["spec"]["csi"]["volumeHandle"])
        if not is_deleting(volume):
            await self.verbs.delete(_PV, "", name_of(volume))
        volume = await self.verbs.get(_PV, "", name_of(volume))
        await self._without_finalizer(_PV, volume, PROVISIONED)

    # --- external-attacher

    async def _attach(self, made: Object) -> None:
        if made["spec"]["attacher"] != self.driver:
            return
        finalizer = "external-attacher/" + self.driver.replace(".", "-")
        volume = await self.verbs.get(_PV, "", made["spec"]["source"]["persistentVolumeName"])
        handle = volume["spec"]["csi"]["volumeHandle"]
        nodes = (await self.verbs.get(CSINODE, "", made["spec"]["nodeName"]))["spec"]["drivers"]
        node_id = next((each["nodeID"] for each in nodes if each["name"] == self.driver), None)
        if node_id is None:
            raise _NotYet
        if is_deleting(made):
            await self._ask("Controller", "ControllerUnpublishVolume", volume_id=handle, node_id=node_id)
            await self._without_finalizer(_PV, volume, finalizer)
            await self._without_finalizer(_VA, made, finalizer)
        elif not made["status"].get("attached"):
            await self._with_finalizer(_PV, volume, finalizer)
            if await self._with_finalizer(_VA, made, finalizer):
                return  # that change comes by the watch
            capability = {"mount": {}, "access_mode": {"mode": _MODE[storage.modes_of(volume)[0]]}}
            answer = await self._ask(
                "Controller", "ControllerPublishVolume", volume_id=handle, node_id=node_id, volume_capability=capability
            )
            status = {"attached": True, "attachmentMetadata": dict(answer.publish_context)}
            await self._patch(_VA, made, {"status": status}, "status")

    async def _with_finalizer(self, kind: Kind, obj: Object, finalizer: str) -> bool:
        """Whether it was missing."""
        held, revision = obj["metadata"].get("finalizers") or [], obj["metadata"]["resourceVersion"]
        if finalizer in held:
            return False
        await self._patch(kind, obj, {"metadata": {"finalizers": [*held, finalizer], "resourceVersion": revision}})
        return True

    async def _without_finalizer(self, kind: Kind, obj: Object, finalizer: str) -> None:
        held = obj["metadata"].get("finalizers") or []
        if finalizer in held:
            kept = [each for each in held if each != finalizer]
            await self._patch(
                kind, obj, {"metadata": {"finalizers": kept, "resourceVersion": obj["metadata"]["resourceVersion"]}}
            )

    # --- external-resizer

    async def _resize(self, claim: Object) -> None:
        status = claim.get("status") or {}
        has, wanted = (status.get("capacity") or {}).get("storage") or "0", storage.requested(claim)
        if status.get("phase") != "Bound" or quantities.compare(wanted, has) <= 0 or status.get("allocatedResourceStatuses"):
            return
        volume = await self.verbs.get(_PV, "", claim["spec"]["volumeName"])
        if (volume["spec"].get("csi") or {}).get("driver") != self.driver:
            return
        answer = await self._ask(
            "Controller",
            "ControllerExpandVolume",
            volume_id=volume["spec"]["csi"]["volumeHandle"],
            capacity_range={"required_bytes": quantities.to_bytes(wanted)},
        )
        await self._patch(_PV, volume, {"spec": {"capacity": {"storage": wanted}}})
        if answer.node_expansion_required:
            condition = {"type": "FileSystemResizePending", "status": "True"}
            news: Object = {
                "conditions": [condition],
                "allocatedResources": {"storage": wanted},
                "allocatedResourceStatuses": {"storage": "NodeResizePending"},
            }
        else:
            news = {"capacity": {"storage": wanted}}
        await self._patch(_PVC, claim, {"status": news}, "status")
