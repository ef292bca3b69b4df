"""What is told of a pod, or of a template of pods.

Enters: metadata and spec, defaulted and valid, and where the template stands ("" of a pod).
Leaves: texts of warnings.
Source: pkg/api/pod/warnings.go of v1.36; the strategies of pods and of what makes them (names).
Next: api.warnings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from edgekube.api.objects import Object
from edgekube.api.validation.addresses import ip_warnings
from edgekube.api.validation.fields import dns_label, items, part, text, texts
from edgekube.api.validation.resources import amount
from edgekube.api.warnings import nodes
from edgekube.api.warnings.paths import overlaps

_OLD_ANNOTATIONS: Final = {
    "scheduler.alpha.kubernetes.io/critical-pod": 'non-functional in v1.16+; use the "priorityClassName" field instead',
    "security.alpha.kubernetes.io/sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
    "security.alpha.kubernetes.io/unsafe-sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
}
_POD_SECCOMP: Final = "seccomp.security.alpha.kubernetes.io/pod"
_CONTAINER_SECCOMP: Final = "container.seccomp.security.alpha.kubernetes.io/"
_CONTAINER_APPARMOR: Final = "container.apparmor.security.beta.kubernetes.io/"
_USE_SECCOMP: Final = 'non-functional in v1.27+; use the "seccompProfile" field instead'
_USE_APPARMOR: Final = 'deprecated since v1.30; use the "appArmorProfile" field instead'
_OLD_VOLUMES: Final = {
    "photonPersistentDisk": ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    "gitRepo": ("gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    "scaleIO": ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    "flocker": ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    "storageos": ("storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    "quobyte": ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    "glusterfs": ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    "cephfs": ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    "rbd": ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
}
_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED: Final = "preferredDuringSchedulingIgnoredDuringExecution"
_CONTAINERS: Final = ("initContainers", "containers", "ephemeralContainers")


def of_name(obj: Object, used_in: str) -> Iterator[str]:
    messages = dns_label(text(part(obj, "metadata"), "name"))
    if messages:
        used = f"metadata.name: this is used in {used_in}, which can result in surprising behavior; a DNS label is recommended"
        yield f"{used}: [{' '.join(messages)}]"


def of_spec(metadata: Object, spec: Object, within: str) -> Iterator[str]:
    prefix = f"{within}." if within else ""
    path, annotations = f"{prefix}spec", part(metadata, "annotations")
    yield from _of_placement(spec, path)
    for key, words in _OLD_ANNOTATIONS.items():
        if key in annotations:
            yield f"{prefix}metadata.annotations[{key}]: {words}"
    for i, volume in enumerate(items(spec, "volumes")):
        yield from _of_volume(volume, f"{path}.volumes[{i}]")
    yield from overlaps(items(spec, "volumes"))
    yield from _of_lists(spec, path)
    for name in ("memory", "ephemeral-storage"):
        yield from fraction(part(spec, "overhead").get(name), f"{path}.overhead[{name}]")
    yield from _of_annotations(annotations, spec, f"{prefix}metadata.annotations", is_template=bool(within))
    containers = [(container, f"{path}.{which}[{i}]") for which in _CONTAINERS for i, container in enumerate(items(spec, which))]
    for container, at in containers:
        yield from _of_container(container, at)
    yield from _of_ports(containers)
    if (spec.get("terminationGracePeriodSeconds") or 0) < 0:
        yield f"{path}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
    yield from _of_affinity(part(spec, "affinity"), f"{path}.affinity")
    for i, server in enumerate(texts(part(spec, "dnsConfig"), "nameservers")):
        yield from ip_warnings(server, f"{path}.dnsConfig.nameservers[{i}]")
    for i, alias in enumerate(items(spec, "hostAliases")):
        yield from ip_warnings(text(alias, "ip"), f"{path}.hostAliases[{i}].ip")


def _of_placement(spec: Object, path: str) -> Iterator[str]:
    for key in part(spec, "nodeSelector"):
        if key in nodes.OLD_LABELS:
            yield f"{path}.nodeSelector[{key}]: {nodes.OLD_LABELS[key]}"
    chosen, at = part(part(spec, "affinity"), "nodeAffinity"), f"{path}.affinity.nodeAffinity"
    for i, term in enumerate(items(part(chosen, _REQUIRED), "nodeSelectorTerms")):
        yield from nodes.of_term(term, f"{at}.{_REQUIRED}.nodeSelectorTerms[{i}]")
    for i, weighted in enumerate(items(chosen, _PREFERRED)):
        yield from nodes.of_term(part(weighted, "preference"), f"{at}.{_PREFERRED}[{i}].preference", with_values=True)
    for i, constraint in enumerate(items(spec, "topologySpreadConstraints")):
        at, key = f"{path}.topologySpreadConstraints[{i}]", text(constraint, "topologyKey")
        if key in nodes.OLD_LABELS:
            yield f"{at}.topologyKey: {key} is {nodes.OLD_LABELS[key]}"
        if constraint.get("labelSelector") is None:
            yield f"{at}.labelSelector: a null labelSelector results in matching no pod"


def _of_affinity(affinity: Object, path: str) -> Iterator[str]:
    for key in ("podAffinity", "podAntiAffinity"):
        terms = part(affinity, key)
        places = [(term, f"{_REQUIRED}[{i}]") for i, term in enumerate(items(terms, _REQUIRED))]
        places += [
            (part(weighted, "podAffinityTerm"), f"{_PREFERRED}[{i}].podAffinityTerm")
            for i, weighted in enumerate(items(terms, _PREFERRED))
        ]
        for term, at in places:
            if term.get("labelSelector") is None:
                yield f"{path}.{key}.{at}.labelSelector: a null labelSelector results in matching no pod"


def _of_volume(volume: Object, path: str) -> Iterator[str]:
    for kind, (shown, words) in _OLD_VOLUMES.items():
        if volume.get(kind) is not None:
            yield f"{path}.{shown}: {words}"
    claim = part(volume, "ephemeral").get("volumeClaimTemplate")
    if claim is not None:
        yield from of_claim_spec(part(claim, "spec"), f"{path}.ephemeral.volumeClaimTemplate.spec")


def of_claim_spec(spec: Object, path: str) -> Iterator[str]:
    for side in ("requests", "limits"):
        quantity = part(part(spec, "resources"), side).get("storage")
        yield from fraction(quantity, f"{path}.resources.{side}[storage]")


def fraction(quantity: Any, path: str) -> Iterator[str]:
    """Of bytes there are whole ones only."""
    value = amount(quantity) if quantity is not None else None
    if value is not None and value != value.to_integral_value():
        yield f'{path}: fractional byte value "{quantity}" is invalid, must be an integer'


def _of_lists(spec: Object, path: str) -> Iterator[str]:
    seen: set[str] = set()
    for i, alias in enumerate(items(spec, "hostAliases")):
        if text(alias, "ip") in seen:
            yield f'{path}.hostAliases[{i}].ip: duplicate ip "{text(alias, "ip")}"'
        seen.add(text(alias, "ip"))
    names = [text(secret, "name") for secret in items(spec, "imagePullSecrets")]
    for i, name in enumerate(names):
        if name in names[:i]:
            yield f'{path}.imagePullSecrets[{i}].name: duplicate name "{name}"'
    for i, name in enumerate(names):
        if not name:
            yield f'{path}.imagePullSecrets[{i}].name: invalid empty name ""'


def _of_annotations(annotations: Object, spec: Object, path: str, *, is_template: bool) -> Iterator[str]:
    """Profiles were said there before there were fields; of a pod AppArmor's become fields."""
    context = part(spec, "securityContext")
    if _POD_SECCOMP in annotations and context.get("seccompProfile") is None:
        yield f"{path}[{_POD_SECCOMP}]: {_USE_SECCOMP}"
    for which in _CONTAINERS:
        for container in items(spec, which):
            own, name = part(container, "securityContext"), text(container, "name")
            key = f"{_CONTAINER_SECCOMP}{name}"
            if key in annotations and own.get("seccompProfile") is None:
                yield f"{path}[{key}]: {_USE_SECCOMP}"
            key = f"{_CONTAINER_APPARMOR}{name}"
            if is_template and key in annotations and own.get("appArmorProfile") is None:
                whole = context.get("appArmorProfile")
                if whole is None or whole != _apparmor_of(annotations[key] or ""):
                    yield f"{path}[{key}]: {_USE_APPARMOR}"


