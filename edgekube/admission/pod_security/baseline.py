"""The checks of the baseline standard: nothing that is known to give a pod its node.

Enters: a pod's metadata and spec.
Leaves: a Finding, or None.
Holds: pure; words and lists are upstream's.
Source: kubernetes.io/docs/concepts/security/pod-security-standards (Baseline); k8s.io/pod-security-admission policy.
Next: admission.pod_security.evaluate.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from edgekube.admission.pod_security.wording import (
    Finding,
    containers_of,
    name_in,
    named,
    one_or_many,
    quoted,
    security_of,
    setters,
    setting,
)
from edgekube.api.objects import Object

_APPARMOR_ANNOTATION: Final = "container.apparmor.security.beta.kubernetes.io/"
_SECCOMP_POD: Final = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER: Final = "container.seccomp.security.alpha.kubernetes.io/"
GOOD_PROFILES: Final = ("RuntimeDefault", "Localhost")
_CAPABILITIES: Final = frozenset(
    {
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP", "SETGID",
        "SETPCAP", "SETUID", "SYS_CHROOT",
    }
)  # fmt: skip
_SELINUX_TYPES: Final = ("", "container_t", "container_init_t", "container_kvm_t")
#: Since which minor version a sysctl counts as harmless.
_SYSCTLS: Final = {
    "kernel.shm_rmid_forced": 0,
    "net.ipv4.ip_local_port_range": 0,
    "net.ipv4.tcp_syncookies": 0,
    "net.ipv4.ping_group_range": 0,
    "net.ipv4.ip_unprivileged_port_start": 0,
    "net.ipv4.ip_local_reserved_ports": 27,
    "net.ipv4.tcp_keepalive_time": 29,
    "net.ipv4.tcp_fin_timeout": 29,
    "net.ipv4.tcp_keepalive_intvl": 29,
    "net.ipv4.tcp_keepalive_probes": 29,
    "net.ipv4.tcp_rmem": 32,
    "net.ipv4.tcp_wmem": 32,
}


def _annotation(key: str, value: str) -> str:
    return f"{key}={json.dumps(value, ensure_ascii=False)}"


def app_armor(metadata: Object, spec: Object) -> Finding | None:
    def profile(part: Object) -> str | None:
        found = setting(part, "appArmorProfile")
        return None if found is None else str(found.get("type") or "")

    def is_bad(part: Object) -> bool:
        return profile(part) not in (None, *GOOD_PROFILES)

    who = setters(spec, is_bad)
    values = sorted({str(profile(part)) for part in (spec, *containers_of(spec)) if is_bad(part)})
    annotations = sorted(
        _annotation(key, value)
        for key, value in (metadata.get("annotations") or {}).items()
        if key.startswith(_APPARMOR_ANNOTATION) and value not in ("", "runtime/default") and not value.startswith("localhost/")
    )
    if annotations:
        values += annotations
        who.append(one_or_many(len(annotations), "annotation"))
    if not who:
        return None
    reason = one_or_many(len(values), "forbidden AppArmor profile")
    return Finding(reason, f"{' and '.join(who)} must not set AppArmor profile type to {quoted(values)}")


def capabilities(metadata: Object, spec: Object) -> Finding | None:
    added = {name_in(each): set(setting(each, "capabilities", "add") or ()) - _CAPABILITIES for each in containers_of(spec)}
    who = [name for name, bad in added.items() if bad]
    if not who:
        return None
    values = quoted(sorted(set().union(*added.values())))
    why = f"{named('container', who)} must not include {values} in securityContext.capabilities.add"
    return Finding("non-default capabilities", why)


def host_namespaces(metadata: Object, spec: Object) -> Finding | None:
    found = [f"{key}=true" for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key)]
    return Finding("host namespaces", ", ".join(found)) if found else None


def host_path_volumes(metadata: Object, spec: Object) -> Finding | None:
    found = [name_in(volume) for volume in spec.get("volumes") or () if volume.get("hostPath") is not None]
    return Finding("hostPath volumes", named("volume", found)) if found else None


def host_ports(metadata: Object, spec: Object) -> Finding | None:
    used = {
        name_in(each): {str(port["hostPort"]) for port in each.get("ports") or () if port.get("hostPort")}
        for each in containers_of(spec)
    }
    who = [name for name, ports in used.items() if ports]
    if not who:
        return None
    ports = sorted(set().union(*used.values()))
    verb, noun = one_or_many(len(who), "uses", "use"), one_or_many(len(ports), "hostPort")
    return Finding("hostPort", f"{named('container', who)} {verb} {noun} {', '.join(ports)}")


def _hosts(container: Object) -> Iterable[str]:
    lifecycle = container.get("lifecycle") or {}
    probes = [container.get(key) for key in ("livenessProbe", "readinessProbe", "startupProbe")]
    for action in (*probes, lifecycle.get("postStart"), lifecycle.get("preStop")):
        for way in ("httpGet", "tcpSocket"):
            host = ((action or {}).get(way) or {}).get("host")
            if host:
                yield str(host)


def host_probes(metadata: Object, spec: Object) -> Finding | None:
    used = {name_in(each): set(_hosts(each)) for each in containers_of(spec)}
    who = sorted(name for name, hosts in used.items() if hosts)
    if not who:
        return None
    hosts = sorted(set().union(*used.values()))
    verb, noun = one_or_many(len(who), "uses", "use"), one_or_many(len(hosts), "probe or lifecycle host")
    return Finding("probe or lifecycle host", f"{named('container', who)} {verb} {noun} {quoted(hosts)}")


def privileged(metadata: Object, spec: Object) -> Finding | None:
    who = [name_in(each) for each in containers_of(spec) if setting(each, "privileged")]
    return Finding("privileged", f"{named('container', who)} must not set securityContext.privileged=true") if who else None


def proc_mount(metadata: Object, spec: Object) -> Finding | None:
    mounts = {name_in(each): setting(each, "procMount") for each in containers_of(spec)}
    who = [name for name, mount in mounts.items() if mount not in (None, "Default")]
    if not who:
        return None
    values = quoted(sorted({str(mounts[name]) for name in who}))
    return Finding("procMount", f"{named('container', who)} must not set securityContext.procMount to {values}")


def proc_mount_35(metadata: Object, spec: Object) -> Finding | None:
    """In a user namespace of its own a pod's /proc shows it nothing of the host."""
    return None if has_own_users(spec) else proc_mount(metadata, spec)


