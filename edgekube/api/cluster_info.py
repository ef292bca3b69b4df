"""kube-public/cluster-info: how a machine that knows nothing but a bootstrap token finds and trusts the cluster.

Enters: where the server is, its authorities, the Secrets of bootstrap tokens, the time.
Leaves: the data of the ConfigMap: a kubeconfig without a user, and one signature of it for each token.
Holds: pure. A signature is a JWS with the content left out (RFC 7515, appendix F), its key the token's secret: who has the token
can tell that nobody else wrote the kubeconfig; who has not learns nothing of the token. Other keys stay as they are.
Source: kubernetes.io, "Authenticating with Bootstrap Tokens"; k8s.io/cluster-bootstrap token/jws.
Next: reconcile.cluster_info.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from typing import Final

from edgekube.api import bootstrap_tokens
from edgekube.api.objects import Object

NAMESPACE: Final = "kube-public"
NAME: Final = "cluster-info"
#: Where it is read without saying who asks.
PATH: Final = f"/api/v1/namespaces/{NAMESPACE}/configmaps/{NAME}"
KUBECONFIG: Final = "kubeconfig"
_SIGNATURE: Final = "jws-kubeconfig-"
#: Who may read it, named as kubeadm names it.
ROLE: Final = "kubeadm:bootstrap-signer-clusterinfo"


def kubeconfig(server: str, authorities: str) -> str:
    encoded = base64.b64encode(authorities.encode()).decode()
    return (
        "apiVersion: v1\nclusters:\n- cluster:\n"
        f"    certificate-authority-data: {encoded}\n    server: {server}\n"
        '  name: ""\ncontexts: null\ncurrent-context: ""\nkind: Config\npreferences: {}\nusers: null\n'
    )


def signature(content: str, token: bootstrap_tokens.Shown) -> str:
    header = _encoded(f'{{"alg":"HS256","kid":"{token.id}"}}'.encode())
    signed = f"{header}.{_encoded(content.encode())}".encode()
    return f"{header}..{_encoded(hmac.new(token.secret.encode(), signed, hashlib.sha256).digest())}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def wanted(data: Mapping[str, str], content: str, secrets: Iterable[Object], now: float) -> dict[str, str]:
    """The data as it should be."""
    kept = {key: value for key, value in data.items() if not key.startswith(_SIGNATURE)}
    tokens = [token for secret in secrets if (token := bootstrap_tokens.signs(secret, now)) is not None]
    return {**kept, KUBECONFIG: content, **{f"{_SIGNATURE}{token.id}": signature(content, token) for token in tokens}}


def reading_rights() -> tuple[Object, Object]:
    """A Role and its binding, by which everybody reads this one ConfigMap."""
    metadata: Object = {"name": ROLE, "namespace": NAMESPACE}
    rule = {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [NAME], "verbs": ["get"]}
    group = "rbac.authorization.k8s.io"
    subject = {"kind": "User", "name": "system:anonymous", "apiGroup": group}
    return (
        {"metadata": metadata, "rules": [rule]},
        {"metadata": metadata, "roleRef": {"apiGroup": group, "kind": "Role", "name": ROLE}, "subjects": [subject]},
    )
