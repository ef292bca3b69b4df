"""Which key a node is known by: a Secret of kube-system for each node.

Enters: Secrets of type edgekube.io/node-identity.
Leaves: NodeIdentity values and the Secrets they are stored as.
Holds: pure; only the key's hash is kept, so the Secret gives nobody the node's powers.
Next: server.node_identities follows them; server.issuing writes them; cli.node removes and revokes.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

from msgspec import Struct

from edgekube.api.objects import Object, name_of

NAMESPACE: Final = "kube-system"
TYPE: Final = "edgekube.io/node-identity"
_SUFFIX: Final = ".node-identity"


class NodeIdentity(Struct, frozen=True):
    node_name: str
    public_key: str  # SHA-256 of the SubjectPublicKeyInfo, in hex
    method: str  # how it came in: server, token:ID, pairing, serial
    serial: str = ""  # of the board, as it said itself
    previous_public_key: str = ""  # while a key is being changed
    revoked: str = ""  # RFC 3339; "": it is not

    def has(self, public_key: str) -> bool:
        return bool(public_key) and public_key in (self.public_key, self.previous_public_key)


def secret_name(node_name: str) -> str:
    return f"{node_name}{_SUFFIX}"


_KEYS: Final = (
    ("public-key", "public_key"),
    ("method", "method"),
    ("serial", "serial"),
    ("previous-public-key", "previous_public_key"),
    ("revoked", "revoked"),
)


def as_secret(identity: NodeIdentity, before: Object | None = None) -> Object:
    """``before``: the Secret that it replaces, if that has not changed since."""
    metadata: Object = {"name": secret_name(identity.node_name), "namespace": NAMESPACE}
    if before is not None:
        metadata = before["metadata"]
    texts = {key: getattr(identity, field) for key, field in _KEYS}
    data = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items() if text}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": TYPE, "data": data}


def identity_of(secret: Object) -> NodeIdentity | None:
    """None for a Secret that is none. One whose data was bent has no key, and so admits nobody."""
    name = name_of(secret)
    if secret.get("type") != TYPE or not name.endswith(_SUFFIX):
        return None
    data = secret.get("data") or {}
    texts: dict[str, str] = {}
    for key, field in _KEYS:
        try:
            texts[field] = base64.b64decode(str(data.get(key) or ""), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            texts[field] = "unreadable" if key == "revoked" else ""
    return NodeIdentity(node_name=name.removesuffix(_SUFFIX), **texts)
