"""The continue token of a paginated list: where the next page starts, and at which revision.

Enters: the last key of a page and the list's revision; or a client's token.
Leaves: an opaque string; or key and revision.
Holds: a token of ours decodes to what made it; anything else is refused with 400.
Next: registry.list.
"""

from __future__ import annotations

import base64
import binascii
import re

import orjson

from edgekube.api import errors
from edgekube.api.kinds import Kind
from edgekube.store.protocol import Key

#: The revision of a token that may go on at whatever is current (upstream writes -1 as well).
INCONSISTENT = -1
_FOREIGN = re.compile(r"[^A-Za-z0-9_-]", re.ASCII)


def encode(after: Key, revision: int) -> str:
    token = {"v": "meta.k8s.io/v1", "rv": revision, "start": [after.namespace, after.name]}
    return base64.urlsafe_b64encode(orjson.dumps(token)).rstrip(b"=").decode()


def _first_fault(token: str) -> int:
    """The place of what cannot be base64, as upstream's decoder counts; -1: nothing."""
    foreign = _FOREIGN.search(token)
    if foreign is not None:
        return len(token[: foreign.start()].encode())
    return len(token) - 1 if len(token) % 4 == 1 else -1


def decode(token: str, kind: Kind) -> tuple[Key, int]:
    """The key to go on after, and the revision. StatusError BadRequest for a token that we did not make."""
    try:
        fault = _first_fault(token)
        if fault >= 0:
            raise ValueError(f"illegal base64 data at input byte {fault}")
        parsed = orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        if parsed["v"] != "meta.k8s.io/v1":
            raise ValueError("unknown version")
        revision = parsed["rv"]
        namespace, name = parsed["start"]
        if not (type(revision) is int and isinstance(namespace, str) and isinstance(name, str)):
            raise ValueError("wrong types")
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise errors.bad_request(f"invalid continue token: continue key is not valid: {error}") from None
    return Key(kind.resource, namespace, name), revision
