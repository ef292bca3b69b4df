"""Which form of an answer the client can read.

Enters: the Accept header.
Leaves: a Form: JSON, YAML or, where nothing else is taken, protobuf; of the object itself, a Table or only its metadata.
Holds: the client's first choice that we serve wins, as upstream's negotiation does, but that JSON goes before protobuf.
Source: RFC 9110 section 12.5.1; kubernetes.io, "API concepts" (alternate representations, receiving resources as Tables).
Next: server.rendering.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from msgspec import Struct

from edgekube.api.errors import StatusError
from edgekube.api.kinds import Kind
from edgekube.api.protobuf import PROTOBUF_TYPE

JSON: Final = "application/json"
YAML: Final = "application/yaml"

_SERVED: Final = (JSON, YAML)
_STREAMED: Final = (JSON, PROTOBUF_TYPE)
PARTIAL: Final = "PartialObjectMetadata"
_VIEWS: Final = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")
_VERSIONS: Final = ("v1", "v1beta1")


#: What upstream's routes of built-in kinds say that they produce; lists and watches come as streams, too.
PRODUCED: Final = (JSON, YAML, PROTOBUF_TYPE)
PRODUCED_STREAMS: Final = (*PRODUCED, f"{JSON};stream=watch", f"{PROTOBUF_TYPE};stream=watch")


class Form(Struct, frozen=True):
    """``view`` is "" for the object itself, Table, or PartialObjectMetadata (lists included)."""

    media_type: str = JSON
    view: str = ""
    version: str = "v1"
    pretty: bool = False
    #: The view was asked for by the name that it has for lists.
    of_list: bool = False

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


def _quality(parameters: dict[str, str]) -> float:
    try:
        return float(parameters.get("q", "1"))
    except ValueError:
        return 1.0


def _ranked(accept: str) -> list[tuple[str, dict[str, str]]]:
    """What the client likes best comes first; of what it likes alike, the more definite, then what it named first."""
    clauses = [_clause(text) for text in accept.split(",")]
    return sorted(clauses, key=lambda clause: (-_quality(clause[1]), clause[0] == "*/*", clause[0].endswith("/*")))


def _form(media_type: str, parameters: dict[str, str]) -> Form | None:
    if media_type in ("*/*", "application/*"):
        media_type = JSON
    if media_type == "text/yaml":
        media_type = YAML
    if media_type not in _SERVED:
        return None
    stream = parameters.get("stream", "")
    if stream and (stream != "watch" or media_type != JSON):
        return None
    view = parameters.get("as", "")
    pretty = parameters.get("pretty") == "1"
    if not view:
        return Form(media_type, pretty=pretty)
    if view not in _VIEWS or parameters.get("g") != "meta.k8s.io" or parameters.get("v") not in _VERSIONS:
        return None
    of_list = view.endswith("List")
    return Form(media_type, view.removesuffix("List"), parameters["v"], pretty=pretty, of_list=of_list)


@lru_cache(maxsize=128)
def negotiate(accept: str) -> Form:
    """StatusError NotAcceptable when nothing that the client takes is served."""
    if not accept:
        return PLAIN
    ranked = _ranked(accept)
    for media_type, parameters in ranked:
        form = _form(media_type, parameters)
        if form is None and parameters.get("as"):  # metadata is small, and metadata clients compare it with what they got before
            form = _last_resort(media_type, parameters)
        if form is not None:
            return form
    for clause in ranked:
        form = _last_resort(*clause)
        if form is not None:
            return form
    raise not_acceptable()


@lru_cache(maxsize=128)
def check_routed(accept: str, produced: tuple[str, ...] = PRODUCED) -> None:
    """Upstream's router looks at built-in paths first: at the names of media types alone, without wildcards but for ``*/*``.
    StatusError NotAcceptable."""
    taken = {clause.partition(";")[0].strip(" ") for clause in (accept or "*/*").split(",")}
    if taken.isdisjoint(("*/*", *produced)):
        raise StatusError("NotAcceptable", f"406: Not Acceptable\n\nAvailable representations: {', '.join(produced)}")


@lru_cache(maxsize=128)
def check_discovery(accept: str) -> None:
    """Discovery has no views but its own. StatusError NotAcceptable."""
    check_routed(accept)
    for media_type, parameters in _ranked(accept or "*/*"):
        if media_type not in (*PRODUCED, "*/*", "application/*") or parameters.get("sv"):
            continue
        if not parameters.get("as") or (parameters.get("g"), parameters["as"]) == (
            "apidiscovery.k8s.io",
            "APIGroupDiscoveryList",
        ):
            return
    raise not_acceptable()


def _last_resort(media_type: str, parameters: dict[str, str]) -> Form | None:
    """Protobuf, for whoever takes nothing else: objects are kept as JSON, and every one would have to be written anew."""
    if media_type != PROTOBUF_TYPE or parameters.get("stream", "watch") not in ("", "watch"):
        return None
    view = parameters.get("as", "")
    if not view:
        return Form(PROTOBUF_TYPE)
    if view == "Table" or view not in _VIEWS or parameters.get("g") != "meta.k8s.io" or parameters.get("v") not in _VERSIONS:
        return None
    return Form(PROTOBUF_TYPE, PARTIAL, parameters["v"], of_list=view.endswith("List"))


def check_stream(form: Form) -> None:
    """Events come as lines of JSON or frames of protobuf; there is no stream of YAML. StatusError NotAcceptable."""
    if form.media_type not in _STREAMED:
        accepted = ", ".join(f"{each};stream=watch" for each in _STREAMED)
        raise StatusError("NotAcceptable", f"only the following media types are accepted: {accepted}")


def check_form(form: Form, kind: Kind, subresource: str = "") -> None:
    """Whether the kind has that form: custom ones, and what extends the API, have none in protobuf. StatusError NotAcceptable."""
    if form.media_type != PROTOBUF_TYPE or form.view or subresource == "scale":
        return
    from edgekube.api.protobuf_answers import has_form

    if kind.custom or not has_form(kind.api_version, kind.kind):
        raise StatusError("NotAcceptable", f"only the following media types are accepted: {', '.join(_SERVED)}")


def check_view(form: Form, name: str, *, of_list: bool) -> None:
    """The metadata of a list is PartialObjectMetadataList, that of an object PartialObjectMetadata. ``name``: of what is sent."""
    if form.view != PARTIAL or form.of_list == of_list:
        return
    asked = f"{PARTIAL}List" if form.of_list else PARTIAL
    what = "is a list" if of_list else "is not a list"
    raise StatusError("NotAcceptable", f"you requested {asked}, but the requested object {what} (*{name})")


def not_acceptable() -> StatusError:
    accepted = ", ".join((*_SERVED, PROTOBUF_TYPE))
    return StatusError("NotAcceptable", f"only the following media types are accepted: {accepted}")


@lru_cache(maxsize=64)
def first_of(accept: str, served: tuple[str, ...]) -> str | None:
    """The served media type that the client likes best; the first one when it does not say; None when it takes none."""
    if not accept:
        return served[0]
    for media_type, _ in _ranked(accept):
        for each in served:
            if media_type in (each, "*/*") or (media_type.endswith("/*") and each.startswith(media_type[:-1])):
                return each
    return None


@lru_cache(maxsize=64)
def accepts(accept: str, *, group: str, version: str, view: str) -> bool:
    """Does the client list this very form (``application/json;g=…;v=…;as=…``) before plain JSON?"""
    for media_type, parameters in _ranked(accept):
        if media_type != JSON:
            continue
        if not parameters.get("as"):
            return False
        if (parameters.get("g"), parameters.get("v"), parameters["as"]) == (group, version, view):
            return True
    return False