def _apparmor_of(annotation: str) -> Object | None:
    if annotation.startswith("localhost/"):
        local = annotation.removeprefix("localhost/")
        return {"type": "Localhost", "localhostProfile": local} if local else None
    kinds = {"runtime/default": "RuntimeDefault", "unconfined": "Unconfined"}
    return {"type": kinds[annotation]} if annotation in kinds else None


def _of_container(container: Object, path: str) -> Iterator[str]:
    resources = part(container, "resources")
    for name in ("memory", "ephemeral-storage"):
        for side in ("limits", "requests"):
            yield from fraction(part(resources, side).get(name), f"{path}.resources.{side}[{name}]")
    seen: set[str] = set()
    for i, variable in enumerate(items(container, "env")):
        name, value = text(variable, "name"), text(variable, "value")
        again = f"$({name})"
        if name in seen and (variable.get("valueFrom") is not None or value == again or again not in value):
            yield f'{path}.env[{i}]: hides previous definition of "{name}", which may be dropped when using apply'
        seen.add(name)


def _of_ports(containers: list[tuple[Object, str]]) -> Iterator[str]:
    ports = [(port, f"{path}.ports[{i}]") for container, path in containers for i, port in enumerate(items(container, "ports"))]
    taken: dict[tuple[Any, ...], list[tuple[Object, str]]] = {}
    for port, at in ports:
        if text(port, "hostIP") and not port.get("hostPort"):
            yield f"{at}: hostIP set without hostPort: {_struct(port)}"
        others = taken.setdefault((port.get("containerPort"), text(port, "protocol")), [])
        for other, where in others:
            how = _collision(port, other)
            if how:
                yield f"{at}: {how} port definition with {where}"
        others.append((port, at))
    named: dict[str, str] = {}
    for port, at in ports:
        name = text(port, "name")
        if name in named:
            first = named[name]
            used = f"services and probes that select ports by name will use {first}"
            yield f'{at}: duplicate port name "{name}" with {first}, {used}'
        elif name:
            named[name] = at


def _collision(port: Object, other: Object) -> str:
    (port_number, address), (other_number, other_address) = (
        (one.get("hostPort") or 0, text(one, "hostIP")) for one in (port, other)
    )
    if (port_number, address) == (other_number, other_address):
        return "duplicate"
    if not port_number or not other_number:
        return "overlapping"
    return "dangerously ambiguous" if port_number == other_number and bool(address) != bool(other_address) else ""


def _struct(port: Object) -> str:
    """As Go prints a struct with the names of its fields."""
    return (
        f"{{Name:{text(port, 'name')} HostPort:{port.get('hostPort') or 0} ContainerPort:{port.get('containerPort') or 0} "
        f"Protocol:{text(port, 'protocol')} HostIP:{text(port, 'hostIP')}}}"
    )
