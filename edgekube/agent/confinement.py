"""seccomp and AppArmor: which profile a container asks for, and whether this node can enforce it.

Enters: profiles of pod and container, annotations of before the fields, the node's directory of seccomp profiles.
Leaves: ``runtime/default``, ``unconfined`` or ``localhost/...``; ConfigProblem for a profile without a name; why a pod that asks
for AppArmor is not admitted.
Holds: pure but for ``kernel_has_apparmor``. A profile of seccomp is a file of the node, its path never leaves the directory.
Source: Kubernetes documentation, "Restrict a Container's Syscalls with seccomp", "Restrict a Container's Access to Resources with
AppArmor".
Next: agent.security, agent.admission.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from edgekube.agent.podspec import all_containers
from edgekube.agent.problems import ConfigProblem
from edgekube.api.objects import Object, annotations_of, spec_of

#: Before v1.30 the profile of container NAME was annotation PREFIX + NAME.
APPARMOR_ANNOTATION: Final = "container.apparmor.security.beta.kubernetes.io/"
APPARMOR_REASON: Final = "AppArmor"


def seccomp_of(profile: Object | None, directory: Path) -> str:
    if not profile:
        return "unconfined"
    match profile.get("type"):
        case "RuntimeDefault":
            return "runtime/default"
        case "Localhost":
            name = str(profile.get("localhostProfile") or "")
            if not name:
                raise ConfigProblem("localhostProfile must be set if seccompProfile type is Localhost.")
            path = Path(os.path.normpath(directory / name))
            if not path.is_relative_to(directory):
                raise ConfigProblem(f"seccomp profile {name!r} is outside of the node's directory of profiles")
            return f"localhost/{path}"
        case _:
            return "unconfined"


def apparmor_profile(pod: Object, container: Object) -> Object | None:
    """The container's field, its annotation, the pod's field: the first that is there."""
    own: Object | None = (container.get("securityContext") or {}).get("appArmorProfile")
    if own is not None:
        return own
    text = annotations_of(pod).get(APPARMOR_ANNOTATION + str(container.get("name")), "")
    if text == "runtime/default":
        return {"type": "RuntimeDefault"}
    if text == "unconfined":
        return {"type": "Unconfined"}
    if text.startswith("localhost/"):
        return {"type": "Localhost", "localhostProfile": text.removeprefix("localhost/")}
    pods: Object | None = (spec_of(pod).get("securityContext") or {}).get("appArmorProfile")
    return pods


def apparmor_of(pod: Object, container: Object) -> str:
    """ "" where nobody asks: the runtime has a default of its own."""
    profile = apparmor_profile(pod, container)
    if profile is None:
        return ""
    match profile.get("type"):
        case "RuntimeDefault":
            return "runtime/default"
        case "Unconfined":
            return "unconfined"
        case "Localhost":
            if not profile.get("localhostProfile"):
                raise ConfigProblem("missing localhost apparmor profile name")
            return f"localhost/{profile['localhostProfile']}"
    raise ConfigProblem(f'unknown apparmor profile type: "{profile.get("type")}"')


def apparmor_refusal(pod: Object, kernel_has_it: bool) -> str:
    """Why this pod cannot run here; "" when it can."""
    pods = (spec_of(pod).get("securityContext") or {}).get("appArmorProfile")
    profiles = [profile for container in all_containers(pod) if (profile := apparmor_profile(pod, container)) is not None]
    if all(profile.get("type") == "Unconfined" for profile in (*profiles, *([pods] if pods else []))):
        return ""
    if not kernel_has_it:
        return "Cannot enforce AppArmor: AppArmor is not enabled on the host"
    for profile in profiles:
        if profile.get("type") == "Localhost" and not str(profile.get("localhostProfile") or "").strip():
            return "Cannot enforce AppArmor: invalid empty AppArmor profile name"
    return ""


def kernel_has_apparmor(sys: Path = Path("/sys")) -> bool:
    try:
        return (sys / "kernel/security/apparmor").exists() and (sys / "module/apparmor/parameters/enabled").read_text()[:1] == "Y"
    except OSError:
        return False