def has_own_users(spec: Object) -> bool:
    return spec.get("hostUsers") is False


def _selinux(spec: Object, types: tuple[str, ...]) -> Finding | None:
    def options(part: Object) -> Object:
        found: Object = setting(part, "seLinuxOptions") or {}
        return found

    def is_bad(part: Object) -> bool:
        chosen = options(part)
        return (chosen.get("type") or "") not in types or bool(chosen.get("user")) or bool(chosen.get("role"))

    who = setters(spec, is_bad)
    if not who:
        return None
    parts = [options(part) for part in (spec, *containers_of(spec))]
    bad_types = sorted({str(chosen["type"]) for chosen in parts if (chosen.get("type") or "") not in types})
    what = [named("type", bad_types)] if bad_types else []
    what += [f"{key} may not be set" for key in ("user", "role") if any(chosen.get(key) for chosen in parts)]
    return Finding("seLinuxOptions", f"{' and '.join(who)} set forbidden securityContext.seLinuxOptions: {'; '.join(what)}")


def selinux(metadata: Object, spec: Object) -> Finding | None:
    return _selinux(spec, _SELINUX_TYPES)


def selinux_31(metadata: Object, spec: Object) -> Finding | None:
    return _selinux(spec, (*_SELINUX_TYPES, "container_engine_t"))


def seccomp_annotations(metadata: Object, spec: Object) -> Finding | None:
    """Before the field existed."""
    annotations = metadata.get("annotations") or {}
    keys = (_SECCOMP_POD, *(f"{_SECCOMP_CONTAINER}{name_in(each)}" for each in containers_of(spec)))
    bad = sorted(
        _annotation(key, annotations[key])
        for key in set(keys)
        if key in annotations
        and annotations[key] not in ("runtime/default", "docker/default")
        and not annotations[key].startswith("localhost/")
    )
    if not bad:
        return None
    return Finding("seccompProfile", f"forbidden {one_or_many(len(bad), 'annotation')} {', '.join(bad)}")


def seccomp_profile(part: Object) -> str | None:
    """The type that a pod or a container asks for; None: it asks for none."""
    found = setting(part, "seccompProfile")
    return None if found is None else str(found.get("type") or "")


def seccomp(metadata: Object, spec: Object) -> Finding | None:
    who = setters(spec, lambda part: seccomp_profile(part) not in (None, *GOOD_PROFILES))
    if not who:
        return None
    profiles = {seccomp_profile(part) for part in (spec, *containers_of(spec))} - {None, *GOOD_PROFILES}
    values = quoted(sorted(str(profile) for profile in profiles))
    return Finding("seccompProfile", f"{' and '.join(who)} must not set securityContext.seccompProfile.type to {values}")


def sysctls(since: int, metadata: Object, spec: Object) -> Finding | None:
    """``since``: the minor version whose list counts."""
    names = [str(each.get("name") or "") for each in security_of(spec).get("sysctls") or ()]
    bad = [name for name in names if _SYSCTLS.get(name, since + 1) > since]
    return Finding("forbidden sysctls", ", ".join(bad)) if bad else None


def windows_host_process(metadata: Object, spec: Object) -> Finding | None:
    who = setters(spec, lambda part: bool(setting(part, "windowsOptions", "hostProcess")))
    if not who:
        return None
    return Finding("hostProcess", f"{' and '.join(who)} must not set securityContext.windowsOptions.hostProcess=true")
