"""The downward API: parts of the pod and of its resources as text.

Enters: the pod (with the addresses it has by now), a fieldRef or resourceFieldRef, what the node can give.
Leaves: text; ConfigProblem for what does not exist.
Holds: pure. Source: Kubernetes documentation, "Downward API".
Next: agent.env, volumes.payload.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING, Decimal

from msgspec import Struct, field

from edgekube.agent.podspec import container_named
from edgekube.agent.problems import ConfigProblem
from edgekube.api import quantities
from edgekube.api.objects import Object, annotations_of, labels_of, name_of, namespace_of, spec_of, uid_of

_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['(.*)'\]")


#: Without a limit of its own a container may have what the pod may have, or the node.
_DEFAULTED = ("cpu", "memory", "ephemeral-storage")


class Surroundings(Struct, frozen=True):
    """What a pod learns from where it runs."""

    host_ips: Sequence[str] = ()
    pod_ips: Sequence[str] = ()
    allocatable: Mapping[str, str] = field(default_factory=dict)


def _lines(values: Mapping[str, str]) -> str:
    def quote(text: str) -> str:
        escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
        return f'"{escaped}"'

    return "\n".join(f"{key}={quote(value)}" for key, value in sorted(values.items()))


def field_value(pod: Object, path: str, around: Surroundings) -> str:
    match = _SUBSCRIPT.fullmatch(path)
    if match:
        values = labels_of(pod) if match[1] == "labels" else annotations_of(pod)
        return values.get(match[2], "")
    spec = spec_of(pod)
    match path:
        case "metadata.name":
            return name_of(pod)
        case "metadata.namespace":
            return namespace_of(pod)
        case "metadata.uid":
            return uid_of(pod)
        case "metadata.labels":
            return _lines(labels_of(pod))
        case "metadata.annotations":
            return _lines(annotations_of(pod))
        case "spec.nodeName":
            return str(spec.get("nodeName") or "")
        case "spec.serviceAccountName":
            return str(spec.get("serviceAccountName") or "")
        case "status.hostIP":
            return around.host_ips[0] if around.host_ips else ""
        case "status.hostIPs":
            return ",".join(around.host_ips)
        case "status.podIP":
            return around.pod_ips[0] if around.pod_ips else ""
        case "status.podIPs":
            return ",".join(around.pod_ips)
    raise ConfigProblem(f"unsupported fieldPath: {path}")


def resource_value(pod: Object, reference: Object, container_name: str, around: Surroundings) -> str:
    """Divided and rounded up; a limit not set is what the node can give."""
    name = reference.get("containerName") or container_name
    container = container_named(pod, name)
    if container is None:
        raise ConfigProblem(f"container {name} not found")
    part, _, resource = str(reference.get("resource") or "").partition(".")
    if part not in ("limits", "requests") or not resource:
        raise ConfigProblem(f"unsupported container resource : {reference.get('resource')}")
    resources = container.get("resources") or {}
    limit = (resources.get("limits") or {}).get(resource)
    amount = limit if part == "limits" else (resources.get("requests") or {}).get(resource, limit)
    if part == "limits" and resource in _DEFAULTED and (amount is None or quantities.is_zero(amount)):
        whole = (spec_of(pod).get("resources") or {}).get("limits") or {}
        own = whole.get(resource, "0")
        amount = around.allocatable.get(resource, "0") if quantities.is_zero(own) else own
    divisor = reference.get("divisor")
    unit = quantities.parse(divisor) if divisor and not quantities.is_zero(divisor) else Decimal(1)
    return str(int((quantities.parse(amount or "0") / unit).to_integral_value(ROUND_CEILING)))
