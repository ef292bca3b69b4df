"""Who has which device: what is offered, what is held, what is free.

Enters: the devices of each resource as they are offered, what containers were given, which pods still count.
Leaves: amounts for the Node, the choice of devices for a container, DeviceProblem in the kubelet's words.
Holds: a device is held by at most one container, except that containers of one pod take over from init containers that come
before them. No I/O; the same state gives the same choice.
Source: Kubernetes documentation, "Device Plugins"; messages of k8s.io/kubernetes pkg/kubelet/cm/devicemanager.
Next: agent.devices.allotment; agent.devices.checkpoint keeps it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from msgspec import Struct, field

from edgekube.agent.devices.model import DeviceProblem, Given, Holding
from edgekube.agent.podspec import containers_of, init_containers_of, is_sidecar
from edgekube.api.objects import Object, uid_of


class Offer(Struct, frozen=True):
    """The devices of one resource. ``present`` False: nobody answers for them just now."""

    healthy: frozenset[str] = frozenset()
    unhealthy: frozenset[str] = frozenset()
    present: bool = True

    @property
    def all(self) -> frozenset[str]:
        return self.healthy | self.unhealthy

    def gone(self) -> Offer:
        return Offer(frozenset(), self.all, present=False)


class Choice(Struct, frozen=True):
    """Devices taken over already, and how many more are to be taken from the free ones."""

    taken: frozenset[str]
    free: frozenset[str]
    missing: int

    def filled(self, preferred: Collection[str] = ()) -> frozenset[str]:
        first = [name for name in sorted(preferred) if name in self.free]
        rest = sorted(self.free - set(first))
        return self.taken | frozenset([*first, *rest][: self.missing])


class Ledger(Struct):
    offers: dict[str, Offer] = field(default_factory=dict)
    #: pod uid -> container -> resource -> what it holds.
    held: dict[str, dict[str, dict[str, Holding]]] = field(default_factory=dict)
    #: Resources that the Node may still show, and must not any more.
    given_up: set[str] = field(default_factory=set)

    # --- what the Node shows

    def capacity(self) -> dict[str, int]:
        return {name: len(offer.all) for name, offer in self.offers.items()}

    def allocatable(self) -> dict[str, int]:
        return {name: len(offer.healthy) for name, offer in self.offers.items()}

    def in_use(self, resource: str) -> frozenset[str]:
        return frozenset().union(
            *(of[resource].ids for containers in self.held.values() for of in containers.values() if resource in of)
        )

    def amounts_held(self) -> dict[str, int]:
        names = {name for containers in self.held.values() for of in containers.values() for name in of}
        return {name: len(self.in_use(name)) for name in names}

    def knows(self, resource: str) -> bool:
        """Offered, or held since it was."""
        return resource in self.offers or resource in self.amounts_held()

    # --- what a pod holds

    def holding(self, uid: str, container: str, resource: str) -> Holding | None:
        return self.held.get(uid, {}).get(container, {}).get(resource)

    def hold(self, uid: str, container: str, resource: str, ids: frozenset[str], given: Given) -> None:
        self.held.setdefault(uid, {}).setdefault(container, {})[resource] = Holding(ids, given)

    def release(self, uid: str) -> bool:
        return self.held.pop(uid, None) is not None

    def keep_only(self, uids: Collection[str]) -> bool:
        """Whether somebody else's devices came free."""
        gone = [uid for uid in self.held if uid not in uids]
        for uid in gone:
            del self.held[uid]
        return bool(gone)

    def given(self, uid: str, container: str) -> Given:
        joined = Given()
        for _, holding in sorted(self.held.get(uid, {}).get(container, {}).items()):
            joined = joined.joined(holding.given)
        return joined

    def reusable(self, pod: Object, container: str, resource: str) -> frozenset[str]:
        """What init containers before this one had, and no longer need when it runs."""
        free: frozenset[str] = frozenset()
        for before in (*init_containers_of(pod), *containers_of(pod)):
            if before["name"] == container:
                break
            holding = self.holding(uid_of(pod), before["name"], resource)
            if holding is None:
                continue
            ends = before in init_containers_of(pod) and not is_sidecar(before)
            free = free | holding.ids if ends else free - holding.ids
        return free

    # --- choosing

    def choose(self, pod: Object, container: str, resource: str, count: int) -> Choice | None:
        """None when the container has what it needs. Raises DeviceProblem."""
        uid, offer = uid_of(pod), self.offers.get(resource)
        before = self.holding(uid, container, resource)
        if before is not None and len(before.ids) != count:
            raise DeviceProblem(
                f'pod "{uid}" container "{container}" changed request for resource "{resource}" from {len(before.ids)} to {count}'
            )
        if before is not None and (offer is None or not offer.present):
            return None  # a boot: whoever offers it comes later, and the container waits for that when it starts
        if offer is None:
            raise DeviceProblem(f"cannot allocate unregistered device {resource}")
        if not offer.healthy:
            raise DeviceProblem(f"no healthy devices present; cannot allocate unhealthy devices {resource}")
        if before is not None:
            if not before.ids <= offer.healthy:
                message = "previously allocated devices are no longer healthy; cannot allocate unhealthy devices"
                raise DeviceProblem(f"{message} {resource}")
            return None
        taken = frozenset(sorted(self.reusable(pod, container, resource) & offer.healthy)[:count])
        missing, free = count - len(taken), offer.healthy - self.in_use(resource)
        if missing > len(free):
            raise DeviceProblem(
                f"requested number of devices unavailable for {resource}. Requested: {missing}, Available: {len(free)}"
            )
        return Choice(taken, free, missing)

    def ready(self, pod: Object, container: str, wanted: Mapping[str, int]) -> None:
        """Whether all that a container holds is there now. Raises DeviceProblem."""
        for resource in wanted:
            holding, offer = self.holding(uid_of(pod), container, resource), self.offers.get(resource)
            if holding is not None and (offer is None or not offer.present):
                raise DeviceProblem(f"device plugin of {resource} has not registered yet")
            if holding is not None and offer is not None and not holding.ids <= offer.healthy:
                message = "previously allocated devices are no longer healthy; cannot allocate unhealthy devices"
                raise DeviceProblem(f"{message} {resource}")
