"""May a pod run on this node? A table of checks, asked once when it arrives.

Enters: the pod, this Node, what the pods hold that are here already.
Leaves: a Refusal in the kubelet's words, or None.
Holds: pure. The first check that refuses is the one that is told, except that resources of which a critical pod is short are
not told of while others could make room (agent.preemption). A new rule is a new row.
Source: k8s.io/kubernetes pkg/kubelet/lifecycle (reasons and messages).
Next: agent.entry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from msgspec import Struct

from edgekube.agent import confinement, sysctls
from edgekube.agent.held import Held
from edgekube.agent.resources import is_critical, qos_class
from edgekube.agent.static.manifest import is_static
from edgekube.api import node_affinity, taints
from edgekube.api.host_ports import host_ports
from edgekube.api.node_features import DECLARED, needed_features
from edgekube.api.objects import Object, labels_of, name_of, spec_of
from edgekube.api.pod_requests import PODS, Amounts, amounts, pod_requests

OS: Final = "linux"
OS_LABEL: Final = "kubernetes.io/os"
#: Resources that are the kubelet's own, in the order in which it tells of them; a node must have what is asked of them.
_NATIVE: Final = (PODS, "cpu", "memory", "ephemeral-storage")


class Applicant(Struct, frozen=True):
    pod: Object
    node: Object
    #: What is held here already, by each pod.
    others: Sequence[Held] = ()
    #: Resource name -> quantity; what the Node shows when not given.
    allocatable: dict[str, str] | None = None
    #: Sysctls that this node allows beyond the safe ones.
    allowed_sysctls: Sequence[str] = ()
    #: Whether the kernel has AppArmor.
    apparmor: bool = False
    #: MemoryPressure, DiskPressure, PIDPressure, as far as they hold; and whether the node is going down.
    pressures: frozenset[str] = frozenset()
    shutting_down: bool = False

    @property
    def amounts(self) -> Amounts:
        if self.allocatable is not None:
            return amounts(self.allocatable)
        status = self.node.get("status") or {}
        return amounts(status.get("allocatable") or status.get("capacity"))


class Shortage(Struct, frozen=True):
    resource: str
    requested: int
    used: int
    capacity: int

    @property
    def missing(self) -> int:
        return self.requested - (self.capacity - self.used)


class Refusal(Struct, frozen=True):
    reason: str
    message: str
    #: All resources that are short, when that is why.
    shortages: tuple[Shortage, ...] = ()


Check: TypeAlias = Callable[[Applicant], Refusal | None]


def _predicate(name: str, why: str) -> Refusal:
    return Refusal(name, f"Predicate {name} failed: {why}")


def pressure(applicant: Applicant) -> Refusal | None:
    held, pod = applicant.pressures, applicant.pod
    if not held or is_critical(pod):
        return None
    if held == {"MemoryPressure"}:
        tolerations = spec_of(pod).get("tolerations") or []
        taint = {"key": taints.MEMORY_PRESSURE, "effect": taints.NO_SCHEDULE}
        if qos_class(pod) != "BestEffort" or taints.untolerated([taint], tolerations, (taints.NO_SCHEDULE,)) is None:
            return None
    return Refusal("Evicted", f"The node had condition: [{' '.join(sorted(held))}]. ")


def shutdown(applicant: Applicant) -> Refusal | None:
    if not applicant.shutting_down:
        return None
    return Refusal("NodeShutdown", "Pod was rejected as the node is shutting down.")


def os_label(applicant: Applicant) -> Refusal | None:
    if labels_of(applicant.pod).get(OS_LABEL, OS) == OS:
        return None
    message = "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label"
    return Refusal("PodOSSelectorNodeLabelDoesNotMatch", message)


def os_field(applicant: Applicant) -> Refusal | None:
    if ((spec_of(applicant.pod).get("os") or {}).get("name") or OS) == OS:
        return None
    return Refusal("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS")


def supplemental_groups_policy(applicant: Applicant) -> Refusal | None:
    policy = (spec_of(applicant.pod).get("securityContext") or {}).get("supplementalGroupsPolicy")
    features = (applicant.node.get("status") or {}).get("features") or {}
    if policy != "Strict" or features.get("supplementalGroupsPolicy"):
        return None
    return Refusal("SupplementalGroupsPolicyNotSupported", "SupplementalGroupsPolicy=Strict is not supported in this node")


def declared_features(applicant: Applicant) -> Refusal | None:
    missing = sorted(needed_features(spec_of(applicant.pod)) - set(DECLARED))
    if not missing:
        return None
    return Refusal("PodFeatureUnsupported", f"Pod requires node features that are not available: {', '.join(missing)}")


def resources(applicant: Applicant) -> Refusal | None:
    has = applicant.amounts
    used: Amounts = {PODS: len(applicant.others)}
    for other in applicant.others:
        for name, amount in other.requests.items():
            used[name] = used.get(name, 0) + amount
    wanted = {PODS: 1, **pod_requests(applicant.pod)}
    short = tuple(
        Shortage(name, wanted[name], used.get(name, 0), has.get(name, 0))
        for name in (*(name for name in _NATIVE if name in wanted), *sorted(wanted.keys() - set(_NATIVE)))
        if wanted[name] > has.get(name, 0) - used.get(name, 0)
        # An extended resource that the node does not know is the cluster's, or a driver's.
        and wanted[name]
        and (name in has or name in _NATIVE or name.startswith("hugepages-"))
    )
    if not short:
        return None
    first = short[0]
    message = (
        f"Node didn't have enough resource: {first.resource}, requested: {first.requested}, "
        f"used: {first.used}, capacity: {first.capacity}"
    )
    return Refusal(f"OutOf{first.resource}", message, short)


def affinity(applicant: Applicant) -> Refusal | None:
    spec, node = spec_of(applicant.pod), applicant.node
    terms = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    if node_affinity.required(spec.get("nodeSelector") or {}, terms, name_of(node), labels_of(node)):
        return None
    return _predicate("NodeAffinity", "node(s) didn't match Pod's node affinity/selector")


def node_name(applicant: Applicant) -> Refusal | None:
    wanted = spec_of(applicant.pod).get("nodeName") or ""
    if wanted in ("", name_of(applicant.node)):
        return None
    return _predicate("NodeName", "node(s) didn't match the requested node name")


def ports(applicant: Applicant) -> Refusal | None:
    wanted = host_ports(applicant.pod)
    if not wanted:
        return None
    taken = [port for other in applicant.others for port in other.ports]
    if not any(mine.clashes(port) for mine in wanted for port in taken):
        return None
    return _predicate("NodePorts", "node(s) didn't have free ports for the requested pod ports")


def no_execute(applicant: Applicant) -> Refusal | None:
    if is_static(applicant.pod):
        return None
    found: list[Object] = (applicant.node.get("spec") or {}).get("taints") or []
    if taints.untolerated(found, spec_of(applicant.pod).get("tolerations") or [], (taints.NO_EXECUTE,)) is None:
        return None
    return _predicate("TaintToleration", "node(s) had taints that the pod didn't tolerate")


def forbidden_sysctls(applicant: Applicant) -> Refusal | None:
    why = sysctls.refusal(applicant.pod, applicant.allowed_sysctls)
    return Refusal(sysctls.FORBIDDEN_REASON, why) if why else None


def apparmor(applicant: Applicant) -> Refusal | None:
    why = confinement.apparmor_refusal(applicant.pod, applicant.apparmor)
    return Refusal(confinement.APPARMOR_REASON, why) if why else None


#: In the kubelet's order. ``Resources`` comes after what no room could mend, so that nobody is preempted in vain.
CHECKS: Final[tuple[tuple[str, Check], ...]] = (
    ("NodePressure", pressure),
    ("NodeShutdown", shutdown),
    ("Sysctls", forbidden_sysctls),
    ("OSLabel", os_label),
    ("OSField", os_field),
    ("SupplementalGroupsPolicy", supplemental_groups_policy),
    ("Resources", resources),
    ("NodeAffinity", affinity),
    ("NodeName", node_name),
    ("NodePorts", ports),
    ("TaintToleration", no_execute),
    ("AppArmor", apparmor),
    ("DeclaredFeatures", declared_features),
)


def refusal_of(applicant: Applicant) -> Refusal | None:
    """What is told; of a critical pod shortages come last, for then others may have to make room."""
    found = [refusal for _, check in CHECKS if (refusal := check(applicant)) is not None]
    if is_critical(applicant.pod):
        found.sort(key=lambda refusal: bool(refusal.shortages))
    return found[0] if found else None
