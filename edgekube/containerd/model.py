"""The container runtime's nouns as plain values, so that plans never touch gRPC.

Enters: nothing.
Leaves: dataclasses that mirror the CRI v1 messages (field meanings: k8s.io/cri-api, api.proto), with the fields we use.
Holds: times are nanoseconds since the epoch, 0 when not set; sizes are bytes; an empty string is "not given".
Next: containerd.protocol (the verbs), containerd.cri (the gRPC side).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

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


@dataclass(frozen=True, slots=True)
class Namespaces:
    network: NamespaceMode = "POD"
    pid: NamespaceMode = "CONTAINER"
    ipc: NamespaceMode = "POD"
    target_id: str = ""  # with TARGET: the container whose namespace is joined


@dataclass(frozen=True, slots=True)
class DnsConfig:
    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Security:
    """CRI LinuxContainerSecurityContext / LinuxSandboxSecurityContext, what both share and more."""

    namespaces: Namespaces = Namespaces()
    privileged: bool = False
    run_as_user: int | None = None
    run_as_username: str = ""
    run_as_group: int | None = None
    supplemental_groups: tuple[int, ...] = ()
    readonly_rootfs: bool = False
    no_new_privs: bool = False
    add_capabilities: tuple[str, ...] = ()
    drop_capabilities: tuple[str, ...] = ()
    masked_paths: tuple[str, ...] | None = None  # None: the runtime's default list
    readonly_paths: tuple[str, ...] | None = None
    #: "runtime/default", "unconfined" or "localhost/PATH"; "" leaves it to the runtime (unconfined).
    seccomp: str = ""


@dataclass(frozen=True, slots=True)
class Resources:
    """CRI LinuxContainerResources; 0 means unset."""

    cpu_period_us: int = 0
    cpu_quota_us: int = 0
    cpu_shares: int = 0
    memory_limit_bytes: int = 0
    oom_score_adj: int = 0
    cpuset_cpus: str = ""
    hugepage_limits: Mapping[str, int] = field(default_factory=dict)
    unified: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SandboxConfig:
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


@dataclass(frozen=True, slots=True)
class Mount:
    container_path: str
    host_path: str
    readonly: bool = False
    propagation: Literal["PRIVATE", "HOST_TO_CONTAINER", "BIDIRECTIONAL"] = "PRIVATE"


@dataclass(frozen=True, slots=True)
class Device:
    container_path: str
    host_path: str
    permissions: str = "rwm"


@dataclass(frozen=True, slots=True)
class ContainerConfig:
    name: str
    attempt: int
    image: str  # the image reference or id to run
    command: tuple[str, ...] = ()  # empty: the image's entrypoint
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: tuple[tuple[str, str], ...] = ()
    mounts: tuple[Mount, ...] = ()
    devices: tuple[Device, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    log_path: str = ""  # relative to the sandbox's log_directory
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    resources: Resources = Resources()
    security: Security = Security()
    stop_signal: str = ""


@dataclass(frozen=True, slots=True)
class Sandbox:
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


@dataclass(frozen=True, slots=True)
class SandboxStatus:
    sandbox: Sandbox
    ips: tuple[str, ...]  # empty for host network
    network: NamespaceMode


@dataclass(frozen=True, slots=True)
class Container:
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


@dataclass(frozen=True, slots=True)
class ContainerStatus:
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


@dataclass(frozen=True, slots=True)
class ExecResult:
    exit_code: int
    stdout: bytes
    stderr: bytes


@dataclass(frozen=True, slots=True)
class Image:
    id: str  # sha256:… of the image config
    tags: tuple[str, ...]
    digests: tuple[str, ...]
    size_bytes: int
    uid: int | None = None
    username: str = ""
    pinned: bool = False  # must not be collected: the sandbox image


@dataclass(frozen=True, slots=True)
class RegistryAuth:
    username: str = ""
    password: str = ""
    server_address: str = ""
    identity_token: str = ""
    registry_token: str = ""


@dataclass(frozen=True, slots=True)
class RuntimeEvent:
    """Something happened to a container or sandbox; look again. The periodic relist is the safety net."""

    container_id: str
    topic: str  # containerd's event topic, e.g. /tasks/exit
