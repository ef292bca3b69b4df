"""Which secrets a pod may use: those that its service account lists, where the account says so; none for a mirror pod.

Enters: a pod and its service account.
Leaves: what is not allowed, as text; "" when everything is.
Holds: pure. The annotation that asks for it is deprecated upstream, and honoured there and here.
Source: k8s.io/kubernetes plugin/pkg/admission/serviceaccount (limitSecretReferences).
Next: registry.accounts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from edgekube.api.objects import Object, annotations_of, name_of

_ANNOTATION: Final = "kubernetes.io/enforce-mountable-secrets"
#: strconv.ParseBool
_TRUE: Final = ("1", "t", "T", "TRUE", "true", "True")
_GROUPS: Final = (("initContainers", "init container"), ("containers", "container"))
_EPHEMERAL: Final = (("ephemeralContainers", "ephemeral container"),)


def is_limited(account: Object) -> bool:
    return annotations_of(account).get(_ANNOTATION) in _TRUE


def objection(pod: Object, account: Object, *, ephemeral: bool = False) -> str:
    """``ephemeral``: only containers that were added for debugging are looked at."""
    return next(_objections(pod, account, ephemeral), "")


def _objections(pod: Object, account: Object, ephemeral: bool) -> Iterator[str]:
    spec, who = pod.get("spec") or {}, name_of(account)
    secrets = {str(each.get("name") or "") for each in account.get("secrets") or ()}
    if not ephemeral:
        for volume in spec.get("volumes") or ():
            named = (volume.get("secret") or {}).get("secretName")
            if volume.get("secret") is not None and named not in secrets:
                yield (
                    f'volume with secret.secretName="{named or ""}" is not allowed because service account {who} does not '
                    "reference that secret"
                )
    for group, noun in _EPHEMERAL if ephemeral else _GROUPS:
        for container in spec.get(group) or ():
            for how, named in _named(container, secrets):
                yield (
                    f'{noun} {container.get("name") or ""} with {how} referencing secret.secretName="{named}" is not allowed '
                    f"because service account {who} does not reference that secret"
                )
    if not ephemeral:
        pulling = {str(each.get("name") or "") for each in account.get("imagePullSecrets") or ()}
        for number, each in enumerate(spec.get("imagePullSecrets") or ()):
            if each.get("name") not in pulling:
                yield (
                    f'imagePullSecrets[{number}].name="{each.get("name") or ""}" is not allowed because service account {who} '
                    "does not reference that imagePullSecret"
                )


def _named(container: Object, allowed: Collection[str]) -> Iterator[tuple[str, str]]:
    for variable in container.get("env") or ():
        reference = (variable.get("valueFrom") or {}).get("secretKeyRef")
        if reference is not None and reference.get("name") not in allowed:
            yield f"envVar {variable.get('name') or ''}", str(reference.get("name") or "")
    for source in container.get("envFrom") or ():
        reference = source.get("secretRef")
        if reference is not None and reference.get("name") not in allowed:
            yield "envFrom", str(reference.get("name") or "")


def objection_to_mirror(pod: Object, named: Collection[str]) -> str:
    """``named``: the secrets that the pod names anywhere (admission.node_graph knows)."""
    spec = pod.get("spec") or {}
    if spec.get("serviceAccountName"):
        return "a mirror pod may not reference service accounts"
    if named:
        return "a mirror pod may not reference secrets"
    for volume in spec.get("volumes") or ():
        sources = (volume.get("projected") or {}).get("sources") or ()
        if any(source.get("serviceAccountToken") is not None for source in sources):
            return "a mirror pod may not use ServiceAccountToken volume projections"
    return ""
