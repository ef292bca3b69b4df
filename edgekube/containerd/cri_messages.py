"""Values of containerd.model to CRI messages and back. Pure, but for what the host hides from its containers.

Enters: model values, or messages.
Leaves: the other.
Holds: what the model leaves empty stays unset on the wire.
Next: containerd.cri.
"""

from __future__ import annotations

from typing import Any, Final, cast

from edgekube.containerd import host
from edgekube.containerd._generated import cri_pb2, events_pb2
from edgekube.containerd.model import (
    Container,
    ContainerConfig,
    ContainerState,
    ContainerStatus,
    IdMapping,
    Image,
    LinuxUser,
    Mount,
    NamespaceMode,
    RegistryAuth,
    Resources,
    RuntimeEvent,
    RuntimeFeatures,
    RuntimeHandler,
    Sandbox,
    SandboxConfig,
    SandboxStatus,
    Security,
    SELinux,
)
from edgekube.containerd.pause import REFERENCE

_MODES: Final[dict[str, int]] = {"POD": 0, "CONTAINER": 1, "NODE": 2, "TARGET": 3}
_MODE_NAMES: Final[tuple[NamespaceMode, ...]] = ("POD", "CONTAINER", "NODE", "CONTAINER")
_CONTAINER_STATES: Final[tuple[ContainerState, ...]] = ("CREATED", "RUNNING", "EXITED", "UNKNOWN")
_PROPAGATION: Final = {"PRIVATE": 0, "HOST_TO_CONTAINER": 1, "BIDIRECTIONAL": 2}
_RUNTIME_DEFAULT, _UNCONFINED, _LOCALHOST = 0, 1, 2

#: What the CRI hides in a container when the caller does not say: the kubelet's list (pkg/securitycontext),
#: because the CRI takes the list from its caller.
DEFAULT_MASKED_PATHS: Final = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
DEFAULT_READONLY_PATHS: Final = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def _integer(value: int | None) -> Any:
    return None if value is None else cri_pb2.Int64Value(value=value)


def _mapping(value: IdMapping) -> Any:
    return cri_pb2.IDMapping(host_id=value.host_id, container_id=value.container_id, length=value.length)


def _users(value: IdMapping | None) -> Any:
    if value is None:
        return cri_pb2.UserNamespace(mode=_MODES["NODE"])
    return cri_pb2.UserNamespace(mode=_MODES["POD"], uids=[_mapping(value)], gids=[_mapping(value)])


def _namespaces(security: Security) -> Any:
    return cri_pb2.NamespaceOption(
        userns_options=_users(security.namespaces.users),
        network=_MODES[security.namespaces.network],
        pid=_MODES[security.namespaces.pid],
        ipc=_MODES[security.namespaces.ipc],
        target_id=security.namespaces.target_id,
    )


def _profile(profile: str) -> Any:
    if profile == "unconfined":
        return cri_pb2.SecurityProfile(profile_type=_UNCONFINED)
    if profile == "runtime/default":
        return cri_pb2.SecurityProfile(profile_type=_RUNTIME_DEFAULT)
    return cri_pb2.SecurityProfile(profile_type=_LOCALHOST, localhost_ref=profile.removeprefix("localhost/"))


def _selinux(value: SELinux | None) -> Any:
    if value is None:
        return None
    return cri_pb2.SELinuxOption(user=value.user, role=value.role, type=value.type, level=value.level)


def _mount(value: Mount, users: IdMapping | None) -> Any:
    mapped = [] if users is None else [_mapping(users)]
    return cri_pb2.Mount(
        container_path=value.container_path,
        host_path=value.host_path,
        readonly=value.readonly,
        propagation=_PROPAGATION[value.propagation],
        recursive_read_only=value.recursive_readonly,
        image=cri_pb2.ImageSpec(image=value.image) if value.image else None,
        image_sub_path=value.image_sub_path,
        uidMappings=mapped,
        gidMappings=mapped,
    )


