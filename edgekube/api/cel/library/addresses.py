"""IP addresses and networks.

Enters: text, addresses, networks.
Leaves: addresses, networks, answers about them.
Holds: no zones, no IPv4 addresses written as IPv6, no leading zeros.
Source: Kubernetes' CEL IP and CIDR libraries.
Next: api.cel.environment.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Any, Final

from edgekube.api.cel.errors import EvaluationError, NoSuchOverload, no_such_overload

DECLARATIONS: Final = """
string_to_ip ip(string) -> net.IP
ip_family net.IP.family() -> int
ip_is_canonical ip.isCanonical(string) -> bool
ip_is_unspecified net.IP.isUnspecified() -> bool
ip_is_loopback net.IP.isLoopback() -> bool
ip_is_link_local_multicast net.IP.isLinkLocalMulticast() -> bool
ip_is_link_local_unicast net.IP.isLinkLocalUnicast() -> bool
ip_is_global_unicast net.IP.isGlobalUnicast() -> bool
is_ip isIP(string) -> bool
ip_to_string string(net.IP) -> string
string_to_cidr cidr(string) -> net.CIDR
cidr_contains_ip_string net.CIDR.containsIP(string) -> bool
cidr_contains_ip_ip net.CIDR.containsIP(net.IP) -> bool
cidr_contains_cidr_string net.CIDR.containsCIDR(string) -> bool
cidr_contains_cidr net.CIDR.containsCIDR(net.CIDR) -> bool
cidr_ip net.CIDR.ip() -> net.IP
cidr_prefix_length net.CIDR.prefixLength() -> int
cidr_masked net.CIDR.masked() -> net.CIDR
is_cidr isCIDR(string) -> bool
cidr_to_string string(net.CIDR) -> string
"""
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_BITS: Final = re.compile(r"0|[1-9][0-9]{0,2}", re.ASCII)


class IP:
    __slots__ = ("address",)
    type_name: Final = "net.IP"
    equality_cost_is_one: Final = True

    def __init__(self, address: _Address) -> None:
        self.address: Final = address

    @property
    def cost_size(self) -> int:
        return self.address.max_prefixlen // 8

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IP) and other.address == self.address

    def __hash__(self) -> int:
        return hash(self.address)

    def cel_text(self) -> str:
        return str(self.address)


class CIDR:
    __slots__ = ("address", "bits")
    type_name: Final = "net.CIDR"
    equality_cost_is_one: Final = True

    def __init__(self, address: _Address, bits: int) -> None:
        self.address: Final = address
        self.bits: Final = bits

    @property
    def cost_size(self) -> int:
        # What of the address counts: the bytes that the prefix reaches into.
        return -(-self.bits // 8)

    def network(self) -> int:
        shift = self.address.max_prefixlen - self.bits
        return int(self.address) >> shift << shift

    def contains(self, address: _Address) -> bool:
        shift = self.address.max_prefixlen - self.bits
        return address.version == self.address.version and int(address) >> shift == int(self.address) >> shift

    def masked(self) -> CIDR:
        return CIDR(type(self.address)(self.network()), self.bits)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CIDR) and (other.address, other.bits) == (self.address, self.bits)

    def __hash__(self) -> int:
        return hash((self.address, self.bits))

    def cel_text(self) -> str:
        return f"{self.address}/{self.bits}"


def _text(value: Any) -> str:
    if type(value) is not str:
        raise no_such_overload()
    return value


def _address(text: str) -> _Address:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        raise EvaluationError(
            f'IP Address "{text}" parse error during conversion from string: ParseAddr("{text}"): {_why_not(text)}'
        ) from None
    if "%" in text:
        raise EvaluationError(f'IP address "{text}" with zone value is not allowed')
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        raise EvaluationError(f'IPv4-mapped IPv6 address "{text}" is not allowed')
    return found


def _why_not(text: str) -> str:
    """What Go's netip says of a text that is no address."""
    parts = text.split(".")
    if ":" in text or len(parts) < 2:
        return "unable to parse IP"
    for part in parts:
        if part and not (part.isascii() and part.isdigit()):
            return "unexpected character"
        if not part:
            return "IPv4 field must have at least one digit"
        if len(part) > 1 and part[0] == "0":
            return "IPv4 field has octet with leading zero"
        if int(part[:4]) > 255:
            return "IPv4 field has value >255"
    return "IPv4 address too short" if len(parts) < 4 else "IPv4 address too long"


