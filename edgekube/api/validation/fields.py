"""Reading fields and the checks that many fields share.

Enters: decoded objects whose types the strict decoder has checked; parts may be missing or null.
Leaves: parts that can be walked without asking, and causes appended to ``out``.
Holds: nothing here raises on a missing part; a null reads as missing, as in Go.
Source: apimachinery api/validation, util/validation; core/validation (ValidateNonnegativeField and its like).
Next: every file of this package.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Hashable, Iterable
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final, TypeAlias

from edgekube import limits
from edgekube.api import names
from edgekube.api.errors import Cause
from edgekube.api.objects import Object
from edgekube.api.validation import causes
from edgekube.api.validation.inner import Inner, inner

Out: TypeAlias = list[Cause]

_NOTHING: Final[Object] = {}
_NO_ITEMS: Final[list[Any]] = []

PROTOCOLS: Final = ("SCTP", "TCP", "UDP")


def _remembered(check_name: Callable[[str], list[str]]) -> Callable[[str], list[str]]:
    """The same check with its answers kept: names repeat (of containers, ports, volumes, labels). Callers do not change them.
    Long text is not kept, so that no client can fill memory with it."""
    kept = lru_cache(limits.VALIDATION_NAMES_KEPT_MAX)(check_name)

    def answer(value: str) -> list[str]:
        return kept(value) if len(value) <= limits.VALIDATION_NAME_KEPT_CHARACTERS_MAX else check_name(value)

    return answer


dns_label: Final = _remembered(names.dns1123_label)
dns_subdomain: Final = _remembered(names.dns1123_subdomain)
qualified_name: Final = _remembered(names.qualified_name)
label_value: Final = _remembered(names.label_value)
port_name: Final = _remembered(names.port_name)
config_key: Final = _remembered(names.config_map_key)
env_name: Final = _remembered(names.relaxed_env_var_name)


def part(obj: Object, key: str) -> Object:
    """The object under ``key``; an empty one (not to be written to) when it is missing."""
    return obj.get(key) or _NOTHING


def items(obj: Object, key: str) -> list[Object]:
    """The objects of a list field; none when it is missing."""
    return obj.get(key) or _NO_ITEMS


def texts(obj: Object, key: str) -> list[str]:
    """The strings of a list field; none when it is missing."""
    return obj.get(key) or _NO_ITEMS


def text(obj: Object, key: str) -> str:
    """Empty when it is missing."""
    return obj.get(key) or ""


def number(obj: Object, key: str) -> int:
    """Zero when it is missing."""
    return obj.get(key) or 0


class EnoughFound(Exception):
    """The object is refused as it is; looking on would only keep others waiting."""


class Findings(list[Cause]):
    """Where causes are put. At the bound the search ends: nobody reads the thousandth fault, and a body can have a million."""

    def __init__(self) -> None:
        super().__init__()
        self._characters = 0

    def append(self, cause: Cause) -> None:
        super().append(cause)
        self._characters += len(cause.field) + len(cause.message)
        if len(self) >= limits.VALIDATION_CAUSES_MAX or self._characters > limits.VALIDATION_CAUSES_CHARACTERS_MAX:
            raise EnoughFound

    def extend(self, found: Iterable[Cause]) -> None:
        for cause in found:
            self.append(cause)

    def __iadd__(self, found: Iterable[Cause]) -> Findings:  # type: ignore[override,misc]
        self.extend(found)
        return self


def gathered(look: Callable[[Findings], None]) -> list[Cause]:
    """What ``look`` puts there, up to the bound."""
    out = Findings()
    with suppress(EnoughFound):
        look(out)
    return out


def repeated(values: Iterable[Hashable]) -> set[int]:
    """The places of values that came before: ``a b a`` gives 2. In one pass, however long a client makes the list."""
    seen: set[Hashable] = set()
    places: set[int] = set()
    for i, value in enumerate(values):
        if value in seen:
            places.add(i)
        seen.add(value)
    return places


def check(out: Out, messages: list[str], field: str, value: Any) -> None:
    """One cause per message of a name check."""
    for message in messages:
        out.append(causes.invalid(field, value, message))


def check_names(out: Out, check_name: Callable[[str], list[str]], obj: Object, key: str, field: str) -> None:
    """The string under ``key`` is there and passes ``check_name``."""
    value = text(obj, key)
    if not value:
        out.append(causes.required(f"{field}.{key}"))
    else:
        check(out, check_name(value), f"{field}.{key}", value)


def check_present(out: Out, obj: Object, key: str, field: str, detail: str = "") -> bool:
    """The field is there and not empty."""
    if obj.get(key) in (None, "", [], {}):
        out.append(causes.required(f"{field}.{key}" if field else key, detail))
        return False
    return True


def check_nonnegative(out: Out, obj: Object, key: str, field: str) -> None:
    value = obj.get(key)
    if isinstance(value, int) and value < 0:
        out.append(causes.invalid(f"{field}.{key}" if field else key, value, causes.NEGATIVE))


def check_one_of(out: Out, obj: Object, key: str, field: str, supported: Collection[str], *, needed: bool = True) -> None:
    """An enumeration. Empty is "Required value" when ``needed``, else good."""
    value = obj.get(key)
    path = f"{field}.{key}" if field else key
    if value is None or value == "":
        if needed:
            out.append(causes.required(path))
    elif value not in supported:
        out.append(causes.not_supported(path, value, supported))


def check_one_of_given(out: Out, obj: Object, key: str, field: str, supported: Collection[str]) -> None:
    """An enumeration that upstream has as a pointer: it may be missing, and empty text is none of its values."""
    value = obj.get(key)
    if value is not None and value not in supported:
        out.append(causes.not_supported(f"{field}.{key}" if field else key, value, supported))


def check_immutable(out: Out, new: Any, old: Any, field: str, *, missing: Any = None, shape: Inner | None = None) -> None:
    """``missing``: what upstream has where nothing is given; ``shape``: how it shows what is given."""
    if not same(new, old):
        shown = missing if new is None else new
        out.append(causes.invalid(field, inner(shown, shape) if shape is not None else shown, causes.IMMUTABLE))


def same(new: Any, old: Any) -> bool:
    """Semantic equality: what is unset equals what is empty (apimachinery api/equality)."""
    if new is old or new == old:
        return True
    if isinstance(new, dict) and isinstance(old, dict):
        return all(same(new.get(key), old.get(key)) for key in new.keys() | old.keys())
    if isinstance(new, list) and isinstance(old, list):
        return len(new) == len(old) and all(same(one, other) for one, other in zip(new, old, strict=True))
    return not new and not old


# --- numbers and names of the network ------------------------------------------------------------------------------


def check_port(out: Out, value: Any, field: str) -> None:
    """A port number or, as IntOrString allows, the name of one."""
    if isinstance(value, str):
        check(out, port_name(value), field, value)
    else:
        check(out, names.port_number(value or 0), field, value or 0)


def parse_ip(value: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return None
    return None if "%" in value else address


def parse_cidr(value: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    if "/" not in value or "%" in value:
        return None
    try:
        return ipaddress.ip_network(value, strict=False)
    except ValueError:
        return None


# --- counts that may be percentages ---------------------------------------------------------------------------------


def check_int_or_percent(out: Out, value: Any, field: str) -> None:
    if isinstance(value, str):
        check(out, names.percent(value), field, value)
    elif isinstance(value, int) and value < 0:
        out.append(causes.invalid(field, value, causes.NEGATIVE))


def check_percent_at_most_100(out: Out, value: Any, field: str) -> None:
    if isinstance(value, str) and not names.percent(value) and int(value[:-1]) > 100:
        out.append(causes.invalid(field, value, "must not be greater than 100%"))


def amount_of(value: Any) -> int:
    """The number of an IntOrString: ``25%`` gives 25, text that is no percentage 0."""
    if isinstance(value, str):
        return 0 if names.percent(value) else int(value[:-1])
    return value or 0


# --- paths on a file system -----------------------------------------------------------------------------------------


def check_no_backsteps(out: Out, value: str, field: str) -> None:
    if ".." in value.split("/"):
        out.append(causes.invalid(field, value, "must not contain '..'"))


def check_descending_path(out: Out, value: str, field: str) -> None:
    """Relative, and never above where it starts."""
    if value.startswith("/"):
        out.append(causes.invalid(field, value, "must be a relative path"))
    check_no_backsteps(out, value, field)


def check_local_path(out: Out, value: str, field: str) -> None:
    """As a descending path, and not starting with two dots, which volumes keep for themselves (``..data``)."""
    check_descending_path(out, value, field)
    if value.startswith("..") and not value.startswith("../") and value != "..":
        out.append(causes.invalid(field, value, "must not start with '..'"))


def check_file_mode(out: Out, obj: Object, key: str, field: str) -> None:
    mode = obj.get(key)
    if isinstance(mode, int) and not 0 <= mode <= 0o777:
        out.append(causes.invalid(f"{field}.{key}", mode, "must be a number between 0 and 0777 (octal), both inclusive"))


def check_domain_prefixed_path(out: Out, value: str, field: str) -> None:
    """``example.com/foo``: names of controllers."""
    if not value:
        out.append(causes.required(field))
        return
    domain, slash, rest = value.partition("/")
    if not slash or not domain or not rest:
        out.append(causes.invalid(field, value, 'must be a domain-prefixed path (such as "acme.io/foo")'))
        return
    for message in dns_subdomain(domain):
        out.append(causes.invalid(field, domain, message))
    if any(not (c.isascii() and (c.isalnum() or c in "-._~!$&'()*+,;=:@/%")) for c in rest):
        out.append(causes.invalid(field, rest, "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')"))
