"""Which fields of each kind may be selected, and how they are read.

Enters: a kind and a field's label (``status.phase``).
Leaves: a Field, which reads the text out of an object or of a partial decode of one; or the refusal, in upstream's words.
Holds: what a Field needs to be read stands beside it.
Next: api.selectors.fields.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from msgspec import Struct

from edgekube.api.errors import StatusError, bad_request
from edgekube.api.kinds import Kind

#: Reads the selectable text out of a decoded object, whole (dicts) or partial (structs).
Read: TypeAlias = Callable[[Any], str]
Path: TypeAlias = tuple[str, ...]


def _at(obj: Any, path: Path) -> Any:
    """The value at a path of a decoded object, or of a partial decode of one."""
    value: Any = obj
    for step in path:
        value = value.get(step) if isinstance(value, dict) else getattr(value, step, None)
        if value is None:
            return None
    return value


def _text(*path: str) -> Read:
    def read(obj: Any) -> str:
        value = _at(obj, path)
        return "" if value is None else str(value)

    return read


def _flag(*path: str) -> Read:
    return lambda obj: "true" if _at(obj, path) else "false"


def _count(*path: str) -> Read:
    return lambda obj: str(_at(obj, path) or 0)


def _pod_ip(obj: Any) -> str:
    ips = _at(obj, ("status", "podIPs"))
    if ips:
        return str(ips[0].get("ip") or "")
    return str(_at(obj, ("status", "podIP")) or "")


_EVENT_SOURCES: Final = (
    ("source", "component"),
    ("deprecatedSource", "component"),
    ("reportingComponent",),
    ("reportingController",),
)


def _event_source(obj: Any) -> str:
    """The old field, or what newer recorders write instead of it."""
    for path in _EVENT_SOURCES:
        value = _at(obj, path)
        if value:
            return str(value)
    return ""


class Field(Struct, frozen=True):
    read: Read
    #: Paths that reading needs: the partial decode takes these and no more.
    needs: tuple[Path, ...]
    #: Of a custom kind: what lies on the way may be anything, so the object is decoded whole.
    custom: bool = False


def _plain(*labels: str) -> dict[str, Field]:
    return {label: Field(_text(*label.split(".")), (tuple(label.split(".")),)) for label in labels}


def _flag_field(*path: str) -> Field:
    return Field(_flag(*path), (path,))


def _count_field(*path: str) -> Field:
    return Field(_count(*path), (path,))


METADATA: Final = _plain("metadata.name", "metadata.namespace")
_REFERENCE: Final = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
_EVENT_SOURCE: Final = Field(_event_source, _EVENT_SOURCES)
_POD_IP: Final = Field(_pod_ip, (("status", "podIP"), ("status", "podIPs")))

#: (group, kind) -> what may be selected besides the name and the namespace.
_SELECTABLE: Final[dict[tuple[str, str], dict[str, Field]]] = {
    ("", "Pod"): {
        **_plain("spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName"),
        **_plain("status.phase", "status.nominatedNodeName"),
        "spec.host": Field(_text("spec", "nodeName"), (("spec", "nodeName"),)),
        "spec.hostNetwork": _flag_field("spec", "hostNetwork"),
        "status.podIP": _POD_IP,
        "status.podIPs": _POD_IP,
    },
    ("", "Node"): {"spec.unschedulable": _flag_field("spec", "unschedulable")},
    ("", "Namespace"): _plain("status.phase"),
    ("", "Secret"): _plain("type"),
    ("", "Service"): _plain("spec.clusterIP", "spec.type"),
    ("", "ReplicationController"): {"status.replicas": _count_field("status", "replicas")},
    ("", "Event"): {
        **_plain(*(f"involvedObject.{part}" for part in _REFERENCE)),
        **_plain("reason", "type"),
        "reportingComponent": Field(_text("reportingComponent"), (("reportingComponent",),)),
        "source": _EVENT_SOURCE,
    },
    ("events.k8s.io", "Event"): {
        **_plain(*(f"regarding.{part}" for part in _REFERENCE)),
        **_plain("reason", "type", "reportingController"),
    },
    ("apps", "ReplicaSet"): {"status.replicas": _count_field("status", "replicas")},
    ("batch", "Job"): {"status.successful": _count_field("status", "succeeded")},
    ("certificates.k8s.io", "CertificateSigningRequest"): _plain("spec.signerName"),
    ("resource.k8s.io", "ResourceSlice"): _plain("spec.driver", "spec.nodeName"),
}


def selectable_fields(kind: Kind) -> tuple[str, ...]:
    """Field labels that lists and watches of the kind take."""
    return (*METADATA, *_SELECTABLE.get((kind.group, kind.kind), {}))


def _custom_field(label: str) -> Field:
    path = tuple(label.split("."))

    def read(obj: Any) -> str:
        value = obj
        for step in path:
            value = value.get(step) if isinstance(value, dict) else None
        if value is None:
            return ""
        if isinstance(value, bool):
            return "true" if value else "false"
        return str(value)

    return Field(read, (path,), custom=True)


def field_of(kind: Kind, label: str) -> Field:
    """StatusError BadRequest where lists of the kind do not take it."""
    field = METADATA.get(label) or _SELECTABLE.get((kind.group, kind.kind), {}).get(label)
    if field is None and label in kind.selectable_fields:
        field = _custom_field(label)
    if field is None:
        raise _unsupported(kind, label)
    return field


def _unsupported(kind: Kind, label: str) -> StatusError:
    if kind.group == "batch" and kind.kind == "Job":
        return bad_request(f'field label "{label}" not supported for Job')
    if (kind.group, kind.kind) == ("resource.k8s.io", "ResourceSlice"):
        return bad_request(f"field label not supported for {kind.api_version}, Kind={kind.kind}: {label}")
    if (kind.group, kind.kind) in _SELECTABLE and (kind.group, kind.kind) != ("apps", "ReplicaSet"):
        return bad_request(f"field label not supported: {label}")
    if kind.custom and kind.selectable_fields:
        return bad_request(f"field label not supported: {label}")
    return bad_request(f'"{label}" is not a known field selector: only "metadata.name", "metadata.namespace"')
