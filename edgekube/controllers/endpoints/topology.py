"""Which zone should use an endpoint, where a Service has the annotation service.kubernetes.io/topology-mode: Auto.

Enters: nodes, and the zones of a Service's ready endpoints.
Leaves: a zone for each endpoint.
Holds: each zone gets endpoints in proportion to the CPU of its ready nodes, so that none is overloaded by more than a fifth;
where that cannot be, there are no hints at all. The same endpoints and nodes give the same hints.
Source: k8s.io/endpointslice topologycache; kubernetes.io/docs/concepts/services-networking/topology-aware-routing.
Next: endpointslices.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from edgekube.api import podstate
from edgekube.api.objects import Object, annotations_of, labels_of
from edgekube.api.quantities import to_milli

ZONE: Final = "topology.kubernetes.io/zone"
_MODES: Final = ("service.kubernetes.io/topology-aware-hints", "service.kubernetes.io/topology-mode")
_OVERLOAD: Final = 0.2
_LEFT_OUT: Final = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")


class NotPossible(Exception):
    """Why there are no hints."""


def is_auto(service: Object) -> bool:
    """The older annotation counts where both are set."""
    annotations = annotations_of(service)
    return next((annotations[mode] for mode in _MODES if mode in annotations), "") in ("Auto", "auto")


def concern(node: Object | None) -> tuple[object, ...]:
    """What of a node the hints depend on."""
    if node is None:
        return ()
    ready = (podstate.condition_of(node, "Ready") or {}).get("status") == "True"
    labels = labels_of(node)
    return (labels.get(ZONE), ready, _cpu(node), any(label in labels for label in _LEFT_OUT))


def _cpu(node: Object) -> int:
    return to_milli(str(((node.get("status") or {}).get("allocatable") or {}).get("cpu") or "0"))


def shares(nodes: Iterable[Object]) -> dict[str, float]:
    """Zone -> its part of the CPU; none where it is not known of each node, or there is but one zone."""
    cpu: Counter[str] = Counter()
    for node in nodes:
        zone, ready, amount, left_out = concern(node)
        if left_out or not ready:
            continue
        if not zone or not amount:
            return {}
        cpu[str(zone)] += int(str(amount))
    total = sum(cpu.values())
    return {zone: amount / total for zone, amount in sorted(cpu.items())} if len(cpu) > 1 else {}


def allot(zones: Sequence[str], wanted: Mapping[str, float]) -> list[str]:
    """``zones``: where each ready endpoint is; ``wanted``: shares(). NotPossible."""
    if not wanted:
        raise NotPossible("Insufficient Node information: allocatable CPU or zone not specified on one or more nodes")
    count = len(zones)
    numbers = f"({count} endpoints, {len(wanted)} zones)"
    if len(wanted) > count:
        raise NotPossible(f"Insufficient number of endpoints {numbers}")
    least = {zone: math.ceil(share * count / (1 + _OVERLOAD)) for zone, share in wanted.items()}
    if sum(least.values()) > count:
        raise NotPossible(
            f"Unable to allocate minimum required endpoints to each zone without exceeding overload threshold {numbers}"
        )
    if not all(zones):
        raise NotPossible("One or more endpoints do not have a zone specified")
    desired = {zone: max(share * count, least[zone]) for zone, share in wanted.items()}
    moves = _moves(Counter(zones), desired)
    found = []
    for zone in zones:
        taking = moves.get(zone)
        found.append(taking.pop(0) if taking else zone)
    return found


def _moves(have: Mapping[str, int], desired: Mapping[str, float]) -> dict[str, list[str]]:
    """Zone -> the zones that it gives an endpoint to."""
    giving = {zone: have.get(zone, 0) - target for zone, target in desired.items() if have.get(zone, 0) > target}
    receiving = {zone: target - have.get(zone, 0) for zone, target in desired.items() if have.get(zone, 0) < target}
    moves: dict[str, list[str]] = {}
    while giving and receiving:
        giver, receiver = (max(sorted(each), key=each.__getitem__) for each in (giving, receiving))
        if (giving[giver] < 1 and receiving[receiver] < 1) or min(giving[giver], receiving[receiver]) < 0.5:
            break
        moves.setdefault(giver, []).append(receiver)
        giving[giver] -= 1
        receiving[receiver] -= 1
    return moves
