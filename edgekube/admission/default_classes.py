"""Claims and ingresses without a class get the cluster's default one.

Enters: the object about to be created and every class.
Leaves: the object, changed in place.
Holds: pure; the newest default wins, then the name (sources: k8s.io/kubernetes plugin/pkg/admission/storage/
storageclass/setdefault, plugin/pkg/admission/network/defaultingressclass).
Next: registry.admit.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from edgekube.api.objects import Object, annotations_of, name_of

_DEFAULT_STORAGE: Final = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
_DEFAULT_INGRESS: Final = ("ingressclass.kubernetes.io/is-default-class",)


def _default_of(classes: Iterable[Object], marks: tuple[str, ...]) -> str | None:
    chosen = [row for row in classes if any(annotations_of(row).get(mark) == "true" for mark in marks)]
    if not chosen:
        return None
    newest = max(str((row.get("metadata") or {}).get("creationTimestamp") or "") for row in chosen)
    return min(name_of(row) for row in chosen if str((row.get("metadata") or {}).get("creationTimestamp") or "") == newest)


def default_storage_class(classes: Iterable[Object]) -> str | None:
    return _default_of(classes, _DEFAULT_STORAGE)


def admit_claim(claim: Object, classes: Iterable[Object]) -> None:
    """``storageClassName: ""`` is a choice: no class."""
    spec = claim.setdefault("spec", {})
    if spec.get("storageClassName") is not None or "volume.beta.kubernetes.io/storage-class" in annotations_of(claim):
        return
    name = default_storage_class(classes)
    if name is not None:
        spec["storageClassName"] = name


def admit_ingress(ingress: Object, classes: Iterable[Object]) -> None:
    spec = ingress.setdefault("spec", {})
    if spec.get("ingressClassName") is not None or "kubernetes.io/ingress.class" in annotations_of(ingress):
        return
    name = _default_of(classes, _DEFAULT_INGRESS)
    if name is not None:
        spec["ingressClassName"] = name
