"""Which form of an answer the client can read.

Enters: the Accept header.
Leaves: a Form: JSON or YAML, of the object itself, a Table or only its metadata.
Holds: the client's first choice that we serve wins, as upstream's negotiation does; protobuf alone is refused with 406.
Source: RFC 9110 section 12.5.1; kubernetes.io, "API concepts" (alternate representations, receiving resources as Tables).
Next: server.rendering.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from edgekube.api.errors import StatusError

JSON: Final = "application/json"
YAML: Final = "application/yaml"

_SERVED: Final = (JSON, YAML)
_VIEWS: Final = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")
_VERSIONS: Final = ("v1", "v1beta1")


@dataclass(frozen=True, slots=True)
class Form:
    """``view`` is "" for the object itself, Table, or PartialObjectMetadata (lists included)."""

    media_type: str = JSON
    view: str = ""
    version: str = "v1"

    @property
    def content_type(self) -> str:
        return self.media_type

    @property
    def is_plain(self) -> bool:
        return not self.view and self.media_type == JSON


PLAIN: Final = Form()


def _clause(text: str) -> tuple[str, dict[str, str]]:
    media_type, *rest = (part.strip() for part in text.split(";"))
    parameters = {}
    for part in rest:
        key, _, value = part.partition("=")
        parameters[key.strip()] = value.strip().strip('"')
    return media_type.lower(), parameters


def _form(media_type: str, parameters: dict[str, str]) -> Form | None:
    if media_type in ("*/*", "application/*"):
        media_type = JSON
    if media_type == "text/yaml":
        media_type = YAML
    if media_type not in _SERVED:
        return None
    view = parameters.get("as", "")
    if not view:
        return Form(media_type)
    if view not in _VIEWS or parameters.get("g") != "meta.k8s.io" or parameters.get("v") not in _VERSIONS:
        return None
    return Form(media_type, view.removesuffix("List"), parameters["v"])


@lru_cache(maxsize=128)
def negotiate(accept: str) -> Form:
    """StatusError NotAcceptable when nothing that the client takes is served."""
    if not accept:
        return PLAIN
    for text in accept.split(","):
        form = _form(*_clause(text))
        if form is not None:
            return form
    raise not_acceptable()


def not_acceptable() -> StatusError:
    accepted = ", ".join(_SERVED)
    return StatusError("NotAcceptable", f"only the following media types are accepted: {accepted}")


@lru_cache(maxsize=64)
def accepts(accept: str, *, group: str, version: str, view: str) -> bool:
    """Does the client list this very form (``application/json;g=…;v=…;as=…``) before plain JSON?"""
    for text in accept.split(","):
        media_type, parameters = _clause(text)
        if media_type != JSON:
            continue
        if not parameters.get("as"):
            return False
        if (parameters.get("g"), parameters.get("v"), parameters["as"]) == (group, version, view):
            return True
    return False
