"""Defaults of pods and pod templates.

Enters: a Pod, or anything with a pod template.
Leaves: the same, with every field that Kubernetes fills set.
Holds: a template gets what a PodSpec gets; what only a Pod gets (requests from limits, enableServiceLinks, host ports) is not
    written into templates, so that a controller's template stays as its author wrote it.
Source: core/v1 SetDefaults_PodSpec, SetDefaults_Pod and the field documentation of PodSpec, Container, Probe, Volume.
Next: api.defaults.core, api.defaults.apps, api.defaults.batch.
"""

from __future__ import annotations

from typing import Final

from edgekube.api import quantities
from edgekube.api.defaults.fill import Scalars, fill_empty, fill_missing, items, part
from edgekube.api.objects import Object

_CONTAINER: Final[Scalars] = {"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}
_PROBE: Final[Scalars] = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
_HTTP_GET: Final[Scalars] = {"path": "/", "scheme": "HTTP"}
_PORT: Final[Scalars] = {"protocol": "TCP"}
_FIELD_REF: Final[Scalars] = {"apiVersion": "v1"}
_SPEC: Final[Scalars] = {"dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler"}
_SPEC_POINTERS: Final[Scalars] = {"terminationGracePeriodSeconds": 30}

_PROBES: Final = ("livenessProbe", "readinessProbe", "startupProbe")
_HOOKS: Final = ("postStart", "preStop")
#: 0644, decimal as JSON has it.
_FILE_MODE: Final = 420
_VOLUME_MODES: Final = ("secret", "configMap", "downwardAPI", "projected")
_TOKEN: Final[Scalars] = {"expirationSeconds": 3600}
#: Volume types whose sources have defaults beyond a file mode; all are deprecated, and old manifests still carry them.
_OLD_SOURCES: Final[dict[str, Scalars]] = {
    "iscsi": {"iscsiInterface": "default"},
    "rbd": {"pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"},
    "azureDisk": {"cachingMode": "ReadWrite", "kind": "Shared", "fsType": "ext4", "readOnly": False},
    "scaleIO": {"storageMode": "ThinProvisioned", "fsType": "xfs"},
}


def pull_policy(image: str) -> str:
    """``Always`` for the tag latest (also when nothing but a name is given), else ``IfNotPresent``."""
    name, _, digest = image.partition("@")
    head, slash, last = name.rpartition("/")
    base, colon, tag = last.partition(":")
    path = f"{head}{slash}{base}"
    first, has_domain, rest = path.partition("/")
    if has_domain and (":" in first or "." in first or first == "localhost" or first != first.lower()):
        path = rest
    if not path or path != path.lower():
        return "IfNotPresent"  # no valid reference: validation speaks of it elsewhere
    if not colon and not digest:
        return "Always"
    return "Always" if tag == "latest" else "IfNotPresent"


def default_pod(pod: Object) -> None:
    spec = part(pod, "spec")
    for key in ("containers", "initContainers"):
        for container in items(spec, key):
            _requests_from_limits(container)
    if isinstance(spec.get("resources"), dict):
        _pod_level_resources(spec, spec["resources"])
    fill_missing(spec, {"enableServiceLinks": True})
    if spec.get("hostNetwork"):
        for key in ("containers", "initContainers"):
            for container in items(spec, key):
                for port in items(container, "ports"):
                    if not port.get("hostPort") and port.get("containerPort"):
                        port["hostPort"] = port["containerPort"]
    default_pod_spec(spec)
    grace = spec.get("terminationGracePeriodSeconds")
    if isinstance(grace, int) and grace < 0:
        spec["terminationGracePeriodSeconds"] = 1  # of pods alone: a template keeps what it says


def default_template(owner: Object, key: str = "template") -> None:
    """The pod template under ``key``; nothing when the owner has none."""
    template = owner.get(key)
    if isinstance(template, dict):
        part(template, "metadata")
        default_pod_spec(part(template, "spec"))


def default_pod_spec(spec: Object) -> None:
    fill_empty(spec, _SPEC)
    fill_missing(spec, _SPEC_POINTERS)
    part(spec, "securityContext")
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for volume in items(spec, "volumes"):
        _default_volume(volume)
    for key in ("initContainers", "containers", "ephemeralContainers"):
        for container in items(spec, key):
            _default_container(container)


def _default_container(container: Object) -> None:
    if not container.get("imagePullPolicy"):
        container["imagePullPolicy"] = pull_policy(container.get("image") or "")
    fill_empty(container, _CONTAINER)
    part(container, "resources")
    for port in items(container, "ports"):
        fill_empty(port, _PORT)
    for variable in items(container, "env"):
        source = variable.get("valueFrom")
        if source and source.get("fieldRef") is not None:
            fill_empty(source["fieldRef"], _FIELD_REF)
    for key in _PROBES:
        probe = container.get(key)
        if isinstance(probe, dict):
            fill_empty(probe, _PROBE)
            if isinstance(probe.get("httpGet"), dict):
                fill_empty(probe["httpGet"], _HTTP_GET)
            if isinstance(probe.get("grpc"), dict):
                fill_missing(probe["grpc"], {"service": ""})
    lifecycle = container.get("lifecycle")
    if lifecycle:
        for key in _HOOKS:
            hook = lifecycle.get(key)
            if hook and isinstance(hook.get("httpGet"), dict):
                fill_empty(hook["httpGet"], _HTTP_GET)


def _default_volume(volume: Object) -> None:
    if len(volume) < 2:
        volume["emptyDir"] = {}
        return
    for key, source in volume.items():
        if not isinstance(source, dict):
            continue
        if key in _VOLUME_MODES:
            fill_missing(source, {"defaultMode": _FILE_MODE})
            if key == "downwardAPI":
                _default_files(source)
            elif key == "projected":
                for projection in items(source, "sources"):
                    if projection.get("downwardAPI"):
                        _default_files(projection["downwardAPI"])
                    if isinstance(projection.get("serviceAccountToken"), dict):
                        fill_missing(projection["serviceAccountToken"], _TOKEN)
        elif key == "hostPath":
            fill_missing(source, {"type": ""})
        elif key == "image":
            if not source.get("pullPolicy"):
                source["pullPolicy"] = pull_policy(source.get("reference") or "")
        elif key == "ephemeral":
            if isinstance(source.get("volumeClaimTemplate"), dict):
                part(source["volumeClaimTemplate"], "metadata")
                default_claim_spec(part(source["volumeClaimTemplate"], "spec"))
        elif key in _OLD_SOURCES:
            fill_missing(source, _OLD_SOURCES[key])


def _default_files(source: Object) -> None:
    for file in items(source, "items"):
        if file.get("fieldRef"):
            fill_empty(file["fieldRef"], _FIELD_REF)


def default_claim_spec(spec: Object) -> None:
    """PersistentVolumeClaimSpec, in a claim or in a template of one."""
    fill_missing(spec, {"volumeMode": "Filesystem"})
    part(spec, "resources")


def _requests_from_limits(container: Object) -> None:
    resources = container.get("resources")
    if not resources or not resources.get("limits"):
        return
    requests = part(resources, "requests")
    for name, quantity in resources["limits"].items():
        requests.setdefault(name, quantity)


# --- pod-level resources (KEP-2837) ------------------------------------------------------------------------------------


def _pod_level(name: str) -> bool:
    return name in ("cpu", "memory") or name.startswith("hugepages-")


def _total(spec: Object, side: str) -> dict[str, str]:
    """What the pod's containers ask for together: running ones add up, each init container needs its own at its turn."""
    running: dict[str, str] = {}
    for container in items(spec, "containers"):
        _add(running, container, side)
    sidecars: dict[str, str] = {}
    peak: dict[str, str] = {}
    for container in items(spec, "initContainers"):
        if container.get("restartPolicy") == "Always":
            _add(running, container, side)
            _add(sidecars, container, side)
            _raise_to(peak, sidecars)
        else:
            turn = dict(sidecars)
            _add(turn, container, side)
            _raise_to(peak, turn)
    _raise_to(running, peak)
    return running


def _add(total: dict[str, str], container: Object, side: str) -> None:
    for name, quantity in ((container.get("resources") or {}).get(side) or {}).items():
        if _pod_level(name):
            try:
                total[name] = quantities.add(total[name], quantity) if name in total else quantities.canonical(quantity)
            except ValueError:
                continue  # validation names it


def _raise_to(total: dict[str, str], floor: dict[str, str]) -> None:
    for name, quantity in floor.items():
        if name not in total or quantities.compare(quantity, total[name]) > 0:
            total[name] = quantity


def _pod_level_resources(spec: Object, resources: Object) -> None:
    requests, limits = dict(resources.get("requests") or {}), dict(resources.get("limits") or {})
    if not requests and not limits:
        return
    for name, quantity in _total(spec, "limits").items():
        if name.startswith("hugepages-") and name not in requests:
            limits.setdefault(name, quantity)
    if limits:
        for name, quantity in _total(spec, "requests").items():
            if name in ("cpu", "memory"):
                requests.setdefault(name, quantity)
        for name, quantity in limits.items():
            if _pod_level(name):
                requests.setdefault(name, quantity)
    for key, values in (("requests", requests), ("limits", limits)):
        if values:
            resources[key] = values