def resources(value: Resources) -> Any:
    return cri_pb2.LinuxContainerResources(
        cpu_period=value.cpu_period_us,
        cpu_quota=value.cpu_quota_us,
        cpu_shares=value.cpu_shares,
        memory_limit_in_bytes=value.memory_limit_bytes,
        memory_swap_limit_in_bytes=value.memory_swap_limit_bytes,
        oom_score_adj=value.oom_score_adj,
        cpuset_cpus=value.cpuset_cpus,
        cpuset_mems=value.cpuset_mems,
        hugepage_limits=[{"page_size": size, "limit": limit} for size, limit in value.hugepage_limits.items()],
        unified=dict(value.unified),
    )


def sandbox_config(value: SandboxConfig) -> Any:
    security = value.security
    return cri_pb2.PodSandboxConfig(
        metadata={"name": value.name, "uid": value.uid, "namespace": value.namespace, "attempt": value.attempt},
        hostname=value.hostname,
        log_directory=value.log_directory,
        dns_config={"servers": value.dns.servers, "searches": value.dns.searches, "options": value.dns.options},
        labels=dict(value.labels),
        annotations=dict(value.annotations),
        linux=cri_pb2.LinuxPodSandboxConfig(
            cgroup_parent=value.cgroup_parent,
            sysctls=dict(value.sysctls),
            overhead=None if value.overhead is None else resources(value.overhead),
            resources=None if value.resources is None else resources(value.resources),
            security_context=cri_pb2.LinuxSandboxSecurityContext(
                namespace_options=_namespaces(security),
                run_as_user=_integer(security.run_as_user),
                run_as_group=_integer(security.run_as_group),
                readonly_rootfs=security.readonly_rootfs,
                supplemental_groups=security.supplemental_groups,
                supplemental_groups_policy=_groups_policy(security),
                privileged=security.privileged,
                selinux_options=_selinux(security.selinux),
                seccomp=_profile(security.seccomp or "unconfined"),
            ),
        ),
    )


def container_config(value: ContainerConfig) -> Any:
    security = value.security
    masked = (*DEFAULT_MASKED_PATHS, *host.throttle_paths()) if security.masked_paths is None else security.masked_paths
    readonly = DEFAULT_READONLY_PATHS if security.readonly_paths is None else security.readonly_paths
    return cri_pb2.ContainerConfig(
        metadata={"name": value.name, "attempt": value.attempt},
        image={"image": value.image, "user_specified_image": value.image},
        command=value.command,
        args=value.args,
        working_dir=value.working_dir,
        envs=[{"key": key, "value": text} for key, text in value.env],
        mounts=[_mount(mount, security.namespaces.users) for mount in value.mounts],
        devices=[
            {"container_path": device.container_path, "host_path": device.host_path, "permissions": device.permissions}
            for device in value.devices
        ],
        CDI_devices=[{"name": name} for name in value.cdi_devices],
        labels=dict(value.labels),
        annotations=dict(value.annotations),
        log_path=value.log_path,
        stdin=value.stdin,
        stdin_once=value.stdin_once,
        tty=value.tty,
        stop_signal=_signal(value.stop_signal),
        linux=cri_pb2.LinuxContainerConfig(
            resources=resources(value.resources),
            security_context=cri_pb2.LinuxContainerSecurityContext(
                capabilities={
                    "add_capabilities": security.add_capabilities,
                    "drop_capabilities": security.drop_capabilities,
                },
                privileged=security.privileged,
                namespace_options=_namespaces(security),
                run_as_user=_integer(security.run_as_user),
                run_as_group=_integer(security.run_as_group),
                run_as_username=security.run_as_username,
                readonly_rootfs=security.readonly_rootfs,
                supplemental_groups=security.supplemental_groups,
                supplemental_groups_policy=_groups_policy(security),
                no_new_privs=security.no_new_privs,
                # A privileged container sees everything, as it does under a kubelet.
                masked_paths=() if security.privileged else masked,
                readonly_paths=() if security.privileged else readonly,
                seccomp=_profile(security.seccomp or "unconfined"),
                apparmor=_profile(security.apparmor) if security.apparmor else None,
                apparmor_profile=security.apparmor,
                selinux_options=_selinux(security.selinux),
            ),
        ),
    )


