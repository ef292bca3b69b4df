"""Formats of strings that Kubernetes checks in custom resources.

Enters: the name of a format, and a text.
Leaves: whether the text is of it.
Holds: names are compared without dashes; what Kubernetes does not know is no format at all. Time grows with the text.
Source: kubernetes.io, "CustomResourceDefinitions" (formats); k8s.io/kube-openapi pkg/validation/strfmt.
Next: api.custom.checking.
"""

from __future__ import annotations

import binascii
import functools
import ipaddress
import re
from collections.abc import Callable, Sequence
from datetime import date
from typing import Final
from urllib.parse import urlsplit

from edgekube.api import names


def _pattern(text: str, flags: int = 0) -> Callable[[str], bool]:
    return lambda value: _compiled(text, flags).fullmatch(value) is not None


@functools.cache
def _compiled(text: str, flags: int) -> re.Pattern[str]:
    """At the first use: all of them take longer to compile than any other module's, and a start has none to match."""
    return re.compile(text, re.ASCII | flags)


def _ipv4(value: str) -> bool:
    try:
        return "." in value and ipaddress.ip_address(value).version == 4
    except ValueError:
        return False


def _ipv6(value: str) -> bool:
    try:
        return ":" in value and "%" not in value and ipaddress.ip_address(value).version == 6
    except ValueError:
        return False


def _cidr(value: str) -> bool:
    if "/" not in value or "%" in value or not value.rpartition("/")[2].isdecimal():
        return False
    try:
        ipaddress.ip_interface(value)
    except ValueError:
        return False
    return True


_CONTROL: Final = re.compile(r"[\x00-\x20\x7f]")


def _uri(value: str) -> bool:
    """What an HTTP request line may name: an absolute URL, or a path."""
    if not value or _CONTROL.search(value):
        return False
    try:
        split = urlsplit(value)
        _ = split.port
    except ValueError:
        return False
    return bool(split.scheme) or value.startswith("/") or value == "*"


