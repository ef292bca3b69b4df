"""Who is who in a StatefulSet: ordinals, names and labels.

Enters: StatefulSets and pods.
Leaves: plain values.
Holds: pod NAME-3 belongs to NAME and is its fourth, whatever happened to the others.
Next: making, stepping.
"""

from __future__ import annotations

import re
from typing import Final

from edgekube.api import podstate
from edgekube.api.objects import Object, labels_of, name_of, namespace_of, spec_of
from edgekube.api.revisions import POD_LABEL

NAME_LABEL: Final = "statefulset.kubernetes.io/pod-name"
INDEX_LABEL: Final = "apps.kubernetes.io/pod-index"
_NAME: Final = re.compile(r"(.*)-([0-9]+)", re.ASCII)
_ORDINAL_MAX: Final = 2**31 - 1


def replicas_of(stateful: Object) -> int:
    replicas = spec_of(stateful).get("replicas")
    return 1 if replicas is None else int(replicas)


def start_of(stateful: Object) -> int:
    """spec.ordinals.start."""
    return int((spec_of(stateful).get("ordinals") or {}).get("start") or 0)


def parent_and_ordinal(pod_name: str) -> tuple[str, int]:
    """("web", 3) of web-3; the ordinal is -1 where the name has none."""
    found = _NAME.fullmatch(pod_name)
    if found is None:
        return "", -1
    ordinal = int(found[2])
    return found[1], ordinal if ordinal <= _ORDINAL_MAX else -1


def ordinal_of(pod: Object) -> int:
    return parent_and_ordinal(name_of(pod))[1]


def is_member(stateful: Object, pod: Object) -> bool:
    return parent_and_ordinal(name_of(pod))[0] == name_of(stateful)


def in_range(stateful: Object, ordinal: int) -> bool:
    start = start_of(stateful)
    return start <= ordinal < start + replicas_of(stateful)


def pod_name(stateful: Object, ordinal: int) -> str:
    return f"{name_of(stateful)}-{ordinal}"


def labels_for(stateful: Object, ordinal: int) -> dict[str, str]:
    return {NAME_LABEL: pod_name(stateful, ordinal), INDEX_LABEL: str(ordinal)}


def matches(stateful: Object, pod: Object) -> bool:
    """The pod says who it is."""
    return (
        name_of(pod) == pod_name(stateful, ordinal_of(pod))
        and namespace_of(pod) == namespace_of(stateful)
        and labels_of(pod).get(NAME_LABEL) == name_of(pod)
    )


def revision_of_pod(pod: Object) -> str:
    return labels_of(pod).get(POD_LABEL) or ""


def is_running_and_ready(pod: Object) -> bool:
    return podstate.phase_of(pod) == "Running" and podstate.is_ready(pod)


def allows_burst(stateful: Object) -> bool:
    return bool(spec_of(stateful).get("podManagementPolicy") == "Parallel")
