"""Security contexts: users and groups, seccomp, AppArmor, sysctls, Windows options.

Enters: the securityContext of a pod or a container, and the pod's annotations that did the same before there were fields.
Leaves: causes appended to ``out``.
Holds: privileged containers are allowed (as kubelet and kube-apiserver allow them with --allow-privileged).
Source: core/validation validatePodSpecSecurityContext, ValidateSecurityContext.
Next: api.validation.podspec, api.validation.containers.
"""

from __future__ import annotations

import re
from typing import Final

from edgekube.api import names
from edgekube.api.objects import Object
from edgekube.api.validation import causes, inner
from edgekube.api.validation.fields import Out, check, check_descending_path, dns_subdomain, items, part, text

_SYSCTL: Final = r"([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SYSCTL_RE: Final = re.compile(_SYSCTL)
_SYSCTL_LENGTH_MAX: Final = 253
_NET_SYSCTLS: Final = ("net.", "net/")
_IPC_SYSCTLS: Final = (
    "kernel.shm",
    "kernel.msg",
    "kernel.sem",
    "fs.mqueue.",
    "kernel/shm",
    "kernel/msg",
    "kernel/sem",
    "fs/mqueue/",
)
_PROFILES: Final = ("Localhost", "RuntimeDefault", "Unconfined")
_APPARMOR_PATH_BYTES_MAX: Final = 4095
_SECCOMP_POD_KEY: Final = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER_PREFIX: Final = "container.seccomp.security.alpha.kubernetes.io/"
APPARMOR_PREFIX: Final = "container.apparmor.security.beta.kubernetes.io/"


def _check_ids(out: Out, context: Object, keys: tuple[str, ...], field: str) -> None:
    for key in keys:
        value = context.get(key)
        if isinstance(value, int):
            check(out, names.user_or_group_id(value), f"{field}.{key}", value)


def check_pod_security(out: Out, spec: Object, field: str) -> None:
    context = part(spec, "securityContext")
    path = f"{field}.securityContext"
    if not context:
        return
    _check_ids(out, context, ("fsGroup", "runAsUser", "runAsGroup"), path)
    for i, group in enumerate(context.get("supplementalGroups") or ()):
        check(out, names.user_or_group_id(group or 0), f"{path}.supplementalGroups[{i}]", group)
    _check_sysctls(out, spec, context, f"{path}.sysctls")
    for key, supported in (
        ("fsGroupChangePolicy", ("Always", "OnRootMismatch")),
        ("supplementalGroupsPolicy", ("Merge", "Strict")),
        ("seLinuxChangePolicy", ("MountOption", "Recursive")),
    ):
        value = context.get(key)
        if value is not None and value not in supported:
            out.append(causes.not_supported(f"{path}.{key}", value, supported))
    check_seccomp(out, context.get("seccompProfile"), f"{path}.seccompProfile")
    check_apparmor(out, context.get("appArmorProfile"), f"{path}.appArmorProfile")
    _check_windows(out, context.get("windowsOptions"), f"{path}.windowsOptions")


def _check_sysctls(out: Out, spec: Object, context: Object, field: str) -> None:
    seen: set[str] = set()
    for i, sysctl in enumerate(items(context, "sysctls")):
        path, name = f"{field}[{i}].name", text(sysctl, "name")
        if not name:
            out.append(causes.required(path))
        elif len(name) > _SYSCTL_LENGTH_MAX or not _SYSCTL_RE.fullmatch(name):
            detail = f"must have at most {_SYSCTL_LENGTH_MAX} characters and match regex ^{_SYSCTL}$"
            out.append(causes.invalid(path, name, detail))
        elif name in seen:
            out.append(causes.duplicate(path, name))
        if spec.get("hostNetwork") and name.startswith(_NET_SYSCTLS):
            out.append(causes.invalid(path, name, "may not be specified when 'hostNetwork' is true"))
        if spec.get("hostIPC") and name.startswith(_IPC_SYSCTLS):
            out.append(causes.invalid(path, name, "may not be specified when 'hostIPC' is true"))
        seen.add(name)


def check_seccomp(out: Out, profile: Object | None, field: str) -> None:
    if profile is None:
        return
    kind, local = text(profile, "type"), profile.get("localhostProfile")
    if not kind:
        out.append(causes.required(f"{field}.type", "type is required when seccompProfile is set"))
    elif kind not in _PROFILES:
        out.append(causes.not_supported(f"{field}.type", kind, _PROFILES))
    if kind == "Localhost":
        if local is None:
            out.append(causes.required(f"{field}.localhostProfile", "must be set when seccomp type is Localhost"))
        else:
            check_descending_path(out, local, f"{field}.localhostProfile")
    elif local is not None:
        detail = "can only be set when seccomp type is Localhost"
        out.append(causes.invalid(f"{field}.localhostProfile", inner.inner(profile, inner.SECCOMP), detail))


