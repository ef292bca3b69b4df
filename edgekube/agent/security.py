"""securityContext of pod and container, as the runtime takes it.

Enters: the pod, one container, the image's user.
Leaves: Security, or ConfigProblem when the pod forbids what the image wants.
Holds: pure; the container's setting wins over the pod's. What the node cannot enforce is refused when the pod is admitted
(agent.confinement), so that nothing here is silently dropped.
Source: Kubernetes documentation, "Configure a Security Context", "Pod Security Standards".
Next: agent.container_config, agent.sandbox.
"""

from __future__ import annotations

from pathlib import Path

from edgekube.agent.confinement import apparmor_of, seccomp_of
from edgekube.agent.names import full_name
from edgekube.agent.problems import ConfigProblem
from edgekube.agent.sandbox_namespaces import namespaces_of
from edgekube.api.objects import Object, spec_of
from edgekube.containerd.model import IdMapping, Image, Security, SELinux

#: Users and groups are 31 bits wide in the API.
USER_ID_MAX = 2**31 - 1


def pod_context(pod: Object) -> Object:
    context: Object = spec_of(pod).get("securityContext") or {}
    return context


def supplemental_groups(pod: Object) -> tuple[int, ...]:
    context = pod_context(pod)
    own = [] if context.get("fsGroup") is None else [int(context["fsGroup"])]
    return (*own, *(int(group) for group in context.get("supplementalGroups") or []))


def strict_groups(pod: Object) -> bool:
    return pod_context(pod).get("supplementalGroupsPolicy") == "Strict"


def selinux_of(options: Object | None) -> SELinux | None:
    if options is None:
        return None
    return SELinux(*(str(options.get(part) or "") for part in ("user", "role", "type", "level")))


def sandbox_security(pod: Object, users: IdMapping | None = None) -> Security:
    context = pod_context(pod)
    privileged = any(
        (container.get("securityContext") or {}).get("privileged")
        for part in ("initContainers", "containers")
        for container in spec_of(pod).get(part) or []
    )
    return Security(
        namespaces=namespaces_of(pod, users),
        privileged=privileged,
        run_as_user=context.get("runAsUser"),
        # A group alone is refused by containerd: the sandbox's own process has no image to take its user from.
        run_as_group=context.get("runAsGroup") if context.get("runAsUser") is not None else None,
        supplemental_groups=supplemental_groups(pod),
        strict_groups=strict_groups(pod),
        selinux=selinux_of(context.get("seLinuxOptions")),
        # The sandbox's process does nothing but wait: it is confined however little its pod is.
        seccomp="runtime/default",
    )


def container_security(
    pod: Object, container: Object, image: Image | None, seccomp_dir: Path, users: IdMapping | None = None
) -> Security:
    pod_settings, own = pod_context(pod), container.get("securityContext") or {}

    def setting(name: str) -> object:
        value = own.get(name)
        return pod_settings.get(name) if value is None else value

    asked, group = setting("runAsUser"), setting("runAsGroup")
    user, username = _image_user(image) if asked is None else (int(str(asked)), "")
    if setting("runAsNonRoot"):
        _check_not_root(pod, container, user, username, asked=asked is not None)
    capabilities = own.get("capabilities") or {}
    unmasked = own.get("procMount") == "Unmasked"
    return Security(
        namespaces=namespaces_of(pod, users),
        privileged=bool(own.get("privileged")),
        run_as_user=user,
        run_as_username=username,
        run_as_group=int(str(group)) if group is not None else None,
        supplemental_groups=supplemental_groups(pod),
        strict_groups=strict_groups(pod),
        readonly_rootfs=bool(own.get("readOnlyRootFilesystem")),
        no_new_privs=own.get("allowPrivilegeEscalation") is False,
        add_capabilities=tuple(str(name).removeprefix("CAP_") for name in capabilities.get("add") or []),
        drop_capabilities=tuple(str(name).removeprefix("CAP_") for name in capabilities.get("drop") or []),
        masked_paths=() if unmasked else None,
        readonly_paths=() if unmasked else None,
        seccomp=seccomp_of(own.get("seccompProfile") or pod_settings.get("seccompProfile"), seccomp_dir),
        apparmor=apparmor_of(pod, container),
        selinux=selinux_of(own.get("seLinuxOptions") or pod_settings.get("seLinuxOptions")),
    )


def _image_user(image: Image | None) -> tuple[int | None, str]:
    """One of the two is set: an image that names nobody runs as root."""
    if image is not None and image.uid is not None:
        return image.uid, ""
    if image is not None and image.username:
        return None, image.username
    return 0, ""


def _check_not_root(pod: Object, container: Object, user: int | None, username: str, *, asked: bool) -> None:
    where = f'(pod: "{full_name(pod)}", container: {container.get("name")})'
    if user is None:
        raise ConfigProblem(
            f"container has runAsNonRoot and image has non-numeric user ({username}), cannot verify user is non-root {where}"
        )
    if user == 0:
        reason = (
            "container's runAsUser breaks non-root policy" if asked else "container has runAsNonRoot and image will run as root"
        )
        raise ConfigProblem(f"{reason} {where}")
    if not asked and not 0 <= user <= USER_ID_MAX:
        raise ConfigProblem(
            f"container has runAsNonRoot and image has an invalid user id ({user}). (Must be 1-({USER_ID_MAX})): "
            f"must be between 0 and {USER_ID_MAX}, inclusive {where}"
        )
