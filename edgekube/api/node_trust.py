"""What a node says of its certificate and of whom it trusts, and what that means for a change of the authority.

Enters: Nodes with three annotations that their agents write; fingerprints of authorities.
Leaves: NodeTrust values; what stands against the next step, in words.
Holds: pure. A node speaks for itself only: one that lies is locked out when the old authority is dropped, nobody else is.
Next: daemon.renewal writes them, server.certificates decides by them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from edgekube.api.objects import Object, metadata_of, name_of

TRUSTS: Final = "edgekube.io/trusted-authorities"
HOLDS: Final = "edgekube.io/certificate-authority"
EXPIRES: Final = "edgekube.io/certificate-expires"
#: So much of a fingerprint tells two authorities apart; all of it would be a wall of digits in kubectl describe.
_CHARACTERS: Final = 16


class NodeTrust(Struct, frozen=True):
    name: str
    ready: bool
    trusts: frozenset[str]  # fingerprints, shortened
    authority: str  # that signed what it holds; "": it has not said so
    expires: str  # RFC 3339


def short(fingerprint: str) -> str:
    return fingerprint[:_CHARACTERS]


def annotations_for(trusted: Iterable[str], authority: str, expires: str) -> dict[str, str]:
    """What a node is to say. The arguments are fingerprints, and a time as RFC 3339."""
    return {TRUSTS: ",".join(short(each) for each in trusted), HOLDS: short(authority), EXPIRES: expires}


def trust_of(node: Object) -> NodeTrust:
    told = metadata_of(node).get("annotations") or {}
    conditions = (node.get("status") or {}).get("conditions") or ()
    ready = any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)
    trusts = frozenset(str(told.get(TRUSTS) or "").split(",")) - {""}
    return NodeTrust(name_of(node), ready, trusts, str(told.get(HOLDS) or ""), str(told.get(EXPIRES) or ""))


def not_trusting(nodes: Iterable[NodeTrust], new: str) -> list[str]:
    """Names of those that are there and would refuse what the new authority signs. A node that is away learns of it from the
    server, which shows itself under the old authority until the end."""
    return sorted(node.name for node in nodes if node.ready and short(new) not in node.trusts)


def holding_old(nodes: Iterable[NodeTrust], new: str) -> list[str]:
    """Names of those that would be locked out if only the new authority were trusted. Being away is no excuse."""
    return sorted(node.name for node in nodes if node.authority != short(new) or short(new) not in node.trusts)


def against_finishing(names: Sequence[str]) -> str:
    return (
        f"these nodes still hold certificates of the old authority, or have not said that they trust the new one: "
        f"{', '.join(names)}. Wait until they have been here; or drop it all the same with --force, and let them join anew"
    )
