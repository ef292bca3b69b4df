"""Cluster addresses and node ports of services: which are taken, and by whom.

Enters: the stored services at start; then services about to be written or just deleted.
Leaves: services with addresses and ports filled in, as a Claim that is kept or given back.
Holds: an address or port belongs to one service; a claim that is not kept leaves nothing behind. All of it happens in the
event loop between two awaits, so two requests never get the same address.
Next: registry.strategies.services.
"""

from __future__ import annotations

import random
from ipaddress import IPv4Address, IPv4Network, ip_address
from typing import Final

from edgekube.api.errors import Cause
from edgekube.api.objects import Object, uid_of

#: The uid of the service that holds an address or a port.
Owner = str
NO_ADDRESS: Final = ("", "None")


class Refused(Exception):
    """The address or port cannot be had."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause.message)
        self.cause = cause


class Claim:
    """What one write takes and gives up. ``keep`` after the write, ``give_back`` when it failed or was a dry run."""

    def __init__(self, allocator: ServiceAllocator, owner: Owner) -> None:
        self._allocator = allocator
        self._owner = owner
        self._addresses: list[str] = []
        self._ports: list[int] = []
        self._addresses_released: list[str] = []
        self._ports_released: list[int] = []

    def address(self, requested: str) -> str:
        """The requested address, or a free one for "". Raises Refused."""
        taken = self._allocator.take_address(requested, self._owner)
        self._addresses.append(taken)
        return taken

    def node_port(self, requested: int, field: str) -> int:
        """The requested port, or a free one for 0. A service may use one port for two protocols. Raises Refused."""
        if requested and requested in self._ports:
            return requested
        taken = self._allocator.take_port(requested, self._owner, field)
        self._ports.append(taken)
        return taken

    def release_address(self, address: str) -> None:
        self._addresses_released.append(address)

    def release_port(self, port: int) -> None:
        self._ports_released.append(port)

    def keep(self) -> None:
        for address in self._addresses_released:
            self._allocator.free_address(address, self._owner)
        for port in self._ports_released:
            self._allocator.free_port(port, self._owner)

    def give_back(self) -> None:
        for address in self._addresses:
            self._allocator.free_address(address, self._owner)
        for port in self._ports:
            self._allocator.free_port(port, self._owner)


class ServiceAllocator:
    def __init__(self, service_cidr: str, node_ports: tuple[int, int], draw: random.Random) -> None:
        """``node_ports`` is inclusive on both ends."""
        self.network = IPv4Network(service_cidr)
        self._first_port, self._last_port = node_ports
        self._draw = draw
        self._addresses: dict[str, Owner] = {}
        self._ports: dict[int, Owner] = {}

    def claim(self, service_uid: str) -> Claim:
        return Claim(self, service_uid)

    def adopt(self, service: Object) -> None:
        """A stored service keeps what it has; for the first of two holders, should the store ever say so."""
        owner = uid_of(service)
        for address in addresses_of(service):
            self._addresses.setdefault(address, owner)
        for port in node_ports_of(service):
            self._ports.setdefault(port, owner)

    def forget(self, service: Object) -> None:
        """A deleted service gives everything back."""
        owner = uid_of(service)
        for address in addresses_of(service):
            self.free_address(address, owner)
        for port in node_ports_of(service):
            self.free_port(port, owner)

    def take_address(self, requested: str, owner: Owner) -> str:
        if not requested:
            address = self._free_address()
        else:
            address = self._checked(requested)
        self._addresses[address] = owner
        return address

    def free_address(self, address: str, owner: Owner) -> None:
        if self._addresses.get(address) == owner:
            del self._addresses[address]

    def take_port(self, requested: int, owner: Owner, field: str) -> int:
        if requested:
            if not self._first_port <= requested <= self._last_port:
                range_ = f"{self._first_port}-{self._last_port}"
                raise Refused(_invalid(field, requested, f"provided port is not in the valid range. The range of valid ports is {range_}"))  # noqa: E501  # fmt: skip
            if requested in self._ports:
                raise Refused(_invalid(field, requested, "provided port is already allocated"))
            self._ports[requested] = owner
            return requested
        size = self._last_port - self._first_port + 1
        if len(self._ports) >= size:
            raise Refused(Cause("InternalError", "failed to allocate a nodePort: range is full", field))
        start = self._draw.randrange(size)
        candidates = (self._first_port + offset % size for offset in range(start, start + size))
        port = next(port for port in candidates if port not in self._ports)
        self._ports[port] = owner
        return port

    def free_port(self, port: int, owner: Owner) -> None:
        if self._ports.get(port) == owner:
            del self._ports[port]

    def _checked(self, requested: str) -> str:
        field = "spec.clusterIPs"
        try:
            address = ip_address(requested)
        except ValueError:
            raise Refused(_invalid(field, [requested], "must be a valid IP address")) from None
        if not isinstance(address, IPv4Address) or address not in self.network or not self._usable(int(address)):
            why = (
                f"failed to allocate IP {requested}: the provided IP ({requested}) is not in the valid range. "
                f"The range of valid IPs is {self.network}"
            )
            raise Refused(_invalid(field, [requested], why))
        if str(address) in self._addresses:
            why = f"failed to allocate IP {requested}: provided IP is already allocated"
            raise Refused(_invalid(field, [requested], why))
        return str(address)

    def _usable(self, address: int) -> bool:
        """Neither the network's address nor its broadcast address."""
        base = int(self.network.network_address)
        return base < address < base + self.network.num_addresses - 1

    def _free_address(self) -> str:
        """From the upper part of the range first: the lower one is for addresses that people choose
        (kubernetes.io, "Service ClusterIP allocation")."""
        base, size = int(self.network.network_address), self.network.num_addresses
        usable = size - 2
        reserved = min(max(16, size // 16), 256) if usable > 16 else 0
        for first, count in ((reserved + 1, usable - reserved), (1, reserved)):
            held = sum(1 for a in self._addresses if first <= int(IPv4Address(a)) - base < first + count)
            if count > held:
                return self._probe_address(base + first, count)
        raise Refused(Cause("InternalError", "failed to allocate a serviceIP: range is full", "spec.clusterIPs"))

    def _probe_address(self, first: int, count: int) -> str:
        """From a random start, the next one that is free. The caller knows that one is."""
        start = self._draw.randrange(count)
        candidates = (str(IPv4Address(first + offset % count)) for offset in range(start, start + count))
        return next(address for address in candidates if address not in self._addresses)


def _invalid(field: str, value: object, why: str) -> Cause:
    shown = str(value).replace("'", '"') if isinstance(value, list) else str(value)
    return Cause("FieldValueInvalid", f"Invalid value: {shown}: {why}", field)


def addresses_of(service: Object) -> list[str]:
    spec = service.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return []
    addresses = spec.get("clusterIPs") or [spec.get("clusterIP") or ""]
    return [address for address in addresses if address not in NO_ADDRESS]


def node_ports_of(service: Object) -> list[int]:
    spec = service.get("spec") or {}
    ports = [int(port["nodePort"]) for port in spec.get("ports") or [] if port.get("nodePort")]
    if spec.get("healthCheckNodePort"):
        ports.append(int(spec["healthCheckNodePort"]))
    return list(dict.fromkeys(ports))
