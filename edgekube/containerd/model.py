"""The container runtime's nouns as plain values, so that plans never touch gRPC.

Enters: nothing.
Leaves: records that mirror the CRI v1 messages (field meanings: k8s.io/cri-api, api.proto), with the fields we use.
Holds: times are nanoseconds since the epoch, 0 when not set; sizes are bytes; an empty string is "not given".
Next: containerd.protocol (the verbs), containerd.cri (the gRPC side).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from msgspec import Struct, field

ContainerState: TypeAlias = Literal["CREATED", "RUNNING", "EXITED", "UNKNOWN"]
SandboxState: TypeAlias = Literal["READY", "NOTREADY"]
#: CRI NamespaceMode.
NamespaceMode: TypeAlias = Literal["POD", "CONTAINER", "NODE", "TARGET"]


class RuntimeFailure(Exception):
    """The runtime refused or failed. ``code`` is the gRPC status name: NOT_FOUND, UNAVAILABLE, DEADLINE_EXCEEDED, UNKNOWN…"""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class IdMapping(Struct, frozen=True):
    """Users and groups of a user namespace: 0 of the container is ``host_id`` of the host, and so on."""

    host_id: int
    length: int
    container_id: int = 0


class Namespaces(Struct, frozen=True):
    network: NamespaceMode = "POD"
    pid: NamespaceMode = "CONTAINER"
    ipc: NamespaceMode = "POD"
    target_id: str = ""  # with TARGET: the container whose namespace is joined
    users: IdMapping | None = None  # None: the host's


class DnsConfig(Struct, frozen=True):
    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


class SELinux(Struct, frozen=True):
    user: str = ""
    role: str = ""
    type: str = ""
    level: str = ""


class Security(Struct, frozen=True):
    """CRI LinuxContainerSecurityContext / LinuxSandboxSecurityContext, what both share and more."""

    namespaces: Namespaces = Namespaces()
    privileged: bool = False
    run_as_user: int | None = None
    run_as_username: str = ""
    run_as_group: int | None = None
    supplemental_groups: tuple[int, ...] = ()
    strict_groups: bool = False  # True: only these, and none that the image's /etc/group adds
    readonly_rootfs: bool = False
    no_new_privs: bool = False
    add_capabilities: tuple[str, ...] = ()
    drop_capabilities: tuple[str, ...] = ()
    masked_paths: tuple[str, ...] | None = None  # None: the runtime's default list
    readonly_paths: tuple[str, ...] | None = None
    #: "runtime/default", "unconfined" or "localhost/PATH"; "" leaves it to the runtime (unconfined).
    seccomp: str = ""
    #: "runtime/default", "unconfined" or "localhost/NAME"; "" leaves it to the runtime (where the kernel has it: its default).
    apparmor: str = ""
    selinux: SELinux | None = None


class Resources(Struct, frozen=True):
    """CRI LinuxContainerResources; 0 means unset."""

    cpu_period_us: int = 0
    cpu_quota_us: int = 0
    cpu_shares: int = 0
    memory_limit_bytes: int = 0
    memory_swap_limit_bytes: int = 0  # memory and swap together
    oom_score_adj: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    hugepage_limits: Mapping[str, int] = field(default_factory=dict)
    unified: Mapping[str, str] = field(default_factory=dict)
    pids_max: int = 0  # of a pod's own cgroup; the CRI has none for a container


class SandboxConfig(Struct, frozen=True):
    name: str  # pod name
    uid: str
    namespace: str
    attempt: int
    hostname: str  # empty for host network (containerd refuses otherwise)
    log_directory: str
    dns: DnsConfig
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    cgroup_parent: str = ""
    sysctls: Mapping[str, str] = field(default_factory=dict)
    security: Security = Security()
    runtime_handler: str = ""
    #: What the handler itself takes, and what the containers may take together; for handlers that size a machine by it.
    overhead: Resources | None = None
    resources: Resources | None = None


class Mount(Struct, frozen=True):
    container_path: str
    host_path: str
    readonly: bool = False
    propagation: Literal["PRIVATE", "HOST_TO_CONTAINER", "BIDIRECTIONAL"] = "PRIVATE"
    recursive_readonly: bool = False
    #: An image instead of a host path, and a directory in it.
    image: str = ""
    image_sub_path: str = ""


class Device(Struct, frozen=True):
    container_path: str
    host_path: str
    permissions: str = "rwm"


class ContainerConfig(Struct, frozen=True):
    name: str
    attempt: int
    image: str  # the image reference or id to run
    command: tuple[str, ...] = ()  # empty: the image's entrypoint
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: tuple[tuple[str, str], ...] = ()
    mounts: tuple[Mount, ...] = ()
    devices: tuple[Device, ...] = ()
    cdi_devices: tuple[str, ...] = ()  # vendor.com/class=name
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    log_path: str = ""  # relative to the sandbox's log_directory
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    resources: Resources = Resources()
    security: Security = Security()
    stop_signal: str = ""


class Sandbox(Struct, frozen=True):
    """A row of ListPodSandbox."""

    id: str
    name: str
    uid: str
    namespace: str
    attempt: int
    state: SandboxState
    created_at_ns: int
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


class SandboxStatus(Struct, frozen=True):
    sandbox: Sandbox
    ips: tuple[str, ...]  # empty for host network
    network: NamespaceMode


class Container(Struct, frozen=True):
    """A row of ListContainers."""

    id: str
    sandbox_id: str
    name: str
    attempt: int
    image_ref: str
    state: ContainerState
    created_at_ns: int
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


class LinuxUser(Struct, frozen=True):
    """Whom a container's first process began as."""

    uid: int
    gid: int
    supplemental_groups: tuple[int, ...] = ()


