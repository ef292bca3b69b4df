"""Lay endpoints out over slices so that little changes.

Enters: the slices there are, and the endpoints there should be, by port list.
Leaves: calls that create, update and delete slices.
Holds: an endpoint that is already in a slice stays in it; no slice has more than limits.ENDPOINTS_PER_SLICE_MAX; at least one
slice is left, so that "no endpoints" can be told from "not looked at yet".
Next: registry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson
from msgspec import Struct, field

from edgekube import limits
from edgekube.api.calls import Call, Create, Delete, Update
from edgekube.api.kinds import ENDPOINTSLICE
from edgekube.api.objects import Object, annotations_of, labels_of, name_of, namespace_of, uid_of
from edgekube.api.verbs import DeleteOptions
from edgekube.controllers.endpoints.backends import TRIGGER_TIME


class Wanted(Struct, frozen=True):
    """Endpoints with the same ports."""

    ports: list[Object]
    endpoints: list[Object] = field(default_factory=list)


class Family(Struct, frozen=True):
    """What all slices of one owner and one address type share."""

    owner: Object
    owner_reference: Object
    name: str  # the Service's: slices are named after it
    address_type: str
    labels: dict[str, str]
    annotations: Mapping[str, str]
    trigger_time: str | None


def lay_out(family: Family, existing: Sequence[Object], wanted: Sequence[Wanted]) -> list[Call]:
    slices = sorted((each for each in existing if each.get("addressType") == family.address_type), key=name_of)
    by_ports: dict[bytes, list[Object]] = {}
    for each in slices:
        by_ports.setdefault(_canonical(each.get("ports")), []).append(each)
    contents: list[tuple[Object, list[Object], list[Object]]] = []  # slice, ports, endpoints
    fresh: list[tuple[list[Object], list[Object]]] = []  # ports, endpoints
    for group in wanted:
        kept, rest = _keep(by_ports.pop(_canonical(group.ports), []), group.endpoints)
        _fill(kept, rest)
        contents += [(each, group.ports, endpoints) for each, endpoints in kept]
        size = limits.ENDPOINTS_PER_SLICE_MAX
        fresh += [(group.ports, rest[start : start + size]) for start in range(0, len(rest), size)]
    contents += [(each, each.get("ports") or [], []) for group in by_ports.values() for each in group]
    return _calls(family, contents, fresh)


def _calls(
    family: Family, contents: list[tuple[Object, list[Object], list[Object]]], fresh: list[tuple[list[Object], list[Object]]]
) -> list[Call]:
    calls: list[Call] = []
    empty = [each for each, _, endpoints in contents if not endpoints]
    full = len(contents) - len(empty)
    # An emptied slice takes the place of one that would be made.
    for each, _, endpoints in contents:
        if endpoints:
            continue
        if fresh:
            ports, new = fresh.pop(0)
            calls += _update(family, each, ports, new)
            full += 1
        elif not full:
            calls += _update(family, each, [], [])
            full += 1
        else:
            options = DeleteOptions(precondition_uid=uid_of(each))
            calls.append(Delete(ENDPOINTSLICE, namespace_of(each), name_of(each), options))
    for each, ports, endpoints in contents:
        if endpoints:
            calls += _update(family, each, ports, endpoints)
    if not full and not fresh:
        fresh = [([], [])]
    return calls + [_create(family, ports, endpoints) for ports, endpoints in fresh]


def _keep(slices: Sequence[Object], endpoints: Sequence[Object]) -> tuple[list[tuple[Object, list[Object]]], list[Object]]:
    """Each slice with those of its endpoints that are still wanted, in their new form; and the wanted ones that are in none."""
    left = {_identity(each): each for each in endpoints}
    kept = []
    for each in slices:
        found = [left.pop(identity) for old in each.get("endpoints") or () if (identity := _identity(old)) in left]
        kept.append((each, found))
    return kept, list(left.values())


def _fill(kept: list[tuple[Object, list[Object]]], rest: list[Object]) -> None:
    """Put new endpoints where something changes anyway, then where there is most room taken already."""

    def order(item: tuple[Object, list[Object]]) -> tuple[bool, int]:
        each, endpoints = item
        return (not endpoints or each.get("endpoints") == endpoints, -len(endpoints))

    for _, endpoints in sorted(kept, key=order):
        room = limits.ENDPOINTS_PER_SLICE_MAX - len(endpoints)
        if not endpoints:
            continue
        endpoints += rest[:room]
        del rest[:room]


def _identity(endpoint: Object) -> tuple[str, str]:
    target = endpoint.get("targetRef") or {}
    return (",".join(endpoint.get("addresses") or ()), str(target.get("uid") or ""))


def _canonical(ports: Sequence[Object] | None) -> bytes:
    complete = [
        {"name": each.get("name") or "", "protocol": each.get("protocol") or "TCP", "port": each.get("port")}
        | ({"appProtocol": each["appProtocol"]} if each.get("appProtocol") else {})
        for each in ports or ()
    ]
    return b"".join(sorted(orjson.dumps(each, option=orjson.OPT_SORT_KEYS) for each in complete))


def _metadata(family: Family) -> tuple[dict[str, str], dict[str, str]]:
    annotations = dict(family.annotations)
    if family.trigger_time:
        annotations[TRIGGER_TIME] = family.trigger_time
    return family.labels, annotations


def _create(family: Family, ports: list[Object], endpoints: list[Object]) -> Call:
    labels, annotations = _metadata(family)
    body: Object = {
        "apiVersion": ENDPOINTSLICE.api_version,
        "kind": ENDPOINTSLICE.kind,
        "metadata": {
            "generateName": f"{family.name}-",
            "namespace": namespace_of(family.owner),
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [family.owner_reference],
        },
        "addressType": family.address_type,
        "endpoints": endpoints,
        "ports": ports,
    }
    return Create(ENDPOINTSLICE, namespace_of(family.owner), body)


def _update(family: Family, each: Object, ports: list[Object], endpoints: list[Object]) -> list[Call]:
    labels, annotations = _metadata(family)
    same = (
        (each.get("endpoints") or []) == endpoints
        and _canonical(each.get("ports")) == _canonical(ports)
        and labels_of(each) == labels
        and {**annotations_of(each), TRIGGER_TIME: ""} == {**annotations, TRIGGER_TIME: ""}
    )
    if same:
        return []
    metadata = {**each["metadata"], "labels": labels, "annotations": annotations}
    return [Update(ENDPOINTSLICE, {**each, "metadata": metadata, "endpoints": endpoints, "ports": ports})]
