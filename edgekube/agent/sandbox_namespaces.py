"""Which of the host's namespaces a pod shares.

Enters: the pod; the users of its own, where it has a user namespace (agent.user_namespaces).
Leaves: Namespaces, the same for its sandbox and its containers.
Holds: pure.
Next: agent.sandbox, agent.security.
"""

from __future__ import annotations

from edgekube.agent.podspec import host_network
from edgekube.api.objects import Object, spec_of
from edgekube.containerd.model import IdMapping, NamespaceMode, Namespaces


def namespaces_of(pod: Object, users: IdMapping | None = None) -> Namespaces:
    spec = spec_of(pod)
    pid: NamespaceMode = "NODE" if spec.get("hostPID") else "POD" if spec.get("shareProcessNamespace") else "CONTAINER"
    ipc: NamespaceMode = "NODE" if spec.get("hostIPC") else "POD"
    return Namespaces("NODE" if host_network(pod) else "POD", pid, ipc, users=users)