class ContainerStatus(Struct, frozen=True):
    """ContainerStatus. Read ``reason`` only once state is EXITED: containerd sets OOMKilled early."""

    id: str
    name: str
    attempt: int
    state: ContainerState
    created_at_ns: int
    started_at_ns: int
    finished_at_ns: int
    exit_code: int
    reason: str
    message: str
    image: str
    image_ref: str  # digest reference, what status.containerStatuses[].imageID shows
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    log_path: str
    user: LinuxUser | None = None  # None: the runtime does not say (containerd before 2.0)


class RuntimeHandler(Struct, frozen=True):
    name: str  # "" is the default
    recursive_readonly_mounts: bool = False
    user_namespaces: bool = False


class RuntimeFeatures(Struct, frozen=True):
    """What the runtime says it can do; containerd before 2.0 says nothing."""

    handlers: tuple[RuntimeHandler, ...] = ()
    supplemental_groups_policy: bool = False

    def handler(self, name: str) -> RuntimeHandler | None:
        return next((handler for handler in self.handlers if handler.name == name), None)


class ExecResult(Struct, frozen=True):
    exit_code: int
    stdout: bytes
    stderr: bytes


class Image(Struct, frozen=True):
    id: str  # sha256:… of the image config
    tags: tuple[str, ...]
    digests: tuple[str, ...]
    size_bytes: int
    uid: int | None = None
    username: str = ""
    pinned: bool = False  # must not be collected: the sandbox image


class ImageMount(Struct, frozen=True):
    """One of the mounts that show an image's files."""

    kind: str
    source: str
    options: tuple[str, ...]


class Write(Struct, frozen=True):
    """Content on its way into the store: ``layer-sha256:…`` and how far it is."""

    reference: str
    offset_bytes: int
    total_bytes: int


class RegistryAuth(Struct, frozen=True):
    username: str = ""
    password: str = ""
    server_address: str = ""
    identity_token: str = ""
    registry_token: str = ""

    def __repr__(self) -> str:
        """For logs and tracebacks: whose it is, and nothing that would let anybody in."""
        return f"RegistryAuth(username={self.username!r}, server_address={self.server_address!r})"


class RuntimeEvent(Struct, frozen=True):
    """Something happened to a container or sandbox; look again. The periodic relist is the safety net."""

    container_id: str
    topic: str  # containerd's event topic, e.g. /tasks/exit
