"""Jobs make their own selector; nodes bring their own status; claims and volumes start pending.

Enters: the new object and the stored one.
Leaves: the object to store, changed in place.
Holds: pure (source: k8s.io/kubernetes pkg/registry/batch/job, core/node, core/persistentvolume{,claim},
certificates/certificates).
Next: registry.create, registry.update.
"""

from __future__ import annotations

from edgekube.api.objects import Object, metadata_of
from edgekube.api.verbs import UserInfo
from edgekube.registry.strategies.base import Strategy


class JobStrategy(Strategy):
    def prepare_for_create(self, obj: Object, user: UserInfo) -> None:
        super().prepare_for_create(obj, user)
        spec = obj.setdefault("spec", {})
        if spec.get("manualSelector") or not isinstance(spec.get("template"), dict):
            return
        metadata = metadata_of(obj)
        uid, name = str(metadata.get("uid") or ""), str(metadata.get("name") or "")
        labels = metadata_of(spec["template"]).get("labels") or {}
        ours = {
            "batch.kubernetes.io/controller-uid": uid,
            "batch.kubernetes.io/job-name": name,
            "controller-uid": uid,
            "job-name": name,
        }
        spec["template"]["metadata"]["labels"] = {**labels, **ours}
        if not spec.get("selector"):
            spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}


class NodeStrategy(Strategy):
    """A node's agent registers it with its status."""

    def prepare_for_create(self, obj: Object, user: UserInfo) -> None:
        status = obj.get("status")
        super().prepare_for_create(obj, user)
        if status is not None:
            obj["status"] = status


class PendingStrategy(Strategy):
    """PersistentVolumeClaim and PersistentVolume."""

    def first_status(self, obj: Object) -> Object:
        return {"phase": "Pending"}


class SigningRequestStrategy(Strategy):
    """Who asks for a certificate is who sent the request; conditions come by /approval only."""

    def prepare_for_create(self, obj: Object, user: UserInfo) -> None:
        super().prepare_for_create(obj, user)
        spec = obj.setdefault("spec", {})
        spec["username"] = user.name
        spec["groups"] = list(user.groups)
        for key, value in (("uid", user.uid), ("extra", {key: list(values) for key, values in user.extra.items()})):
            if value:
                spec[key] = value
            else:
                spec.pop(key, None)

    def prepare_for_update(self, obj: Object, old: Object) -> None:
        super().prepare_for_update(obj, old)
        obj["spec"] = old.get("spec") or {}

    def prepare_for_approval(self, obj: Object, old: Object) -> None:
        """Only the conditions come through."""
        conditions = (obj.get("status") or {}).get("conditions")
        self.prepare_for_status_update(obj, old)
        status = dict(old.get("status") or {})
        if conditions is not None:
            status["conditions"] = conditions
        obj["status"] = status
