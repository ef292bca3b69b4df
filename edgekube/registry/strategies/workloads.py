"""Jobs make their own selector; DaemonSets count their templates; nodes bring their own status.

Enters: the new object and the stored one.
Leaves: the object to store, changed in place.
Holds: pure (source: k8s.io/kubernetes pkg/registry/batch/job, core/node, certificates/certificates).
Next: registry.create, registry.update.
"""

from __future__ import annotations

from typing import Final

from edgekube.api.defaults.apps import TEMPLATE_GENERATION
from edgekube.api.objects import Object, metadata_of
from edgekube.api.verbs import UserInfo
from edgekube.registry.strategies.base import Strategy

_INT64_DIGITS: Final = 19


class JobStrategy(Strategy):
    def prepare_for_create(self, obj: Object, user: UserInfo) -> None:
        super().prepare_for_create(obj, user)
        spec = obj.setdefault("spec", {})
        if spec.get("manualSelector") or not isinstance(spec.get("template"), dict):
            return
        metadata = metadata_of(obj)
        uid, name = str(metadata.get("uid") or ""), str(metadata.get("name") or "")
        labels: Object = metadata_of(spec["template"]).get("labels") or {}
        ours = {
            "batch.kubernetes.io/controller-uid": uid,
            "batch.kubernetes.io/job-name": name,
            "controller-uid": uid,
            "job-name": name,
        }
        if labels and metadata.get("labels") is labels:  # by its default the very same map: what goes into one is in both
            metadata["labels"] = {**ours, **labels}
        spec["template"]["metadata"]["labels"] = {**ours, **labels}
        selector = spec.get("selector") or {}
        chosen = {"batch.kubernetes.io/controller-uid": uid, **(selector.get("matchLabels") or {})}
        spec["selector"] = {**selector, "matchLabels": chosen}


class DaemonSetStrategy(Strategy):
    """The annotation stands for a field of older versions (spec.templateGeneration), which nobody sets but the server."""

    def prepare_for_create(self, obj: Object, user: UserInfo) -> None:
        super().prepare_for_create(obj, user)
        _annotate_generation(obj, max(1, _generation_in(obj)))

    def prepare_for_update(self, obj: Object, old: Object) -> None:
        super().prepare_for_update(obj, old)
        same = (obj.get("spec") or {}).get("template") == (old.get("spec") or {}).get("template")
        _annotate_generation(obj, _generation_in(old) + (0 if same else 1))

    def prepare_for_status_update(self, obj: Object, old: Object) -> None:
        super().prepare_for_status_update(obj, old)
        _annotate_generation(obj, _generation_in(old))


def _generation_in(obj: Object) -> int:
    text = (metadata_of(obj).get("annotations") or {}).get(TEMPLATE_GENERATION)
    return int(text) if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < _INT64_DIGITS else 0


def _annotate_generation(obj: Object, generation: int) -> None:
    """0: a DaemonSet of before the annotation was kept; its pods do not bear a number either."""
    metadata = metadata_of(obj)
    annotations = {key: text for key, text in (metadata.get("annotations") or {}).items() if key != TEMPLATE_GENERATION}
    if generation:
        annotations[TEMPLATE_GENERATION] = str(generation)
    if annotations or "annotations" in metadata:
        metadata["annotations"] = annotations


class NodeStrategy(Strategy):
    """A node's agent registers it with its status."""

    def prepare_for_create(self, obj: Object, user: UserInfo) -> None:
        status = obj.get("status")
        super().prepare_for_create(obj, user)
        if status is not None:
            obj["status"] = status


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
        status = {key: value for key, value in (old.get("status") or {}).items() if key != "conditions"}
        obj["status"] = {**status, "conditions": conditions} if conditions else status

    def stamp_times(self, obj: Object, old: Object, now: str) -> None:
        """Conditions get the times that they came without."""
        since = {
            (each.get("type"), each.get("status")): each.get("lastTransitionTime")
            for each in (old.get("status") or {}).get("conditions") or ()
        }
        for condition in (obj.get("status") or {}).get("conditions") or ():
            condition["lastUpdateTime"] = condition.get("lastUpdateTime") or now
            known = since.get((condition.get("type"), condition.get("status")))
            condition["lastTransitionTime"] = condition.get("lastTransitionTime") or known or now
