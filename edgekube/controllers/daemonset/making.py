"""The pod of a DaemonSet for one node, and which node a pod was made for.

Enters: a DaemonSet, a node's name, the hash of its revision.
Leaves: the pod as it is first written.
Holds: the pod names its node by affinity and the scheduler binds it there, so that room, ports and priority count as for others;
it bears what a node may suffer, for it is part of the node.
Source: k8s.io/kubernetes pkg/controller/daemon/util.
Next: controller; scheduler.
"""

from __future__ import annotations

from typing import Final

import orjson

from edgekube.api import podstate, taints
from edgekube.api.defaults.apps import TEMPLATE_GENERATION
from edgekube.api.kinds import DAEMONSET
from edgekube.api.objects import Object, annotations_of, name_of, namespace_of
from edgekube.api.ownership import controller_reference
from edgekube.api.pod_facts import PodFacts
from edgekube.api.revisions import POD_LABEL

GENERATION_LABEL: Final = "pod-template-generation"
_NAME_FIELD: Final = "metadata.name"
_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"
_BORNE: Final = (
    (taints.NOT_READY, taints.NO_EXECUTE),
    (taints.UNREACHABLE, taints.NO_EXECUTE),
    (taints.DISK_PRESSURE, taints.NO_SCHEDULE),
    (taints.MEMORY_PRESSURE, taints.NO_SCHEDULE),
    (taints.PID_PRESSURE, taints.NO_SCHEDULE),
    (taints.UNSCHEDULABLE, taints.NO_SCHEDULE),
)


def template_of(daemon: Object) -> Object:
    return (daemon.get("spec") or {}).get("template") or {}


def tolerations(pod_spec: Object) -> list[Object]:
    """The template's own, and those that every pod of a DaemonSet has."""
    result: list[Object] = list(pod_spec.get("tolerations") or ())
    borne = list(_BORNE)
    if pod_spec.get("hostNetwork"):
        borne.append((taints.NETWORK_UNAVAILABLE, taints.NO_SCHEDULE))
    for key, effect in borne:
        wanted: Object = {"key": key, "operator": "Exists", "effect": effect}
        place = next((i for i, each in enumerate(result) if _is_about(each, wanted)), None)
        if place is None:
            result.append(wanted)
        else:
            result[place] = wanted  # without the time limit that it may have had
    return result


def _is_about(toleration: Object, wanted: Object) -> bool:
    return all((toleration.get(part) or "") == wanted.get(part, "") for part in ("key", "effect", "operator", "value"))


def template_generation(daemon: Object) -> str | None:
    """The annotation that apps/v1 shows for the field of older versions."""
    text = annotations_of(daemon).get(TEMPLATE_GENERATION)
    try:
        return None if text is None else str(int(text))
    except ValueError:
        return None


def is_updated(daemon: Object, pod: PodFacts, digest: str) -> bool:
    """The pod is of the template of now. The count tells it only of pods that bear no digest: it starts anew with a DaemonSet
    that takes another's pods over."""
    labels = pod.labels
    if POD_LABEL in labels:
        return labels[POD_LABEL] == digest
    generation = template_generation(daemon)
    return generation is not None and labels.get(GENERATION_LABEL) == generation


def pod_for(daemon: Object, node_name: str, digest: str) -> Object:
    template: Object = orjson.loads(orjson.dumps(template_of(daemon)))
    of_template = template.get("metadata") or {}
    labels = {**(of_template.get("labels") or {}), POD_LABEL: digest}
    generation = template_generation(daemon)
    if generation is not None:
        labels[GENERATION_LABEL] = generation
    metadata: Object = {"generateName": f"{name_of(daemon)}-", "namespace": namespace_of(daemon), "labels": labels}
    for part in ("annotations", "finalizers"):
        if of_template.get(part):
            metadata[part] = of_template[part]
    metadata["ownerReferences"] = [controller_reference(DAEMONSET, daemon)]
    spec: Object = template.get("spec") or {}
    spec["tolerations"] = tolerations(spec)
    affinity = spec.get("affinity") or {}
    node_affinity = affinity.get("nodeAffinity") or {}
    only_there: Object = {"matchFields": [{"key": _NAME_FIELD, "operator": "In", "values": [node_name]}]}
    # What the template requires of its node, this node has: it was asked before.
    spec["affinity"] = {**affinity, "nodeAffinity": {**node_affinity, _REQUIRED: {"nodeSelectorTerms": [only_there]}}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def target_node(pod: Object) -> str | None:
    """Where the pod is, or is to be; None when it does not say."""
    if podstate.node_of(pod):
        return podstate.node_of(pod)
    affinity = ((pod.get("spec") or {}).get("affinity") or {}).get("nodeAffinity") or {}
    for term in (affinity.get(_REQUIRED) or {}).get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            if field.get("key") == _NAME_FIELD and field.get("operator") == "In":
                values = field.get("values") or []
                return str(values[0]) if len(values) == 1 else None
    return None
