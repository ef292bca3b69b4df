"""Which servers a name is asked of: stub domains, servers that the cluster names, else the host's own resolvers.

Enters: the data of ConfigMap kube-system/kube-dns, resolv.conf(5), a name.
Leaves: addresses in the order in which to ask, or MalformedUpstreams that says which key is wrong.
Holds: pure but for reading the file. The longest stub domain wins; a server that leads back to us is never asked.
Source: kubernetes.io, "Customizing DNS Service" (stubDomains, upstreamNameservers), resolv.conf(5).
Next: network.dns.forwarder.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson
from msgspec import Struct, field

from edgekube import limits

STUB_DOMAINS: Final = "stubDomains"
UPSTREAM_NAMESERVERS: Final = "upstreamNameservers"
_PORT: Final = 53
_DOMAIN: Final = re.compile(r"[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?(\.[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?)*")


class MalformedUpstreams(Exception):
    """A setting that cannot be used; the text names the key and what would be right."""


class Server(NamedTuple):
    """``address`` may carry an interface, as fe80::1%eth0."""

    address: str
    port: int = _PORT


class Upstreams(Struct, frozen=True):
    #: Domain -> servers; names in it and below are asked of these and nobody else.
    stub_domains: Mapping[str, tuple[Server, ...]] = field(default_factory=dict)
    #: Everything else; () leaves it to the host's resolvers.
    nameservers: tuple[Server, ...] = ()


NO_UPSTREAMS: Final = Upstreams()


def parse_upstreams(data: Mapping[str, str], avoid: Sequence[str] = ()) -> Upstreams:
    """``data`` of the ConfigMap; keys that are not ours are left alone. Raises MalformedUpstreams."""
    stub_domains = {}
    for domain, servers in _json(data, STUB_DOMAINS, dict).items():
        name = domain.rstrip(".").lower()
        if len(name) > 253 or not _DOMAIN.fullmatch(name):
            raise MalformedUpstreams(f"{STUB_DOMAINS}: {domain!r} is not a domain name")
        stub_domains[name] = _servers(servers, f"{STUB_DOMAINS}: {domain}", avoid)
    if len(stub_domains) > limits.DNS_STUB_DOMAINS_MAX:
        raise MalformedUpstreams(f"{STUB_DOMAINS}: at most {limits.DNS_STUB_DOMAINS_MAX} domains")
    listed = _json(data, UPSTREAM_NAMESERVERS, list)
    return Upstreams(stub_domains, _servers(listed, UPSTREAM_NAMESERVERS, avoid) if listed else ())


def _json(data: Mapping[str, str], key: str, shape: type) -> Any:
    text = data.get(key, "").strip()
    if not text:
        return shape()
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise MalformedUpstreams(f"{key} is not JSON: {error}") from None
    if not isinstance(value, shape):
        raise MalformedUpstreams(f"{key}: give {'an object of lists' if shape is dict else 'a list'} of addresses")
    return value


def _servers(value: object, where: str, avoid: Sequence[str]) -> tuple[Server, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= limits.DNS_SERVERS_MAX:
        raise MalformedUpstreams(f"{where}: give one to {limits.DNS_SERVERS_MAX} addresses, as 192.0.2.53 or 192.0.2.53:5353")
    found = tuple(dict.fromkeys(_server(each, where) for each in value))
    for server in found:
        if server.address in avoid:
            raise MalformedUpstreams(f"{where}: {server.address} is the cluster's own DNS, which would ask itself")
    return found


def _server(value: object, where: str) -> Server:
    text = str(value)
    host, port = text, str(_PORT)
    if bracketed := re.fullmatch(r"\[([^]]+)\](?::(\d+))?", text):
        host, port = bracketed[1], bracketed[2] or port
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    try:
        address = str(ip_address(host))
        if not 1 <= int(port) <= 65535:
            raise ValueError
    except ValueError:
        raise MalformedUpstreams(
            f"{where}: {text!r} is no address; give 192.0.2.53, 192.0.2.53:5353 or [2001:db8::53]:5353"
        ) from None
    return Server(address, int(port))


def nameservers(text: str, avoid: Sequence[str]) -> list[str]:
    """The addresses of resolv.conf(5), first three, without those that lead back to us."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver" and words[1] not in avoid:
            found.append(words[1])
    return found[: limits.DNS_SERVERS_MAX]


class HostResolvers:
    """The host's resolvers, read again when the file changes (DHCP rewrites it)."""

    def __init__(self, path: Path, avoid: Sequence[str]) -> None:
        self._path = path
        self._avoid = avoid
        self._stamp: tuple[int, int] | None = None
        self._servers: tuple[Server, ...] = ()

    def servers(self) -> tuple[Server, ...]:
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_ino)
            if stamp != self._stamp:
                text = self._path.read_text(errors="replace")
                self._servers = tuple(Server(address) for address in nameservers(text, self._avoid))
                self._stamp = stamp
        except OSError:
            self._stamp, self._servers = None, ()
        return self._servers


class Choice:
    """Servers for a name; ``upstreams`` may be replaced while questions run."""

    def __init__(self, host: Callable[[], Sequence[Server]], upstreams: Upstreams = NO_UPSTREAMS) -> None:
        self._host = host
        self.upstreams = upstreams

    def servers(self, name: str) -> Sequence[Server]:
        """``name`` in lower case without the final dot."""
        if self.upstreams.stub_domains:
            labels = name.split(".")
            for skip in range(len(labels)):
                found = self.upstreams.stub_domains.get(".".join(labels[skip:]))
                if found is not None:
                    return found
        return self.upstreams.nameservers or self._host()
