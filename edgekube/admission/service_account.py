"""A pod gets a service account, and its token as a projected volume.

Enters: a pod about to be created and its service account.
Leaves: the pod, changed in place; or the StatusError that refuses.
Holds: pure but for the suffix that the caller draws (source: k8s.io/kubernetes plugin/pkg/admission/serviceaccount).
Next: registry.admit.
"""

from __future__ import annotations

from typing import Final

from edgekube.api import errors
from edgekube.api.objects import Object, annotations_of, name_of

DEFAULT_NAME: Final = "default"
MOUNT_PATH: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
#: One hour and seven seconds, upstream's marker for tokens that the API server may extend.
TOKEN_EXPIRATION_SECONDS: Final = 3607
_MIRROR: Final = "kubernetes.io/config.mirror"


def is_mirror(pod: Object) -> bool:
    """A mirror pod shows a node's static pod; it gets no account."""
    return _MIRROR in annotations_of(pod)


def name_account(pod: Object) -> str:
    """The account's name, written into the pod when it had none. The old field ``serviceAccount`` follows."""
    spec = pod.setdefault("spec", {})
    name: str = spec.get("serviceAccountName") or spec.get("serviceAccount") or DEFAULT_NAME
    spec["serviceAccountName"] = spec["serviceAccount"] = name
    return name


def account_missing(pod: Object, namespace: str, account: str) -> errors.StatusError:
    why = f'error looking up service account {namespace}/{account}: serviceaccount "{account}" not found'
    return errors.forbidden("", "pods", name_of(pod), why)


def _wants_token(pod: Object, account: Object) -> bool:
    chosen = pod["spec"].get("automountServiceAccountToken")
    if chosen is None:
        chosen = account.get("automountServiceAccountToken")
    return chosen is not False


def _token_volume(name: str) -> Object:
    return {
        "name": name,
        "projected": {
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": TOKEN_EXPIRATION_SECONDS, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {
                    "downwardAPI": {
                        "items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]
                    }
                },
            ],
            "defaultMode": 0o644,
        },
    }


def admit(pod: Object, account: Object, suffix: str) -> None:
    """Mount the token where nothing is mounted yet, and take over the account's pull secrets. ``suffix``: five characters."""
    spec = pod["spec"]
    if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
        spec["imagePullSecrets"] = [{"name": ref.get("name", "")} for ref in account["imagePullSecrets"]]
    if not _wants_token(pod, account):
        return
    volumes = spec.get("volumes") or []
    existing = next((v["name"] for v in volumes if str(v.get("name", "")).startswith("kube-api-access-")), None)
    volume_name = existing or f"kube-api-access-{suffix}"
    mounted = False
    for container in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
        mounts = container.get("volumeMounts") or []
        if any(mount.get("mountPath") == MOUNT_PATH for mount in mounts):
            continue
        container["volumeMounts"] = [*mounts, {"name": volume_name, "readOnly": True, "mountPath": MOUNT_PATH}]
        mounted = True
    if mounted and existing is None:
        spec["volumes"] = [*volumes, _token_volume(volume_name)]
