"""Named formats: format.dns1123Label().validate(name)

Enters: a format, text.
Leaves: nothing when the text is of that form, else what is wrong with it.
Source: Kubernetes' CEL format library; sizes of the expressions behind the formats are its estimates.
Next: api.names.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from datetime import date
from typing import Any, Final

from edgekube.api import names
from edgekube.api.cel.errors import EvaluationError, no_such_overload
from edgekube.api.cel.library.times import timestamp_of
from edgekube.api.cel.library.urls import parse_url
from edgekube.api.cel.values import NONE, Optional

_UUID: Final = re.compile(r"(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.ASCII)


class Format:
    __slots__ = ("check", "name", "pattern_characters_max")
    type_name: Final = "kubernetes.NamedFormat"
    equality_cost_is_one: Final = True

    def __init__(self, name: str, pattern_characters_max: int, check: Callable[[str], list[str]]) -> None:
        self.name: Final = name
        self.pattern_characters_max: Final = pattern_characters_max
        self.check: Final = check

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Format) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)


def _prefix(check: Callable[[str], list[str]]) -> Callable[[str], list[str]]:
    """A name that something is appended to may end in a dash."""
    return lambda text: check(text[:-1] + "a" if text.endswith("-") and len(text) > 1 else text)


def _uri(text: str) -> list[str]:
    try:
        parse_url(text)
    except ValueError as error:
        return [f'parse "{text}": {error}']
    return []


def _accepts(parse: Callable[[str], Any], message: str) -> Callable[[str], list[str]]:
    def check(text: str) -> list[str]:
        try:
            parse(text)
        except (ValueError, EvaluationError):
            return [message]
        return []

    return check


def _day(text: str) -> date:
    if len(text) != 10:
        raise ValueError
    return date.fromisoformat(text)


def _base64(text: str) -> bytes:
    if not text:
        raise ValueError
    return base64.b64decode(text, validate=True)


def _uuid(text: str) -> list[str]:
    return [] if _UUID.fullmatch(text) is not None else ["does not match the UUID format"]


_FORMATS: Final = {
    "dns1123Label": Format("DNS1123Label", 30, names.dns1123_label),
    "dns1123Subdomain": Format("DNS1123Subdomain", 60, names.dns1123_subdomain),
    "dns1035Label": Format("DNS1035Label", 30, names.dns1035_label),
    "qualifiedName": Format("QualifiedName", 60, names.qualified_name),
    "dns1123LabelPrefix": Format("DNS1123LabelPrefix", 30, _prefix(names.dns1123_label)),
    "dns1123SubdomainPrefix": Format("DNS1123SubdomainPrefix", 60, _prefix(names.dns1123_subdomain)),
    "dns1035LabelPrefix": Format("DNS1035LabelPrefix", 30, _prefix(names.dns1035_label)),
    "labelValue": Format("LabelValue", 40, names.label_value),
    "uri": Format("URI", 1103, _uri),
    "uuid": Format("uuid", 70, _uuid),
    "byte": Format("byte", 84, _accepts(_base64, "invalid base64")),
    "date": Format("date", 71, _accepts(_day, "invalid date")),
    "datetime": Format("datetime", 71, _accepts(timestamp_of, "invalid datetime")),
}
DECLARATIONS: Final = "\n".join(
    [
        "format-validate kubernetes.NamedFormat.validate(string) -> optional(list(string))",
        "format-named format.named(string) -> optional(kubernetes.NamedFormat)",
        *(f"format.{name} format.{name}() -> kubernetes.NamedFormat" for name in _FORMATS),
    ]
)


def _validate(form: Any, text: Any) -> Optional:
    if not isinstance(form, Format) or type(text) is not str:
        raise no_such_overload()
    wrong = form.check(text)
    return Optional(True, wrong) if wrong else NONE


def _named(name: Any) -> Optional:
    if type(name) is not str:
        raise no_such_overload()
    found = _FORMATS.get(name)
    return Optional(True, found) if found is not None else NONE


def _constant(value: Format) -> Callable[[], Format]:
    return lambda: value


IMPLEMENTATIONS: Final[dict[str, Callable[..., Any]]] = {
    "validate": _validate,
    "format.named": _named,
    **{f"format.{name}": _constant(form) for name, form in _FORMATS.items()},
}
