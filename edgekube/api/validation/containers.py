"""Containers: ordinary, init and ephemeral ones.

Enters: the container lists of a PodSpec and what they refer to.
Leaves: causes appended to ``out``.
Source: core/validation validateContainers, validateInitContainers, validateEphemeralContainers, validateProbe, validateHandler.
Next: api.validation.podspec.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from edgekube.api import names
from edgekube.api.objects import Object
from edgekube.api.validation import causes
from edgekube.api.validation.fields import (
    PROTOCOLS,
    Out,
    check,
    check_descending_path,
    check_nonnegative,
    check_one_of,
    check_one_of_given,
    check_port,
    dns_label,
    items,
    number,
    part,
    port_name,
    text,
)
from edgekube.api.validation.resources import check_requirements
from edgekube.api.validation.security import check_container_security
from edgekube.api.validation.variables import check_env, check_env_from

_PULL_POLICIES: Final = ("Always", "IfNotPresent", "Never")
_MESSAGE_POLICIES: Final = ("File", "FallbackToLogsOnError")
_PROBE_NUMBERS: Final = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")
_HANDLERS: Final = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")
_PROBES: Final = ("livenessProbe", "readinessProbe", "startupProbe")
_PROPAGATIONS: Final = ("Bidirectional", "HostToContainer", "None")
_RECURSIVE: Final = ("Disabled", "Enabled", "IfPossible")
_RESTART_POLICIES: Final = ("Always", "Never", "OnFailure")
_RESTART_ACTIONS: Final = ("Restart", "RestartAllContainers")
#: What an ephemeral container may not have, in upstream's order of fields.
_NOT_EPHEMERAL: Final = (
    "ports", "resources", "resizePolicy", "restartPolicy", "restartPolicyRules", "livenessProbe", "readinessProbe",
    "startupProbe", "lifecycle",
)  # fmt: skip
_RULES_MAX: Final = 20
_EXIT_CODES_MAX: Final = 255


class Surroundings(Struct, frozen=True):
    """What a container's fields refer to in its pod."""

    volumes: dict[str, Object]
    claims: set[str]
    grace_seconds: int | None
    restart_policy: str
    host_users: bool
    is_pod: bool


def check_containers(out: Out, spec: Object, around: Surroundings, field: str) -> None:
    containers = items(spec, "containers")
    if not containers:
        out.append(causes.required(f"{field}.containers"))
    seen: set[str] = set()
    for i, container in enumerate(containers):
        path, name = f"{field}.containers[{i}]", text(container, "name")
        _check_common(out, container, around, path)
        if name in seen:
            out.append(causes.duplicate(f"{path}.name", name))
        seen.add(name)
        _check_lifecycle_and_probes(out, container, around, path)
        _check_restart_rules(out, container, path)
    _check_host_ports(out, containers, [f"{field}.containers[{i}]" for i in range(len(containers))])


def check_init_containers(out: Out, spec: Object, around: Surroundings, field: str) -> None:
    init = items(spec, "initContainers")
    if not init:
        return
    seen = {text(container, "name") for container in items(spec, "containers")}
    for i, container in enumerate(init):
        path, name = f"{field}.initContainers[{i}]", text(container, "name")
        _check_common(out, container, around, path)
        policy = container.get("restartPolicy")
        if policy is not None:
            _check_restart_rules(out, container, path)
        elif container.get("restartPolicyRules"):
            out.append(causes.required(f"{path}.restartPolicy", "must specify restartPolicy when restart rules are used"))
        if name in seen:
            out.append(causes.duplicate(f"{path}.name", name))
        elif name:
            seen.add(name)
        # One by one: init containers do not run together. Upstream names index 0 for all of them.
        _check_host_ports(out, [container], [f"{field}.initContainers[0]"])
        if policy == "Always":
            _check_lifecycle_and_probes(out, container, around, path)
        else:
            for key in ("lifecycle", *_PROBES):
                if container.get(key) is not None:
                    detail = "may not be set for init containers without restartPolicy=Always"
                    out.append(causes.forbidden(f"{path}.{key}", detail))
            for j, resize in enumerate(items(container, "resizePolicy")):
                if resize.get("restartPolicy") == "RestartContainer":
                    detail = "must not be set to 'RestartContainer' for non-sidecar initContainers"
                    out.append(causes.invalid(f"{path}.resizePolicy[{j}].restartPolicy", "RestartContainer", detail))


