"""What the cluster keeps of a join token: a Secret that holds no secret.

Enters: Secrets of type edgekube.io/join-token, and the time.
Leaves: TokenRecord values and the Secrets they are stored as; why a token opens nothing any more.
Holds: pure. A use is counted per node key: a node that asks again because an answer was lost uses nothing up.
Next: server.joining spends them, cli.token makes them.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from edgekube.api import times
from edgekube.api.objects import Object, name_of

NAMESPACE: Final = "kube-system"
TYPE: Final = "edgekube.io/join-token"
TOKEN_ID: Final = "[a-z0-9]{6}"
_NAME_PREFIX: Final = "join-token-"
_UNLIMITED: Final = "unlimited"
_NAME: Final = re.compile(_NAME_PREFIX + f"({TOKEN_ID})")
#: One that may be used more often is given as unlimited, and lives by its expiry alone.
USES_MAX: Final = 1000


class TokenRecord(Struct, frozen=True):
    id: str
    salt: str
    hash: str
    expires_at: float | None  # seconds since the epoch; None: never
    uses_left: int | None  # None: any number
    description: str = ""
    #: Hashes of the node keys that have used it; kept only while uses are counted.
    used_by: tuple[str, ...] = ()

    def closed(self, now: float, public_key: str = "") -> str:
        """Why it does not admit the node of this key; "" when it does."""
        if self.expires_at is not None and now >= self.expires_at:
            return "expired"
        if self.uses_left is not None and self.uses_left <= 0 and public_key not in self.used_by:
            return "used up"
        return ""

    def spent_for(self, public_key: str) -> TokenRecord:
        """The record once the node of this key has joined with it."""
        if self.uses_left is None or public_key in self.used_by:
            return self
        return replace(self, uses_left=self.uses_left - 1, used_by=(*self.used_by, public_key))

    def uses(self) -> str:
        return _UNLIMITED if self.uses_left is None else str(self.uses_left)


def secret_name(token_id: str) -> str:
    return f"{_NAME_PREFIX}{token_id}"


def as_secret(record: TokenRecord, before: Object | None = None) -> Object:
    """The Secret of a record. ``before``: the one it replaces, if that has not changed since."""
    metadata: Object = {"name": secret_name(record.id), "namespace": NAMESPACE}
    if before is not None:
        metadata = before["metadata"]
    texts = {"salt": record.salt, "hash": record.hash, "uses-left": record.uses()}
    if record.expires_at is not None:
        texts["expiration"] = times.rfc3339(record.expires_at)
    if record.description:
        texts["description"] = record.description
    if record.used_by:
        texts["used-by"] = "\n".join(record.used_by)
    data = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": TYPE, "data": data}


def record_of(secret: Object) -> TokenRecord | None:
    """The record in a Secret; None for one that is no join token or was bent out of shape: such a one opens nothing."""
    match = _NAME.fullmatch(name_of(secret))
    if match is None or secret.get("type") != TYPE:
        return None
    try:
        data = {key: base64.b64decode(value, validate=True).decode() for key, value in (secret.get("data") or {}).items()}
        uses = data.get("uses-left", "0")
        expiration = data.get("expiration", "")
        return TokenRecord(
            id=match[1],
            salt=data["salt"],
            hash=data["hash"],
            expires_at=times.parse(expiration) if expiration else None,
            uses_left=None if uses == _UNLIMITED else int(uses),
            description=data.get("description", ""),
            used_by=tuple(data.get("used-by", "").split()),
        )
    except (KeyError, ValueError, binascii.Error):
        return None
