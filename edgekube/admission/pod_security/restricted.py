"""The checks that the restricted standard adds: a pod must give up what it does not need.

Enters: a pod's metadata and spec.
Leaves: a Finding, or None.
Holds: pure; words and lists are upstream's.
Source: kubernetes.io/docs/concepts/security/pod-security-standards (Restricted); k8s.io/pod-security-admission policy.
Next: admission.pod_security.evaluate.
"""

from __future__ import annotations

from typing import Final

from edgekube.admission.pod_security.baseline import GOOD_PROFILES, has_own_users, seccomp, seccomp_profile
from edgekube.admission.pod_security.wording import (
    Finding,
    Judge,
    containers_of,
    name_in,
    named,
    one_or_many,
    quoted,
    setters,
    setting,
)
from edgekube.api.objects import Object

_GOOD_VOLUMES: Final = (
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret",
)  # fmt: skip
_OTHER_VOLUMES: Final = (
    "hostPath", "gcePersistentDisk", "awsElasticBlockStore", "gitRepo", "nfs", "iscsi", "glusterfs", "rbd", "flexVolume",
    "cinder", "cephfs", "flocker", "fc", "azureFile", "vsphereVolume", "quobyte", "azureDisk", "photonPersistentDisk",
    "portworxVolume", "scaleIO", "storageos",
)  # fmt: skip


def but_for_windows(judge: Judge) -> Judge:
    """Since 1.25: fields that a Windows pod cannot set are not asked of it."""

    def judged(metadata: Object, spec: Object) -> Finding | None:
        return None if (spec.get("os") or {}).get("name") == "windows" else judge(metadata, spec)

    return judged


def but_for_own_users(judge: Judge) -> Judge:
    """Since 1.35: root in a user namespace of its own is not the node's root."""

    def judged(metadata: Object, spec: Object) -> Finding | None:
        return None if has_own_users(spec) else judge(metadata, spec)

    return judged


def privilege_escalation(metadata: Object, spec: Object) -> Finding | None:
    who = [name_in(each) for each in containers_of(spec) if setting(each, "allowPrivilegeEscalation") is not False]
    if not who:
        return None
    why = f"{named('container', who)} must set securityContext.allowPrivilegeEscalation=false"
    return Finding("allowPrivilegeEscalation != false", why)


def capabilities(metadata: Object, spec: Object) -> Finding | None:
    keeping: list[str] = []
    adding: list[str] = []
    added: set[str] = set()
    for container in containers_of(spec):
        chosen = setting(container, "capabilities") or {}
        if "ALL" not in (chosen.get("drop") or ()):
            keeping.append(name_in(container))
        bad = set(chosen.get("add") or ()) - {"NET_BIND_SERVICE"}
        if bad:
            adding.append(name_in(container))
            added |= bad
    why = []
    if keeping:
        why.append(f'{named("container", keeping)} must set securityContext.capabilities.drop=["ALL"]')
    if adding:
        why.append(f"{named('container', adding)} must not include {quoted(sorted(added))} in securityContext.capabilities.add")
    return Finding("unrestricted capabilities", "; ".join(why)) if why else None


def volumes(metadata: Object, spec: Object) -> Finding | None:
    bad = [volume for volume in spec.get("volumes") or () if not any(volume.get(source) is not None for source in _GOOD_VOLUMES)]
    if not bad:
        return None
    types = sorted({next((kind for kind in _OTHER_VOLUMES if volume.get(kind) is not None), "unknown") for volume in bad})
    verb, noun = one_or_many(len(bad), "uses", "use"), one_or_many(len(types), "restricted volume type")
    why = f"{named('volume', [name_in(volume) for volume in bad])} {verb} {noun} {quoted(types)}"
    return Finding("restricted volume types", why)


def run_as_non_root(metadata: Object, spec: Object) -> Finding | None:
    reason = "runAsNonRoot != true"
    who = setters(spec, lambda part: setting(part, "runAsNonRoot") is False)
    if who:
        return Finding(reason, f"{' and '.join(who)} must not set securityContext.runAsNonRoot=false")
    if setting(spec, "runAsNonRoot"):
        return None
    silent = [name_in(each) for each in containers_of(spec) if setting(each, "runAsNonRoot") is None]
    if not silent:
        return None
    return Finding(reason, f"pod or {named('container', silent)} must set securityContext.runAsNonRoot=true")


def run_as_user(metadata: Object, spec: Object) -> Finding | None:
    who = setters(spec, lambda part: setting(part, "runAsUser") == 0)
    return Finding("runAsUser=0", f"{' and '.join(who)} must not set runAsUser=0") if who else None


def seccomp_set(metadata: Object, spec: Object) -> Finding | None:
    """Nothing bad is set, and something good is."""
    found = seccomp(metadata, spec)
    if found is not None or seccomp_profile(spec) in GOOD_PROFILES:
        return found
    silent = [name_in(each) for each in containers_of(spec) if seccomp_profile(each) is None]
    if not silent:
        return None
    why = f'pod or {named("container", silent)} must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
    return Finding("seccompProfile", why)
