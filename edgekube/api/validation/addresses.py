"""IP addresses and CIDRs in objects: what may be written, and what is worth a word although it may.

Enters: text from objects; what the stored object has in the same place, which may stay as it is.
Leaves: causes appended to ``out``; texts of warnings.
Holds: leading zeros (octal to some), IPv4 inside IPv6 and bits below the prefix are refused in what is new. Fields of old may
write IPv6 in any form; newer ones have it canonical.
Source: apimachinery util/validation (ip.go), with StrictIPCIDRValidation as v1.36 has it; core/validation ValidateEndpointIP.
Next: api.validation, api.warnings.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from typing import Any, Final, TypeAlias

from edgekube.api.validation import causes
from edgekube.api.validation.fields import Out, parse_cidr, parse_ip

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_ZERO: Final = re.compile(r"(?:^|[.:/])0+(?=[0-9])")
_DOTTED: Final = re.compile(r"\d{1,6}(?:\.\d{1,6}){3}", re.ASCII)
_NO_IP: Final = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
_NO_CIDR: Final = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
#: registry.checks excuses the control plane from this: on a switch without DHCP its nodes have no other addresses.
IN_LINK_LOCAL: Final = "may not be in the link-local range (169.254.0.0/16, fe80::/10)"


def _without_zeros(value: str) -> str:
    """``010.0.0.1`` as readers took it that do not know of octal."""
    return _ZERO.sub(lambda match: match[0].rstrip("0"), value)


def _is_mapped(address: _Address | None) -> bool:
    return isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None


def _shown(address: _Address) -> str:
    """As Go prints it: an address of IPv4 inside IPv6 is one of IPv4."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def check_ip(out: Out, value: str, field: str, known: Collection[str] = ()) -> bool:
    """In a field of old. What is ``known`` is in the stored object, and good."""
    if value in known:
        return True
    address = parse_ip(value)
    problem = ""
    if address is None:
        zeros = _DOTTED.fullmatch(value) is not None and parse_ip(_without_zeros(value)) is not None
        problem = "must not have leading 0s" if zeros else _NO_IP
    elif _is_mapped(address):
        problem = "must not be an IPv4-mapped IPv6 address"
    if problem:
        out.append(causes.invalid(field, value, problem))
    return not problem


def check_canonical_ip(out: Out, value: str, field: str) -> bool:
    if not check_ip(out, value, field):
        return False
    canonical = str(parse_ip(value))
    if value != canonical:
        out.append(causes.invalid(field, value, f"must be in canonical form ({causes.quoted(canonical)})"))
    return value == canonical


def _problem_of_cidr(value: str) -> str:
    network = parse_cidr(value)
    ip, _, prefix = value.partition("/")
    has_zeros = _ZERO.search(prefix) is not None or (_DOTTED.fullmatch(ip) is not None and _ZERO.search(ip) is not None)
    if network is None:
        return "must not have leading 0s in IP or prefix length" if has_zeros and parse_cidr(_without_zeros(value)) else _NO_CIDR
    if has_zeros:
        return "must not have leading 0s in IP or prefix length"
    address = parse_ip(ip)
    if _is_mapped(address):
        return "must not have an IPv4-mapped IPv6 address"
    return "" if address == network.network_address else "must not have bits set beyond the prefix length"


def check_cidr(out: Out, value: str, field: str, known: Collection[str] = ()) -> bool:
    """In a field of old, as check_ip()."""
    problem = "" if value in known else _problem_of_cidr(value)
    if problem:
        out.append(causes.invalid(field, value, problem))
    return not problem


def check_canonical_cidr(out: Out, value: str, field: str) -> None:
    if check_cidr(out, value, field) and value != str(parse_cidr(value)):
        canonical = causes.quoted(str(parse_cidr(value)))
        out.append(causes.invalid(field, value, f"must be in canonical form ({canonical})"))


def sloppy_cidr(value: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """Also of one that is refused for how it is written."""
    return parse_cidr(value) or parse_cidr(_without_zeros(value))


def check_not_special_ip(out: Out, value: str, field: str) -> None:
    """Addresses that mean nothing beyond one node: unspecified, loopback, link-local."""
    address = parse_ip(value) or parse_ip(_without_zeros(value))
    if address is None:
        out.append(causes.invalid(field, value, "must be a valid IP address"))
        return
    if address.is_unspecified:
        out.append(causes.invalid(field, value, f"may not be unspecified ({value})"))
    if address.is_loopback:
        out.append(causes.invalid(field, value, "may not be in the loopback range (127.0.0.0/8, ::1/128)"))
    if address.is_link_local:
        out.append(causes.invalid(field, value, IN_LINK_LOCAL))
    if address in _LINK_LOCAL_MULTICAST[address.version]:
        out.append(causes.invalid(field, value, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"))


_LINK_LOCAL_MULTICAST: Final[dict[int, Any]] = {
    4: ipaddress.ip_network("224.0.0.0/24"),
    6: ipaddress.ip_network("ff02::/16"),
}


# --- warnings ----------------------------------------------------------------------------------------------------------


def ip_warnings(value: str, field: str) -> list[str]:
    """Of an address that is good, or was once."""
    address = parse_ip(value)
    sloppy = address or parse_ip(_without_zeros(value))
    if sloppy is None:
        return []
    if address is None or _is_mapped(address):
        use = causes.quoted(_shown(sloppy))
        return [f"{field}: non-standard IP address {causes.quoted(value)} is invalid: use {use}"]
    if address.version == 6 and str(address) != value:
        form = f"({causes.quoted(str(address))})"
        return [f"{field}: IPv6 address {causes.quoted(value)} should be in RFC 5952 canonical format {form}"]
    return []


def cidr_warnings(value: str, field: str) -> list[str]:
    network = sloppy_cidr(value)
    if network is None:
        return []
    found, quoted, problem = [], causes.quoted(value), _problem_of_cidr(value)
    address = parse_ip(_without_zeros(value.partition("/")[0]))
    if address is not None and address != network.network_address:
        alone = f"{_shown(address)}/{network.max_prefixlen}"
        likely = f"{causes.quoted(str(network))} or {causes.quoted(alone)}"
        found.append(f"{field}: CIDR value {quoted} is ambiguous in this context (should be {likely}?)")
    if "leading 0s" in problem or _is_mapped(address):
        found.append(f"{field}: non-standard CIDR value {quoted} is invalid: use {causes.quoted(str(network))}")
    if not found and network.version == 6 and str(network) != value:
        form = f"({causes.quoted(str(network))})"
        found.append(f"{field}: IPv6 CIDR value {quoted} should be in RFC 5952 canonical format {form}")
    return found