def _ip(value: Any) -> IP:
    if isinstance(value, CIDR):
        return IP(value.address)
    return IP(_address(_text(value)))


_NOT_A_NETWORK: Final = "network address parse error during conversion from string: "


def _to_cidr(value: Any) -> CIDR:
    """cidr(): upstream says twice what is wrong."""
    try:
        return _cidr(value)
    except NoSuchOverload:
        raise
    except EvaluationError as error:
        raise EvaluationError(f"{_NOT_A_NETWORK}{error}") from None


def _cidr(value: Any) -> CIDR:
    text = _text(value)
    address, slash, bits = text.rpartition("/")
    prefix = f'{_NOT_A_NETWORK}netip.ParsePrefix("{text}"): '
    if not slash:
        raise EvaluationError(prefix + "no '/'")
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        raise EvaluationError(f'{prefix}ParseAddr("{address}"): unable to parse IP') from None
    if "%" in address:
        raise EvaluationError(prefix + "IPv6 zones cannot be present in a prefix")
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        raise EvaluationError(f'IPv4-mapped IPv6 address "{text}" is not allowed')
    if _BITS.fullmatch(bits) is None:
        raise EvaluationError(f'{prefix}bad bits after slash: "{bits}"')
    if int(bits) > found.max_prefixlen:
        raise EvaluationError(prefix + "prefix length out of range")
    return CIDR(found, int(bits))


def _answers(parse: Callable[[Any], Any]) -> Callable[[Any], bool]:
    def function(value: Any) -> bool:
        try:
            parse(_text(value))
        except EvaluationError:
            if type(value) is not str:
                raise
            return False
        return True

    return function


def _is_canonical(value: Any) -> bool:
    return str(_address(_text(value))) == str(value)


def _of_ip(decide: Callable[[_Address], Any]) -> Callable[[Any], Any]:
    def function(value: Any) -> Any:
        if not isinstance(value, IP):
            raise no_such_overload()
        return decide(value.address)

    return function


def _of_cidr(decide: Callable[[CIDR], Any]) -> Callable[[Any], Any]:
    def function(value: Any) -> Any:
        if not isinstance(value, CIDR):
            raise no_such_overload()
        return decide(value)

    return function


def _contains_ip(value: Any, other: Any) -> bool:
    if not isinstance(value, CIDR):
        raise no_such_overload()
    return value.contains(other.address if isinstance(other, IP) else _address(_text(other)))


def _contains_cidr(value: Any, other: Any) -> bool:
    if not isinstance(value, CIDR):
        raise no_such_overload()
    inner = other if isinstance(other, CIDR) else _cidr(other)
    return inner.bits >= value.bits and value.contains(inner.address)


def _is_link_local_multicast(address: _Address) -> bool:
    if address.version == 4:
        return int(address) >> 8 == 0xE00000
    return (int(address) >> 112) & 0xFF0F == 0xFF02


def _is_global_unicast(address: _Address) -> bool:
    if address.version == 4 and int(address) in (0, 2**32 - 1):
        return False
    return not (address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local)


IMPLEMENTATIONS: Final[dict[str, Callable[..., Any]]] = {
    "ip": _ip,
    "family": _of_ip(lambda address: address.version),
    "ip.isCanonical": _is_canonical,
    "isUnspecified": _of_ip(lambda address: address.is_unspecified),
    "isLoopback": _of_ip(lambda address: address.is_loopback),
    "isLinkLocalMulticast": _of_ip(_is_link_local_multicast),
    "isLinkLocalUnicast": _of_ip(lambda address: address.is_link_local),
    "isGlobalUnicast": _of_ip(_is_global_unicast),
    "isIP": _answers(_address),
    "cidr": _to_cidr,
    "containsIP": _contains_ip,
    "containsCIDR": _contains_cidr,
    "prefixLength": _of_cidr(lambda value: value.bits),
    "masked": _of_cidr(lambda value: value.masked()),
    "isCIDR": _answers(_cidr),
}