def check_ephemeral_containers(out: Out, spec: Object, around: Surroundings, field: str) -> None:
    ephemeral = items(spec, "ephemeralContainers")
    if not ephemeral:
        return
    others = {text(one, "name") for key in ("containers", "initContainers") for one in items(spec, key)}
    seen = set(others)
    for i, container in enumerate(ephemeral):
        path, name = f"{field}.ephemeralContainers[{i}]", text(container, "name")
        _check_common(out, container, around, path)
        if name in seen:
            out.append(causes.duplicate(f"{path}.name", name))
        seen.add(name)
        target = text(container, "targetContainerName")
        if target and target not in others:
            out.append(causes.not_found(f"{path}.targetContainerName", target))
        for key in _NOT_EPHEMERAL:
            if container.get(key):
                out.append(causes.forbidden(f"{path}.{key}", "cannot be set for an Ephemeral Container"))
        for j, mount in enumerate(items(container, "volumeMounts")):
            for key in ("subPath", "subPathExpr"):
                if mount.get(key):
                    detail = "cannot be set for an Ephemeral Container"
                    out.append(causes.forbidden(f"{path}.volumeMounts[{j}].{key}", detail))


def _check_common(out: Out, container: Object, around: Surroundings, field: str) -> None:
    name, image = text(container, "name"), text(container, "image")
    if not name:
        out.append(causes.required(f"{field}.name"))
    else:
        check(out, dns_label(name), f"{field}.name", name)
    if not image:
        out.append(causes.required(f"{field}.image"))
    elif around.is_pod and image != image.strip():
        out.append(causes.invalid(f"{field}.image", image, "must not have leading or trailing whitespace"))
    check_one_of(out, container, "terminationMessagePolicy", field, _MESSAGE_POLICIES)
    if container.get("ports"):
        _check_ports(out, container, f"{field}.ports")
    if container.get("env"):
        check_env(out, container, f"{field}.env")
    if container.get("envFrom"):
        check_env_from(out, container, f"{field}.envFrom")
    if container.get("volumeMounts"):
        _check_mounts(out, container, around.volumes, f"{field}.volumeMounts")
    if container.get("volumeDevices"):
        _check_devices(out, container, around.volumes, f"{field}.volumeDevices")
    check_one_of(out, container, "imagePullPolicy", field, _PULL_POLICIES)
    check_requirements(out, part(container, "resources"), around.claims, f"{field}.resources")
    if container.get("resizePolicy"):
        _check_resize(out, container, around, f"{field}.resizePolicy")
    check_container_security(out, container.get("securityContext"), around.host_users, f"{field}.securityContext")


# --- ports -----------------------------------------------------------------------------------------------------------


def _check_ports(out: Out, container: Object, field: str) -> None:
    seen: set[str] = set()
    for i, port in enumerate(items(container, "ports")):
        path, name, container_port = f"{field}[{i}]", text(port, "name"), number(port, "containerPort")
        if name:
            messages = port_name(name)
            if messages:
                check(out, messages, f"{path}.name", name)
            elif name in seen:
                out.append(causes.duplicate(f"{path}.name", name))
            else:
                seen.add(name)
        if not container_port:
            out.append(causes.required(f"{path}.containerPort"))
        else:
            check(out, names.port_number(container_port), f"{path}.containerPort", container_port)
        host_port = number(port, "hostPort")
        if host_port:
            check(out, names.port_number(host_port), f"{path}.hostPort", host_port)
        check_one_of(out, port, "protocol", path, PROTOCOLS)


def _check_host_ports(out: Out, containers: list[Object], paths: list[str]) -> None:
    taken: set[str] = set()
    for container, path in zip(containers, paths, strict=True):
        for i, port in enumerate(items(container, "ports")):
            if port.get("hostPort"):
                key = f"{text(port, 'protocol')}/{text(port, 'hostIP')}/{port['hostPort']}"
                if key in taken:
                    out.append(causes.duplicate(f"{path}.ports[{i}].hostPort", key))
                taken.add(key)


# --- mounts and devices -----------------------------------------------------------------------------------------------