def _groups_policy(security: Security) -> int:
    return 1 if security.strict_groups else 0


def _signal(name: str) -> int:
    """The CRI's number of a signal ("SIGTERM"); an unknown or empty name leaves the choice to the image."""
    values = cri_pb2.DESCRIPTOR.enum_types_by_name["Signal"].values_by_name
    return int(values[name].number) if name in values else 0


def auth(value: RegistryAuth) -> Any:
    return cri_pb2.AuthConfig(
        username=value.username,
        password=value.password,
        server_address=value.server_address,
        identity_token=value.identity_token,
        registry_token=value.registry_token,
    )


def sandbox(message: Any) -> Sandbox:
    return Sandbox(
        id=message.id,
        name=message.metadata.name,
        uid=message.metadata.uid,
        namespace=message.metadata.namespace,
        attempt=message.metadata.attempt,
        state="READY" if message.state == 0 else "NOTREADY",
        created_at_ns=message.created_at,
        labels=dict(message.labels),
        annotations=dict(message.annotations),
    )


def sandbox_status(message: Any) -> SandboxStatus:
    network = message.network
    ips = (network.ip, *(more.ip for more in network.additional_ips)) if network.ip else ()
    mode = _MODE_NAMES[message.linux.namespaces.options.network]
    return SandboxStatus(sandbox=sandbox(message), ips=() if mode == "NODE" else ips, network=mode)


def container(message: Any) -> Container:
    return Container(
        id=message.id,
        sandbox_id=message.pod_sandbox_id,
        name=message.metadata.name,
        attempt=message.metadata.attempt,
        image_ref=message.image_ref,
        state=_CONTAINER_STATES[message.state],
        created_at_ns=message.created_at,
        labels=dict(message.labels),
        annotations=dict(message.annotations),
    )


def container_status(message: Any) -> ContainerStatus:
    return ContainerStatus(
        id=message.id,
        name=message.metadata.name,
        attempt=message.metadata.attempt,
        state=_CONTAINER_STATES[message.state],
        created_at_ns=message.created_at,
        started_at_ns=message.started_at,
        finished_at_ns=message.finished_at,
        exit_code=message.exit_code,
        reason=message.reason,
        message=message.message,
        image=message.image.image,
        image_ref=message.image_ref,
        labels=dict(message.labels),
        annotations=dict(message.annotations),
        log_path=message.log_path,
        user=_user(message.user.linux) if message.HasField("user") and message.user.HasField("linux") else None,
    )


def _user(message: Any) -> LinuxUser:
    return LinuxUser(message.uid, message.gid, tuple(message.supplemental_groups))


def features(message: Any) -> RuntimeFeatures:
    """Of a StatusResponse."""
    return RuntimeFeatures(
        handlers=tuple(
            RuntimeHandler(item.name, item.features.recursive_read_only_mounts, item.features.user_namespaces)
            for item in message.runtime_handlers
        ),
        supplemental_groups_policy=message.features.supplemental_groups_policy,
    )


def image(message: Any) -> Image:
    return Image(
        id=message.id,
        tags=tuple(message.repo_tags),
        digests=tuple(message.repo_digests),
        size_bytes=message.size,
        uid=cast(int, message.uid.value) if message.HasField("uid") else None,
        username=message.username,
        # containerd 1.6 knows the label and does not report it.
        pinned=message.pinned or REFERENCE in message.repo_tags,
    )


def event(envelope: Any) -> RuntimeEvent | None:
    """A hint from containerd's envelope; None for the end of an exec, which changes no container."""
    about = events_pb2.TaskExit.FromString(envelope.event.value)
    if envelope.topic == "/tasks/exit" and about.id != about.container_id:
        return None
    return RuntimeEvent(container_id=about.container_id, topic=envelope.topic)