_LOCAL_PART: Final = _pattern(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")


def _email(value: str) -> bool:
    """One address, with or without a name before it."""
    if value.endswith(">") and "<" in value:
        value = value[value.rindex("<") + 1 : -1]
    local, at, domain = value.strip().rpartition("@")
    if not at or not domain or any(c in ' \t"<>()[]:;,@\\' for c in domain):
        return False
    quoted = len(local) > 2 and local[0] == local[-1] == '"' and '"' not in local[1:-1]
    return quoted or _LOCAL_PART(local) or (not local.isascii() and bool(local))


_HOST_LABEL: Final = _pattern(
    r"[a-zA-Z0-9\u0080-\U0010ffff](?:[a-zA-Z0-9\u0080-\U0010ffff_-]{0,61}[a-zA-Z0-9\u0080-\U0010ffff])?"
)


def _hostname(value: str) -> bool:
    if len(value) > 255:
        return False
    labels = value.removesuffix(".").split(".")
    return all(_HOST_LABEL(label) for label in labels) and not labels[-1].isdecimal()


_MAC: Final = _pattern(
    r"(?:[0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}|(?:[0-9a-fA-F]{2}[:-]){7}[0-9a-fA-F]{2}|(?:[0-9a-fA-F]{2}[:-]){19}[0-9a-fA-F]{2}"
    r"|(?:[0-9a-fA-F]{4}\.){2}[0-9a-fA-F]{4}|(?:[0-9a-fA-F]{4}\.){3}[0-9a-fA-F]{4}|(?:[0-9a-fA-F]{4}\.){9}[0-9a-fA-F]{4}"
)


def _luhn(value: str) -> bool:
    digits = re.sub(r"[^0-9]", "", value)
    if not _CARD(digits):
        return False
    total = 0
    for index, digit in enumerate(reversed(digits)):
        number = int(digit) * (2 if index % 2 else 1)
        total += number - 9 if number > 9 else number
    return total % 10 == 0


_CARD: Final = _pattern(
    r"4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|6(?:011|5[0-9][0-9])[0-9]{12}|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}"
    r"|(?:2131|1800|35\d{3})\d{11}"
)


def _isbn10(value: str) -> bool:
    digits = re.sub(r"[\s-]+", "", value)
    if not re.fullmatch(r"[0-9]{9}[0-9X]", digits, re.ASCII):
        return False
    total = sum((index + 1) * (10 if digit == "X" else int(digit)) for index, digit in enumerate(digits))
    return total % 11 == 0


def _isbn13(value: str) -> bool:
    digits = re.sub(r"[\s-]+", "", value)
    if not re.fullmatch(r"[0-9]{13}", digits, re.ASCII):
        return False
    return sum(int(digit) * (3 if index % 2 else 1) for index, digit in enumerate(digits)) % 10 == 0


def _byte(value: str) -> bool:
    if not value:
        return False
    try:
        binascii.a2b_base64(value, strict_mode=True)
    except (binascii.Error, ValueError):
        return False
    return len(value) % 4 == 0


def _date(value: str) -> bool:
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return len(value) == 10


_DATETIME: Final = _pattern(
    r"(\d{4}-\d{2}-\d{2})[tT ]([01]?\d|2[0-3]):([0-5]?\d):([0-5]?\d)(?:\.\d+)?(?:[zZ]|[+-](?:[01]\d|2[0-3]):?[0-5]\d)"
)


def _datetime(value: str) -> bool:
    return _DATETIME(value) and _date(value[:10])


_GO_DURATION: Final = _pattern(r"[+-]?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|\u00b5s|\u03bcs|ms|s|m|h))+|[+-]?0")
_SCALA_UNITS: Final = (
    "ns|nano|nanos|nanosecond|nanoseconds|us|\u00b5s|micro|micros|microsecond|microseconds|ms|milli|millis|millisecond|"
    "milliseconds|s|sec|secs|second|seconds|m|min|mins|minute|minutes|h|hr|hour|hours|d|day|days|w|wk|week|weeks"
)
_SCALA_DURATION: Final = _pattern(rf"\s*(?:\d+\s*(?:{_SCALA_UNITS})\s*)+")


def _duration(value: str) -> bool:
    return _GO_DURATION(value) or _SCALA_DURATION(value)


_CHECKS: Final[dict[str, Callable[[str], bool]]] = {
    "bsonobjectid": _pattern(r"[0-9a-fA-F]{24}"),
    "uri": _uri,
    "email": _email,
    "hostname": _hostname,
    "ipv4": _ipv4,
    "ipv6": _ipv6,
    "cidr": _cidr,
    "mac": _MAC,
    "uuid": _pattern(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.IGNORECASE),
    "uuid3": _pattern(r"[0-9a-f]{8}-?[0-9a-f]{4}-?3[0-9a-f]{3}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.IGNORECASE),
    "uuid4": _pattern(r"[0-9a-f]{8}-?[0-9a-f]{4}-?4[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}", re.IGNORECASE),
    "uuid5": _pattern(r"[0-9a-f]{8}-?[0-9a-f]{4}-?5[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}", re.IGNORECASE),
    "isbn": lambda value: _isbn10(value) or _isbn13(value),
    "isbn10": _isbn10,
    "isbn13": _isbn13,
    "creditcard": _luhn,
    "ssn": _pattern(r"\d{3}[- ]?\d{2}[- ]?\d{4}"),
    "hexcolor": _pattern(r"#?(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})"),
    "rgbcolor": _pattern(r"rgb\(\s*(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\s*,\s*){2}(?:25[0-5]|2[0-4]\d|1?\d?\d)\s*\)"),
    "byte": _byte,
    "password": lambda value: True,
    "date": _date,
    "duration": _duration,
    "datetime": _datetime,
    "k8sshortname": lambda value: not names.dns1123_label(value),
    "k8slongname": lambda value: not names.dns1123_subdomain(value),
}


def is_supported(types: Sequence[str], name: str) -> bool:
    """Whether Kubernetes looks at the format; ``types`` as the schema has them, one or none."""
    kind = types[0] if len(types) == 1 else ""
    if kind in ("", "string"):
        return name.replace("-", "") in _CHECKS
    if kind == "integer":
        return name in ("int32", "int64")
    return kind == "number" and name in ("float", "double")


def is_of(name: str, value: str) -> bool:
    check = _CHECKS.get(name.replace("-", ""))
    return check is None or check(value)