def _check_mounts(out: Out, container: Object, volumes: dict[str, Object], field: str) -> None:
    devices = {text(device, "name"): text(device, "devicePath") for device in items(container, "volumeDevices")}
    seen: set[str] = set()
    for i, mount in enumerate(items(container, "volumeMounts")):
        path, name, mount_path = f"{field}[{i}]", text(mount, "name"), text(mount, "mountPath")
        if not name:
            out.append(causes.required(f"{path}.name"))
        volume = volumes.get(name)
        if volume is None:
            out.append(causes.not_found(f"{path}.name", name))
        if not mount_path:
            out.append(causes.required(f"{path}.mountPath"))
        if mount_path in seen:
            out.append(causes.invalid(f"{path}.mountPath", mount_path, "must be unique"))
        seen.add(mount_path)
        if devices:
            if name in devices:
                out.append(causes.invalid(f"{path}.name", name, "must not already exist in volumeDevices"))
            if mount_path in devices.values():
                detail = "must not already exist as a path in volumeDevices"
                out.append(causes.invalid(f"{path}.mountPath", mount_path, detail))
        _check_sub_path(out, mount, volume, field, path)
        if mount.get("mountPropagation") is not None:
            _check_propagation(out, mount["mountPropagation"], container, f"{field}.mountPropagation")
        if mount.get("recursiveReadOnly") is not None:
            _check_recursive_read_only(out, mount, f"{field}.recursiveReadOnly")


def _check_sub_path(out: Out, mount: Object, volume: Object | None, field: str, path: str) -> None:
    sub_path, expression = text(mount, "subPath"), text(mount, "subPathExpr")
    if volume is not None and volume.get("image") is not None and expression:
        out.append(causes.invalid(f"{path}.subPathExpr", expression, "not allowed in image volume sources"))
    if sub_path:
        check_descending_path(out, sub_path, f"{field}.subPath")
    if expression:
        if sub_path:
            detail = "subPathExpr and subPath are mutually exclusive"
            out.append(causes.invalid(f"{path}.subPathExpr", expression, detail))
        check_descending_path(out, expression, f"{field}.subPathExpr")


def _check_propagation(out: Out, propagation: Any, container: Object, field: str) -> None:
    if propagation not in _PROPAGATIONS:
        out.append(causes.not_supported(field, propagation, _PROPAGATIONS))
    if propagation == "Bidirectional" and not part(container, "securityContext").get("privileged"):
        detail = "Bidirectional mount propagation is available only to privileged containers"
        out.append(causes.forbidden(field, detail))


def _check_recursive_read_only(out: Out, mount: Object, field: str) -> None:
    value = mount["recursiveReadOnly"]
    if value not in _RECURSIVE:
        out.append(causes.not_supported(field, value, _RECURSIVE))
    elif value != "Disabled":
        if not mount.get("readOnly"):
            out.append(causes.forbidden(field, "may only be specified when readOnly is true"))
        if mount.get("mountPropagation") not in (None, "None"):
            detail = "may only be specified when mountPropagation is None or not specified"
            out.append(causes.forbidden(field, detail))


def _check_devices(out: Out, container: Object, volumes: dict[str, Object], field: str) -> None:
    mounts = {text(mount, "name"): text(mount, "mountPath") for mount in items(container, "volumeMounts")}
    seen_names: set[str] = set()
    seen_paths: set[str] = set()
    for i, device in enumerate(items(container, "volumeDevices")):
        path, name, device_path = f"{field}[{i}]", text(device, "name"), text(device, "devicePath")
        volume = volumes.get(name)
        if not name:
            out.append(causes.required(f"{path}.name"))
        if name in seen_names:
            out.append(causes.invalid(f"{path}.name", name, "must be unique"))
        if volume is None:
            out.append(causes.not_found(f"{path}.name", name))
        elif volume.get("persistentVolumeClaim") is None and volume.get("ephemeral") is None:
            detail = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            out.append(causes.invalid(f"{path}.name", name, detail))
        if not device_path:
            out.append(causes.required(f"{path}.devicePath"))
        if device_path in seen_paths:
            out.append(causes.invalid(f"{path}.devicePath", device_path, "must be unique"))
        if ".." in device_path.split("/"):
            out.append(causes.invalid(f"{path}.devicePath", device_path, "can not contain backsteps ('..')"))
        else:
            seen_paths.add(device_path)
        if name in mounts:
            out.append(causes.invalid(f"{path}.name", name, "must not already exist in volumeMounts"))
        if device_path in mounts.values():
            detail = "must not already exist as a path in volumeMounts"
            out.append(causes.invalid(f"{path}.devicePath", device_path, detail))
        if name:
            seen_names.add(name)


# --- probes and hooks -------------------------------------------------------------------------------------------------


def _check_lifecycle_and_probes(out: Out, container: Object, around: Surroundings, field: str) -> None:
    lifecycle = container.get("lifecycle")
    if lifecycle:
        for key in ("postStart", "preStop"):
            if lifecycle.get(key) is not None:
                _check_handler(out, lifecycle[key], around.grace_seconds, f"{field}.lifecycle.{key}")
    for key in _PROBES:
        probe = container.get(key)
        if probe is not None:
            _check_probe(out, probe, key, around, f"{field}.{key}")


