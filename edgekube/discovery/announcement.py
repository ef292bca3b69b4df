"""What one machine of a cluster says of itself on the LAN, as a value and as the text of an mDNS record.

Enters: instance name, TXT properties, addresses and port as they came from anybody on the network.
Leaves: an Announcement, or NotAnAnnouncement that says what is wrong with it.
Holds: pure; nothing secret is ever in it, and nothing in it is believed: it says where to knock, TLS says who opens.
Bound: every field has a largest size.
Next: discovery.seen keeps them; discovery.announce sends ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from ipaddress import IPv6Address, ip_address
from typing import Final, Literal, cast

from msgspec import Struct

from edgekube import limits

SERVICE_TYPE: Final = "_edgekube._tcp.local."

Role = Literal["server", "agent"]

_CLUSTER_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}")
_NODE_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
#: What may be printed on a terminal as it is: no control characters, no escape sequences.
_PLAIN: Final = re.compile(r"[!-~]([ -~]{0,61}[!-~])?")
_VERSION: Final = re.compile(r"[0-9A-Za-z.+-]{1,63}")
#: A DNS label.
_INSTANCE_CHARACTERS_MAX: Final = 63


class NotAnAnnouncement(ValueError):
    """Something under our service type that none of us sent."""


class Announcement(Struct, frozen=True):
    node: str
    role: Role
    cluster_id: str
    cluster_name: str
    #: SHA-256 of the authority's certificate (DER), lower-case hex.
    ca: str
    version: str
    #: Without a scope for global ones, "fe80::1%3" for link-local IPv6.
    addresses: tuple[str, ...]
    #: Of the API for a server, of the agent for an agent.
    port: int

    @property
    def cluster(self) -> tuple[str, str]:
        """Two that differ in either are two clusters: an id can be copied, an authority cannot."""
        return (self.cluster_id, self.ca)


def instance_name(announcement: Announcement) -> str:
    """One per node and cluster: the node's name and the beginning of the cluster's id, as one DNS label without dots."""
    suffix = f"-{announcement.cluster_id[:8]}"
    node = announcement.node.replace(".", "-")[: _INSTANCE_CHARACTERS_MAX - len(suffix)].rstrip("-")
    return node + suffix


def may_be_announced(name: str) -> bool:
    """Whether listeners will take this as a cluster's name."""
    return _PLAIN.fullmatch(name) is not None


def properties_of(announcement: Announcement) -> dict[str, str]:
    """The TXT record (RFC 6763 section 6)."""
    return {
        "id": announcement.cluster_id,
        "name": announcement.cluster_name,
        "node": announcement.node,
        "ca": announcement.ca,
        "role": announcement.role,
        "v": announcement.version,
    }


def parse(properties: Mapping[bytes, bytes | None], addresses: Sequence[str], port: int) -> Announcement:
    """Raises NotAnAnnouncement."""
    role = _field(properties, "role", re.compile("server|agent"))
    if not 1 <= port <= 65535:
        raise NotAnAnnouncement("no port")
    kept = tuple(dict.fromkeys(address for address in addresses if _reachable(address)))[: limits.ANNOUNCED_ADDRESSES_MAX]
    if not kept:
        raise NotAnAnnouncement("no address that could be reached")
    return Announcement(
        node=_field(properties, "node", _NODE_NAME),
        role=cast(Role, role),
        cluster_id=_field(properties, "id", _CLUSTER_ID),
        cluster_name=_field(properties, "name", _PLAIN),
        ca=_field(properties, "ca", _FINGERPRINT),
        version=_field(properties, "v", _VERSION),
        addresses=kept,
        port=port,
    )


def _field(properties: Mapping[bytes, bytes | None], key: str, form: re.Pattern[str]) -> str:
    value = properties.get(key.encode())
    if value is None:
        raise NotAnAnnouncement(f"no {key}")
    try:
        text = value.decode("ascii")
    except UnicodeDecodeError:
        raise NotAnAnnouncement(f"{key} is not text") from None
    if not form.fullmatch(text):
        raise NotAnAnnouncement(f"{key} is malformed")
    return text


def _reachable(address: str) -> bool:
    """Addresses of machines; a peer must not be able to send us to our own loopback or to a multicast group. A link-local
    IPv6 address without its interface leads nowhere."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address) and parsed.is_link_local and not parsed.scope_id:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return not any(
        known is not None and (known.is_loopback or known.is_multicast or known.is_unspecified) for known in (parsed, mapped)
    )