def check_apparmor(out: Out, profile: Object | None, field: str) -> None:
    if profile is None:
        return
    kind, local = text(profile, "type"), profile.get("localhostProfile")
    path = f"{field}.localhostProfile"
    if kind == "Localhost":
        if not local:
            out.append(causes.required(path, "must be set when AppArmor type is Localhost"))
        elif local != local.strip():
            out.append(causes.invalid(path, local, "must not be padded with whitespace"))
        if local and len(local) > _APPARMOR_PATH_BYTES_MAX:
            out.append(causes.too_long(path, _APPARMOR_PATH_BYTES_MAX))
    elif kind in ("RuntimeDefault", "Unconfined"):
        if local is not None:
            out.append(causes.invalid(path, local, "can only be set when AppArmor type is Localhost"))
    elif not kind:
        out.append(causes.required(f"{field}.type", "type is required when appArmorProfile is set"))
    else:
        out.append(causes.not_supported(f"{field}.type", kind, _PROFILES))


def _check_windows(out: Out, options: Object | None, field: str) -> None:
    if not options:
        return
    name = options.get("gmsaCredentialSpecName")
    if name is not None:
        check(out, dns_subdomain(name), f"{field}.gmsaCredentialSpecName", name)
    for key in ("gmsaCredentialSpec", "runAsUserName"):
        if options.get(key) == "":
            out.append(causes.invalid(f"{field}.{key}", "", f"{key} cannot be an empty string"))


def check_container_security(out: Out, context: Object | None, host_users: bool, field: str) -> None:
    if not context:
        return
    _check_ids(out, context, ("runAsUser", "runAsGroup"), field)
    proc_mount = context.get("procMount")
    if proc_mount is not None:
        if proc_mount not in ("Default", "Unmasked"):
            out.append(causes.not_supported(f"{field}.procMount", proc_mount, ("Default", "Unmasked")))
        elif host_users and proc_mount == "Unmasked":
            out.append(causes.invalid(f"{field}.procMount", proc_mount, "`hostUsers` must be false to use `Unmasked`"))
    check_seccomp(out, context.get("seccompProfile"), f"{field}.seccompProfile")
    if context.get("allowPrivilegeEscalation") is False:
        if context.get("privileged"):
            detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            out.append(causes.invalid(field, inner.inner(context, inner.SECURITY_CONTEXT), detail))
        if "CAP_SYS_ADMIN" in (part(context, "capabilities").get("add") or ()):
            detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            out.append(causes.invalid(field, inner.inner(context, inner.SECURITY_CONTEXT), detail))
    _check_windows(out, context.get("windowsOptions"), f"{field}.windowsOptions")
    check_apparmor(out, context.get("appArmorProfile"), f"{field}.appArmorProfile")


# --- annotations of old ------------------------------------------------------------------------------------------------


def _check_seccomp_text(out: Out, profile: str, field: str) -> None:
    if profile in ("runtime/default", "docker/default", "unconfined"):
        return
    if profile.startswith("localhost/"):
        check_descending_path(out, profile.removeprefix("localhost/"), field)
    else:
        out.append(causes.invalid(field, profile, "must be a valid seccomp profile"))


def check_security_annotations(out: Out, annotations: dict[str, str], spec: Object, field: str) -> None:
    for key, value in annotations.items():
        value = value or ""
        if key == _SECCOMP_POD_KEY or key.startswith(_SECCOMP_CONTAINER_PREFIX):
            _check_seccomp_text(out, value, f"{field}.{key}")
        elif key.startswith(APPARMOR_PREFIX):
            name = key.removeprefix(APPARMOR_PREFIX)
            containers = (one for which in ("containers", "initContainers", "ephemeralContainers") for one in items(spec, which))
            if all(text(container, "name") != name for container in containers):
                out.append(causes.invalid(f"{field}[{key}]", name, "container not found"))
            if value and value not in ("runtime/default", "unconfined") and not value.startswith("localhost/"):
                detail = f"invalid AppArmor profile name: {causes.quoted(value)}"
                out.append(causes.invalid(f"{field}[{key}]", value, detail))