def _check_probe(out: Out, probe: Object, key: str, around: Surroundings, field: str) -> None:
    _check_handler(out, probe, around.grace_seconds, field)
    for count in _PROBE_NUMBERS:
        check_nonnegative(out, probe, count, field)
    grace = probe.get("terminationGracePeriodSeconds")
    if isinstance(grace, int) and grace <= 0:
        out.append(causes.invalid(f"{field}.terminationGracePeriodSeconds", grace, "must be greater than 0"))
    if key == "readinessProbe":
        if grace is not None:
            detail = "must not be set for readinessProbes"
            out.append(causes.invalid(f"{field}.terminationGracePeriodSeconds", grace, detail))
    elif number(probe, "successThreshold") != 1:
        out.append(causes.invalid(f"{field}.successThreshold", number(probe, "successThreshold"), "must be 1"))


def _check_handler(out: Out, handler: Object, grace_seconds: int | None, field: str) -> None:
    given = [key for key in _HANDLERS if handler.get(key) is not None]
    if not given:
        out.append(causes.required(field, "must specify a handler type"))
        return
    for key in given[1:]:
        out.append(causes.forbidden(f"{field}.{key}", "may not specify more than 1 handler type"))
    kind = given[0]
    action, path = handler[kind], f"{field}.{kind}"
    if kind == "exec":
        if not action.get("command"):
            out.append(causes.required(f"{path}.command"))
    elif kind == "httpGet":
        if not action.get("path"):
            out.append(causes.required(f"{path}.path"))
        check_port(out, action.get("port"), f"{path}.port")
        scheme = text(action, "scheme")
        if scheme not in ("HTTP", "HTTPS"):
            out.append(causes.not_supported(f"{path}.scheme", scheme, ("HTTP", "HTTPS")))
        for header in items(action, "httpHeaders"):
            check(out, names.http_header_name(text(header, "name")), f"{path}.httpHeaders", text(header, "name"))
    elif kind == "sleep":
        seconds = number(action, "seconds")
        if grace_seconds is not None and not 0 <= seconds <= grace_seconds:
            detail = f"must be non-negative and less than terminationGracePeriodSeconds ({grace_seconds})"
            out.append(causes.invalid(path, seconds, detail))
    else:
        check_port(out, action.get("port"), f"{path}.port")


# --- restarts and resizes ---------------------------------------------------------------------------------------------


def _check_restart_rules(out: Out, container: Object, field: str) -> None:
    check_one_of_given(out, container, "restartPolicy", field, _RESTART_POLICIES)
    rules = items(container, "restartPolicyRules")
    if not rules:
        return
    path = f"{field}.restartPolicyRules"
    if container.get("restartPolicy") is None:
        out.append(causes.required(f"{field}.restartPolicy", "must specify restartPolicy when restart rules are used"))
    if len(rules) > _RULES_MAX:
        out.append(causes.too_many(path, len(rules), _RULES_MAX))
    for i, rule in enumerate(rules):
        if text(rule, "action") not in _RESTART_ACTIONS:
            out.append(causes.not_supported(f"{path}[{i}].action", text(rule, "action"), _RESTART_ACTIONS))
        codes = rule.get("exitCodes")
        if codes is None:
            out.append(causes.required(f"{path}[{i}].exitCodes", "must be specified"))
            continue
        if text(codes, "operator") not in ("In", "NotIn"):
            out.append(causes.not_supported(f"{path}[{i}].exitCodes.operator", text(codes, "operator"), ("In", "NotIn")))
        if len(codes.get("values") or ()) > _EXIT_CODES_MAX:
            out.append(causes.too_many(f"{path}[{i}].exitCodes.values", len(codes["values"]), _EXIT_CODES_MAX))


def _check_resize(out: Out, container: Object, around: Surroundings, field: str) -> None:
    seen: set[str] = set()
    for i, policy in enumerate(items(container, "resizePolicy")):
        name, restart = text(policy, "resourceName"), text(policy, "restartPolicy")
        if name in seen:
            out.append(causes.duplicate(f"{field}[{i}]", name))
        seen.add(name)
        for value, supported in ((name, ("cpu", "memory")), (restart, ("NotRequired", "RestartContainer"))):
            if not value:
                out.append(causes.required(field))
            elif value not in supported:
                out.append(causes.not_supported(field, value, supported))
        if around.restart_policy == "Never" and restart != "NotRequired":
            detail = "must be 'NotRequired' when pod `restartPolicy` is 'Never'"
            out.append(causes.invalid(field, restart, detail))
