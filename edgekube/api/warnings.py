"""Warnings: what is accepted and yet worth telling its sender (the Warning header, RFC 9111 code 299).

Enters: a defaulted, valid object; on update the old one too.
Leaves: texts, each once, in the order of the fields; the server quotes them into headers.
Holds: an update repeats no warning that the old object already earned, as upstream's does not.
Source: warnings.go and util.go of pkg/api/{pod,node,service,persistentvolume,job} of v1.36.
Next: server.responses.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from edgekube.api.kinds import CUSTOMRESOURCEDEFINITION, Kind
from edgekube.api.objects import Object
from edgekube.api.validation.fields import items, parse_cidr, parse_ip, part, text, texts

#: Node labels that have stable successors; None: no successor.
_OLD_NODE_LABELS: Final = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
    "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
    "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
}
_OLD_POD_ANNOTATIONS: Final = {
    "scheduler.alpha.kubernetes.io/critical-pod": 'non-functional in v1.16+; use the "priorityClassName" field instead',
    "seccomp.security.alpha.kubernetes.io/pod": 'non-functional in v1.27+; use the "seccompProfile" field instead',
}
_CONTAINER_SECCOMP: Final = "container.seccomp.security.alpha.kubernetes.io/"
_CONTAINER_APPARMOR: Final = "container.apparmor.security.beta.kubernetes.io/"
_OLD_VOLUMES: Final = {
    "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
    "gitRepo": "deprecated in v1.11, and disabled by default in v1.33+",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "flocker": "deprecated in v1.22, non-functional in v1.25+",
    "storageOS": "deprecated in v1.22, non-functional in v1.25+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "quobyte": "deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "rbd": "deprecated in v1.28, non-functional in v1.31+",
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
}
_TEMPLATES: Final = {
    "DaemonSet": ("spec", "template"),
    "Deployment": ("spec", "template"),
    "Job": ("spec", "template"),
    "PodTemplate": ("template",),
    "ReplicaSet": ("spec", "template"),
    "ReplicationController": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
_JOB_NAME_CHARACTERS_MAX: Final = 63
_DEPRECATED: Final = {
    ("v1", "ComponentStatus"): "v1 ComponentStatus is deprecated in v1.19+",
    ("v1", "Endpoints"): "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
}


def deprecation_of(kind: Kind) -> str:
    """What every request on the kind is told, reads included; "" for most."""
    return kind.deprecation or _DEPRECATED.get((kind.api_version, kind.kind), "")


def warnings_for(kind: Kind, new: Object, old: Object | None = None) -> list[str]:
    """Texts for Warning headers; ``old`` is None on create."""
    found = list(dict.fromkeys(_of(kind, new)))
    if old is not None and found:
        known = set(_of(kind, old))
        found = [text_ for text_ in found if text_ not in known]
    return found


def _of(kind: Kind, obj: Object) -> Iterator[str]:
    if kind.kind == "Pod" and not kind.group:
        yield from _of_pod(part(obj, "metadata"), part(obj, "spec"), "metadata", "spec")
    elif kind.kind in _TEMPLATES and kind.group in ("", "apps", "batch"):
        steps = _TEMPLATES[kind.kind]
        template = obj
        for step in steps:
            template = part(template, step)
        path = ".".join(steps)
        yield from _of_pod(part(template, "metadata"), part(template, "spec"), f"{path}.metadata", f"{path}.spec")
        if kind.kind == "Job" and len(text(part(obj, "metadata"), "name")) > _JOB_NAME_CHARACTERS_MAX:
            yield (
                "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is "
                f"recommended: [must be no more than {_JOB_NAME_CHARACTERS_MAX} characters]"
            )
    elif not kind.group and kind.kind == "Service":
        yield from _of_service(obj)
    elif not kind.group and kind.kind == "PersistentVolume":
        yield from _of_volume(part(obj, "spec"), "spec")
        if part(obj, "spec").get("persistentVolumeReclaimPolicy") == "Recycle":
            yield (
                "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach "
                "is to use dynamic provisioning."
            )
    elif kind is CUSTOMRESOURCEDEFINITION:
        from edgekube.api.custom.definition_warnings import warnings_of

        yield from warnings_of(obj)
    elif kind.kind == "Ingress" and kind.group == "networking.k8s.io":
        key = "kubernetes.io/ingress.class"
        if key in part(part(obj, "metadata"), "annotations"):
            yield f"annotation \"{key}\" is deprecated, please use 'spec.ingressClassName' instead"


def _of_pod(metadata: Object, spec: Object, metadata_path: str, path: str) -> Iterator[str]:
    for key in part(spec, "nodeSelector"):
        if key in _OLD_NODE_LABELS:
            yield f"{path}.nodeSelector[{key}]: {_OLD_NODE_LABELS[key]}"
    yield from _of_affinity(part(spec, "affinity"), f"{path}.affinity.nodeAffinity")
    for i, constraint in enumerate(items(spec, "topologySpreadConstraints")):
        key = text(constraint, "topologyKey")
        if key in _OLD_NODE_LABELS:
            yield f"{path}.topologySpreadConstraints[{i}].topologyKey: {key} is {_OLD_NODE_LABELS[key]}"
    for key in part(metadata, "annotations"):
        if key in _OLD_POD_ANNOTATIONS:
            yield f"{metadata_path}.annotations[{key}]: {_OLD_POD_ANNOTATIONS[key]}"
        elif key.startswith(_CONTAINER_SECCOMP):
            yield f'{metadata_path}.annotations[{key}]: non-functional in v1.27+; use the "seccompProfile" field instead'
        elif key.startswith(_CONTAINER_APPARMOR):
            yield f'{metadata_path}.annotations[{key}]: deprecated since v1.30; use the "appArmorProfile" field instead'
    for i, volume in enumerate(items(spec, "volumes")):
        yield from _of_volume(volume, f"{path}.volumes[{i}]")
    seen_aliases: dict[str, int] = {}
    for i, alias in enumerate(items(spec, "hostAliases")):
        address = text(alias, "ip")
        if address in seen_aliases:
            yield f'{path}.hostAliases[{i}].ip: duplicate ip "{address}"'
        seen_aliases[address] = i
    seen_secrets: set[str] = set()
    for i, secret in enumerate(items(spec, "imagePullSecrets")):
        name = text(secret, "name")
        if not name:
            yield f'{path}.imagePullSecrets[{i}].name: invalid empty name ""'
        elif name in seen_secrets:
            yield f'{path}.imagePullSecrets[{i}].name: duplicate name "{name}"'
        seen_secrets.add(name)
    for which in ("initContainers", "containers"):
        for i, container in enumerate(items(spec, which)):
            yield from _of_container(container, f"{path}.{which}[{i}]")
    if (spec.get("terminationGracePeriodSeconds") or 0) < 0:
        yield f"{path}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"


def _of_affinity(affinity: Object, path: str) -> Iterator[str]:
    nodes = part(affinity, "nodeAffinity")
    required = part(nodes, "requiredDuringSchedulingIgnoredDuringExecution")
    for i, term in enumerate(items(required, "nodeSelectorTerms")):
        at = f"{path}.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[{i}]"
        yield from _of_term(term, at)
    for i, weighted in enumerate(items(nodes, "preferredDuringSchedulingIgnoredDuringExecution")):
        at = f"{path}.preferredDuringSchedulingIgnoredDuringExecution[{i}].preference"
        yield from _of_term(part(weighted, "preference"), at)


def _of_term(term: Object, path: str) -> Iterator[str]:
    for i, expression in enumerate(items(term, "matchExpressions")):
        key = text(expression, "key")
        if key in _OLD_NODE_LABELS:
            yield f"{path}.matchExpressions[{i}].key: {key} is {_OLD_NODE_LABELS[key]}"


def _of_volume(volume: Object, path: str) -> Iterator[str]:
    for kind, words in _OLD_VOLUMES.items():
        if volume.get(kind) is not None:
            yield f"{path}.{kind}: {words}"


def _of_container(container: Object, path: str) -> Iterator[str]:
    seen: dict[str, str] = {}
    for i, variable in enumerate(items(container, "env")):
        name = text(variable, "name")
        if name in seen:
            yield f'{path}.env[{i}]: hides previous definition of "{name}", which may be dropped when using apply'
        seen[name] = name
    ports: dict[tuple[object, ...], int] = {}
    for i, port in enumerate(items(container, "ports")):
        key = (port.get("containerPort"), text(port, "protocol"), port.get("hostPort"), text(port, "hostIP"))
        if key in ports:
            yield f"{path}.ports[{i}]: duplicate port definition with {path}.ports[{ports[key]}]"
        ports.setdefault(key, i)
    for side in ("limits", "requests"):
        quantity = part(part(container, "resources"), side).get("memory")
        if isinstance(quantity, str) and quantity.endswith("m"):
            yield f'{path}.resources.{side}[memory]: fractional byte value "{quantity}" is invalid, must be an integer'


def _of_service(service: Object) -> Iterator[str]:
    spec = part(service, "spec")
    if text(spec, "loadBalancerIP") and text(spec, "type") == "LoadBalancer" and parse_ip(text(spec, "loadBalancerIP")) is None:
        yield "spec.loadBalancerIP: IP address is not valid"
    for i, cidr in enumerate(texts(spec, "loadBalancerSourceRanges")):
        network = parse_cidr(cidr.strip())
        if network is not None and str(network) != cidr.strip():
            words = f'CIDR value "{cidr.strip()}" is ambiguous in this context (should be "{network}" or similar?)'
            yield f"spec.loadBalancerSourceRanges[{i}]: {words}"
    if spec.get("externalIPs") and text(spec, "type") == "ExternalName":
        yield 'spec.externalIPs is ignored when spec.type is "ExternalName"'
    if text(spec, "type") != "ExternalName" and text(spec, "externalName"):
        yield 'spec.externalName is ignored when spec.type is not "ExternalName"'
    if spec.get("sessionAffinity") == "ClientIP" and spec.get("clusterIP") == "None":
        yield "spec.SessionAffinity is ignored for headless services"
    if spec.get("trafficDistribution") == "PreferClose":
        yield 'spec.trafficDistribution: "PreferClose" is deprecated, use "PreferSameZone" instead'
