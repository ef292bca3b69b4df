"""securityContext of pod and container, as the runtime takes it.

Enters: the pod, one container, the image's user.
Leaves: Security, or ConfigProblem when the pod forbids what the image wants.
Holds: pure; the container's setting wins over the pod's.
Source: Kubernetes documentation, "Configure a Security Context", "Pod Security Standards".
Next: agent.container_config.
"""

from __future__ import annotations

from edgekube.agent.podspec import spec_of
from edgekube.agent.problems import ConfigProblem
from edgekube.agent.sandbox_namespaces import namespaces_of
from edgekube.api.objects import Object
from edgekube.containerd.model import Image, Security


def seccomp_of(profile: Object | None) -> str:
    """``runtime/default``, ``unconfined`` or ``localhost/FILE``."""
    if not profile:
        return ""
    match profile.get("type"):
        case "RuntimeDefault":
            return "runtime/default"
        case "Localhost":
            return f"localhost/{profile.get('localhostProfile')}"
        case _:
            return "unconfined"


def container_security(pod: Object, container: Object, image: Image | None) -> Security:
    pod_context: Object = spec_of(pod).get("securityContext") or {}
    own: Object = container.get("securityContext") or {}

    def setting(name: str) -> object:
        value = own.get(name)
        return pod_context.get(name) if value is None else value

    user, group = setting("runAsUser"), setting("runAsGroup")
    username = ""
    if user is None and image is not None:
        if image.uid is not None:
            user = image.uid
        username = image.username
    if setting("runAsNonRoot"):
        _check_not_root(container, user, username, explicit=setting("runAsUser") is not None)
    if username and user is None and group is None:
        user_id = None
    else:
        user_id = int(str(user)) if user is not None else None
    privileged = bool(own.get("privileged"))
    capabilities = own.get("capabilities") or {}
    allow_escalation = own.get("allowPrivilegeEscalation")
    groups = [int(value) for value in pod_context.get("supplementalGroups") or []]
    if pod_context.get("fsGroup") is not None:
        groups.append(int(pod_context["fsGroup"]))
    unmasked = own.get("procMount") == "Unmasked" or privileged
    seccomp = seccomp_of(own.get("seccompProfile") or pod_context.get("seccompProfile"))
    return Security(
        namespaces=namespaces_of(pod),
        privileged=privileged,
        run_as_user=user_id,
        run_as_username=username if user_id is None else "",
        run_as_group=int(str(group)) if group is not None else None,
        supplemental_groups=tuple(groups),
        readonly_rootfs=bool(own.get("readOnlyRootFilesystem")),
        no_new_privs=allow_escalation is False,
        add_capabilities=tuple(str(name).removeprefix("CAP_") for name in capabilities.get("add") or []),
        drop_capabilities=tuple(str(name).removeprefix("CAP_") for name in capabilities.get("drop") or []),
        masked_paths=() if unmasked else None,
        readonly_paths=() if unmasked else None,
        seccomp="unconfined" if privileged else seccomp,
    )


def _check_not_root(container: Object, user: object, username: str, *, explicit: bool) -> None:
    if user == 0:
        if explicit:
            raise ConfigProblem("container's runAsUser breaks non-root policy")
        raise ConfigProblem("container has runAsNonRoot and image will run as root")
    if user is None:
        if username:
            raise ConfigProblem(
                f"container has runAsNonRoot and image has non-numeric user ({username}), cannot verify user is non-root"
            )
        raise ConfigProblem("container has runAsNonRoot and image will run as root")
