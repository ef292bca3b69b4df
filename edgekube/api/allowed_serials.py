"""Boards that may join without anybody's word, by the serial number that they say they have: one Secret of kube-system.

Enters: serial numbers as people type or scan them; the Secret.
Leaves: AllowedSerial values; the Secret that they are kept in.
Holds: pure. A serial number is no secret (it is printed on the board and sent on request), so each lets in one machine, once.
They are kept as a Secret all the same: the list is worth something to whoever wants to be first.
Bound: ALLOWED_SERIALS_MAX entries.
Next: server.allowed_serials uses them up; cli.node edits them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable
from typing import Any, Final

from msgspec import Struct

from edgekube import limits
from edgekube.api.objects import Object

NAMESPACE: Final = "kube-system"
NAME: Final = "allowed-serials"
TYPE: Final = "edgekube.io/allowed-serials"


class AllowedSerial(Struct, frozen=True):
    serial: str
    node_name: str = ""  # the only name that it may take; "": its own choice
    since: str = ""  # RFC 3339


def normal(serial: str) -> str:
    """Labels and device trees differ in case and padding."""
    return serial.strip().lower()


def key_of(serial: str) -> str:
    """Serial numbers may hold what a Secret's key may not."""
    return hashlib.sha256(normal(serial).encode()).hexdigest()[:32]


def from_secret(secret: Object) -> dict[str, AllowedSerial]:
    """Key to entry. What cannot be read allows nobody."""
    found = {}
    if secret.get("type") != TYPE:
        return {}
    for key, value in (secret.get("data") or {}).items():
        try:
            entry: Any = json.loads(base64.b64decode(str(value), validate=True))
            allowed = AllowedSerial(str(entry["serial"]), str(entry.get("node-name") or ""), str(entry.get("since") or ""))
        except (binascii.Error, ValueError, KeyError, TypeError, AttributeError):
            continue
        if normal(allowed.serial) and key == key_of(allowed.serial):
            found[key] = allowed
    return found


def as_secret(entries: Iterable[AllowedSerial], before: Object | None = None) -> Object:
    """``before``: the Secret that it replaces. ValueError when there are too many."""
    metadata: Object = before["metadata"] if before is not None else {"name": NAME, "namespace": NAMESPACE}
    data = {}
    for entry in entries:
        text = json.dumps({"serial": entry.serial.strip(), "node-name": entry.node_name, "since": entry.since})
        data[key_of(entry.serial)] = base64.b64encode(text.encode()).decode()
    if len(data) > limits.ALLOWED_SERIALS_MAX:
        raise ValueError(f"at most {limits.ALLOWED_SERIALS_MAX} serial numbers can be allowed at a time")
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": TYPE, "data": data}
