"""The sandbox a pod asks for: names, hostname, DNS, namespaces, sysctls, cgroup.

Enters: the pod, the node's settings.
Leaves: SandboxConfig.
Holds: pure; the same pod gives the same config, so that a container created later joins the sandbox that runs.
Source: CRI RunPodSandbox; Kubernetes documentation, "Share Process Namespace", "Sysctls", "Pod hostname".
Next: agent.execute.
"""

from __future__ import annotations

from edgekube.agent.hosts import dns_config, fully_qualified
from edgekube.agent.names import GRACE_PERIOD, POD_NAME, POD_NAMESPACE, POD_UID
from edgekube.agent.podspec import grace_period_seconds, host_network
from edgekube.agent.problems import ConfigProblem
from edgekube.agent.resources import overhead_resources, sandbox_resources
from edgekube.agent.security import pod_context, sandbox_security
from edgekube.api.objects import Object, annotations_of, labels_of, name_of, namespace_of, spec_of, uid_of
from edgekube.containerd.model import IdMapping, SandboxConfig
from edgekube.settings import Settings

#: A hostname has at most 63 characters (RFC 1123).
HOSTNAME_CHARACTERS_MAX = 63
#: What the kernel has room for (utsname).
WHOLE_NAME_CHARACTERS_MAX = 64


def hostname_of(pod: Object) -> str:
    """What ``hostname`` says inside: spec.hostname, else the pod's name cut to 63 characters."""
    override = spec_of(pod).get("hostnameOverride")
    name = override or spec_of(pod).get("hostname") or name_of(pod)
    return str(name)[:HOSTNAME_CHARACTERS_MAX].rstrip("-.")


def _sandbox_hostname(pod: Object, settings: Settings) -> str:
    """With setHostnameAsFQDN the kernel's hostname is the pod's whole name in DNS."""
    short = hostname_of(pod)
    whole = fully_qualified(pod, short, settings) if spec_of(pod).get("setHostnameAsFQDN") else ""
    if len(whole) > WHOLE_NAME_CHARACTERS_MAX:
        raise ConfigProblem(
            f"failed to construct FQDN from pod hostname and cluster domain, FQDN {whole} is too long "
            f"({WHOLE_NAME_CHARACTERS_MAX} characters is the max, {len(whole)} characters requested)"
        )
    return whole or short


def sandbox_config(
    pod: Object, settings: Settings, log_directory: str, cgroup_parent: str, attempt: int, users: IdMapping | None = None
) -> SandboxConfig:
    """``users``: the range of its user namespace, where it has one. Raises ConfigProblem."""
    return SandboxConfig(
        name=name_of(pod),
        uid=uid_of(pod),
        namespace=namespace_of(pod),
        attempt=attempt,
        hostname="" if host_network(pod) else _sandbox_hostname(pod, settings),
        log_directory=log_directory,
        dns=dns_config(pod, settings),
        labels={
            **labels_of(pod),
            POD_NAME: name_of(pod),
            POD_NAMESPACE: namespace_of(pod),
            POD_UID: uid_of(pod),
        },
        annotations={**annotations_of(pod), GRACE_PERIOD: str(grace_period_seconds(pod))},
        cgroup_parent=cgroup_parent,
        sysctls={item["name"]: item["value"] for item in pod_context(pod).get("sysctls") or []},
        security=sandbox_security(pod, users),
        overhead=overhead_resources(pod),
        resources=sandbox_resources(pod),
    )
