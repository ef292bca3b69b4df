"""Services: addresses, node ports and what depends on the type.

Enters: the new service, the stored one, and a Claim on the allocator.
Leaves: the service with everything filled in, changed in place; StatusError Invalid when it cannot be had.
Holds: what was allocated stays with the service while it needs it (source: k8s.io/kubernetes pkg/registry/core/service,
storage and alloc).
Next: registry.create, registry.update.
"""

from __future__ import annotations

import orjson

from edgekube.api import errors
from edgekube.api.errors import Cause
from edgekube.api.objects import Object, name_of
from edgekube.api.validation.services import check_cluster_ips
from edgekube.registry.allocation import Claim, Refused, addresses_of, node_ports_of
from edgekube.registry.strategies.base import Strategy


def _type(service: Object) -> str:
    return str((service.get("spec") or {}).get("type") or "ClusterIP")


def _needs_address(service: Object) -> bool:
    return _type(service) != "ExternalName"


def _needs_node_ports(service: Object) -> bool:
    if _type(service) == "NodePort":
        return True
    return _type(service) == "LoadBalancer" and service["spec"].get("allocateLoadBalancerNodePorts") is not False


def _needs_health_port(service: Object) -> bool:
    return _type(service) == "LoadBalancer" and service["spec"].get("externalTrafficPolicy") == "Local"


def _is_external(service: Object) -> bool:
    """Somebody outside may reach it."""
    return _type(service) in ("NodePort", "LoadBalancer") or (
        _type(service) == "ClusterIP" and bool((service.get("spec") or {}).get("externalIPs"))
    )


def _is_headless(service: Object) -> bool:
    spec = service["spec"]
    return bool(spec.get("clusterIP") == "None") or (spec.get("clusterIPs") or [""])[0] == "None"


class ServiceStrategy(Strategy):
    def first_status(self, obj: Object) -> Object:
        return {"loadBalancer": {}}

    def prepare_for_update(self, obj: Object, old: Object) -> None:
        super().prepare_for_update(obj, old)
        _carry_over(obj, old)
        _drop_what_the_type_lost(obj, old)


def _carry_over(new: Object, old: Object) -> None:
    """A client that leaves allocated fields out means "as they are"."""
    spec, old_spec = new.setdefault("spec", {}), old.get("spec") or {}
    if _needs_address(old) and _needs_address(new):
        if not spec.get("clusterIP") and spec.get("clusterIPs") in (None, [], old_spec.get("clusterIPs")):
            for key in ("clusterIP", "clusterIPs"):
                if key in old_spec:
                    spec[key] = old_spec[key]
        if spec.get("clusterIP") == old_spec.get("clusterIP") and not spec.get("clusterIPs") and "clusterIPs" in old_spec:
            spec["clusterIPs"] = old_spec["clusterIPs"]
        for key in ("ipFamilies", "ipFamilyPolicy"):
            if not spec.get(key) and key in old_spec:
                spec[key] = old_spec[key]
        if spec.get("clusterIP") != old_spec.get("clusterIP") and spec.get("clusterIPs") == old_spec.get("clusterIPs"):
            spec["clusterIPs"] = [spec["clusterIP"]] if spec.get("clusterIP") else []
    if _needs_node_ports(old) and _needs_node_ports(new):
        held = {(p.get("protocol") or "TCP", p.get("port")): p.get("nodePort") for p in old_spec.get("ports") or []}
        used = {p.get("nodePort") for p in spec.get("ports") or []}
        for port in spec.get("ports") or []:
            before = held.get((port.get("protocol") or "TCP", port.get("port")))
            if not port.get("nodePort") and before and before not in used:
                port["nodePort"] = before
    health_port = old_spec.get("healthCheckNodePort")
    if health_port and _needs_health_port(new) and not spec.get("healthCheckNodePort"):
        spec["healthCheckNodePort"] = health_port


def _drop_what_the_type_lost(new: Object, old: Object) -> None:
    """Changing the type lets go of fields that the new type has no use for, when the client left them as they were."""
    spec, old_spec = new["spec"], old.get("spec") or {}
    if _needs_address(old) and not _needs_address(new):
        if spec.get("clusterIPs") in (None, [], old_spec.get("clusterIPs")):
            for key in ("clusterIP", "clusterIPs"):
                spec.pop(key, None)
        _drop_if_same(spec, old_spec, "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy")
    if _needs_node_ports(old) and not _needs_node_ports(new) and node_ports_of(new):
        before = [port.get("nodePort") for port in old_spec.get("ports") or []]
        if [port.get("nodePort") for port in spec.get("ports") or []] == before:
            for port in spec.get("ports") or []:
                port.pop("nodePort", None)
    if not _needs_health_port(new):
        _drop_if_same(spec, old_spec, "healthCheckNodePort")
    if _type(old) == "LoadBalancer" and _type(new) != "LoadBalancer":
        _drop_if_same(spec, old_spec, "allocateLoadBalancerNodePorts", "loadBalancerClass")
        if "status" in new:
            new["status"] = {"loadBalancer": {}}
    if _is_external(old) and not _is_external(new):
        _drop_if_same(spec, old_spec, "externalTrafficPolicy")


def _drop_if_same(spec: Object, old_spec: Object, *keys: str) -> None:
    for key in keys:
        if spec.get(key) == old_spec.get(key):
            spec.pop(key, None)


def _settle_families(service: Object, old: Object | None, configured: list[str]) -> list[Cause]:
    """ipFamilyPolicy, ipFamilies and how many clusterIPs there may be. Whatever is refused is named as upstream names it."""
    spec, old_spec = service["spec"], (old or {}).get("spec") or {}
    selectorless = _is_headless(service) and not spec.get("selector")
    if spec.get("ipFamilyPolicy") is None:
        spec["ipFamilyPolicy"] = "RequireDualStack" if selectorless else "SingleStack"
    single = spec["ipFamilyPolicy"] == "SingleStack"
    found: list[Cause] = []
    check_cluster_ips(found, spec)
    if found:
        return found
    for key, what in (("clusterIPs", "cluster IP"), ("ipFamilies", "IP family")):
        values, before = spec.get(key) or [], old_spec.get(key) or []
        if single and values == before and len(values) > 1:
            spec[key] = values[:1]  # nothing else was touched: the policy says what is meant
        elif not single and values and len(values) < len(before):
            found.append(_bad_policy(spec, f"must be 'SingleStack' to release the secondary {what}"))
    for key, what in (("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families")):
        if single and len(spec.get(key) or []) == 2:
            why = f"must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified"
            found.append(_bad_policy(spec, why))
    families = list(spec.get("ipFamilies") or [])
    for i, address in enumerate(spec.get("clusterIPs") or []):
        if address == "None" or i < len(families):
            continue
        family = "IPv6" if ":" in address else "IPv4"
        if family in configured:
            families.append(family)
        else:
            shown = orjson.dumps(spec["clusterIPs"]).decode()
            why = f"Invalid value: {shown}: {family} is not configured on this cluster"
            found.append(Cause("FieldValueInvalid", why, f"spec.clusterIPs[{i}]"))
    if not found and not selectorless:
        found = _not_configured(spec, families, configured)
    if found:
        return found
    families = families or configured[:1]
    if not single and len(families) == 1 and (selectorless or len(configured) == 2):
        families.append("IPv6" if families[0] == "IPv4" else "IPv4")
    spec["ipFamilies"] = families
    return []


def _not_configured(spec: Object, families: list[str], configured: list[str]) -> list[Cause]:
    found = []
    if spec["ipFamilyPolicy"] == "RequireDualStack" and len(configured) < 2:
        found.append(_bad_policy(spec, "this cluster is not configured for dual-stack services"))
    for i, family in enumerate(families):
        if family not in configured:
            why = f'Invalid value: "{family}": not configured on this cluster'
            found.append(Cause("FieldValueInvalid", why, f"spec.ipFamilies[{i}]"))
    return found


def _bad_policy(spec: Object, why: str) -> Cause:
    return Cause("FieldValueInvalid", f'Invalid value: "{spec["ipFamilyPolicy"]}": {why}', "spec.ipFamilyPolicy")


def _prefers_both_as_before(new: Object, old: Object | None) -> bool:
    """Whether the cluster has one family or two may change under such a Service; it keeps what it has until somebody asks."""
    if old is None or _type(new) != _type(old) or not _needs_address(old):
        return False
    spec, old_spec = new["spec"], old.get("spec") or {}
    if spec.get("ipFamilyPolicy") != "PreferDualStack" or old_spec.get("ipFamilyPolicy") != "PreferDualStack":
        return False
    return all((spec.get(key) or []) == (old_spec.get(key) or []) for key in ("clusterIPs", "ipFamilies"))


def allocate(new: Object, old: Object | None, claim: Claim) -> None:
    """Fill in what the service needs and does not have. StatusError Invalid names the field that cannot be had."""
    spec = new.setdefault("spec", {})
    causes: list[Cause] = []
    if _needs_address(new):
        if spec.get("clusterIP") and not spec.get("clusterIPs"):
            spec["clusterIPs"] = [spec["clusterIP"]]  # as clients know it that are older than clusterIPs
        if not _prefers_both_as_before(new, old):
            causes += _settle_families(new, old, claim.families)
            if not causes:
                try:
                    _allocate_addresses(new, old, claim)
                except Refused as refused:
                    causes.append(refused.cause)
    elif old is not None:
        for address in addresses_of(old):
            claim.release_address(address)
    if not causes:
        try:
            _allocate_ports(new, old, claim)
        except Refused as refused:
            causes.append(refused.cause)
    if causes:
        claim.give_back()
        raise errors.invalid("", "Service", name_of(new), causes)


def _allocate_addresses(new: Object, old: Object | None, claim: Claim) -> None:
    """One address of each family; those that the Service has, it keeps."""
    spec = new["spec"]
    held = addresses_of(old) if old is not None else []
    given = list(spec.get("clusterIPs") or [])
    if _is_headless(new):
        taken = ["None"]
    else:
        wanted = [given[i] if i < len(given) else "" for i in range(len(spec["ipFamilies"]))]
        taken = [
            address if address and address in held else claim.address(family, address, given)
            for family, address in zip(spec["ipFamilies"], wanted, strict=True)
        ]
    for address in held:
        if address not in taken:
            claim.release_address(address)
    spec["clusterIP"], spec["clusterIPs"] = taken[0], taken


def _allocate_ports(new: Object, old: Object | None, claim: Claim) -> None:
    spec = new["spec"]
    held = set(node_ports_of(old)) if old is not None else set()
    if _type(new) in ("NodePort", "LoadBalancer"):  # elsewhere the rules refuse them
        given = [port for port in enumerate(spec.get("ports") or []) if port[1].get("nodePort")]
        free = [port for port in enumerate(spec.get("ports") or []) if not port[1].get("nodePort")]
        for index, port in given:  # requests first, so that a drawn port cannot take one of them
            if int(port["nodePort"]) not in held:
                claim.node_port(int(port["nodePort"]), f"spec.ports[{index}].nodePort")
        if _needs_node_ports(new):
            chosen: dict[object, tuple[int, set[str]]] = {}
            for _, port in given:
                protocols = chosen.setdefault(port.get("port"), (int(port["nodePort"]), set()))[1]
                protocols.add(port.get("protocol") or "TCP")
            for index, port in free:
                protocol = port.get("protocol") or "TCP"
                same = chosen.get(port.get("port"))
                if same is not None and protocol not in same[1]:  # one number for TCP and UDP of the same port
                    port["nodePort"] = same[0]
                    same[1].add(protocol)
                    continue
                port["nodePort"] = claim.node_port(0, f"spec.ports[{index}].nodePort")
                chosen[port.get("port")] = (port["nodePort"], {protocol})
    if _needs_health_port(new):
        wanted = int(spec.get("healthCheckNodePort") or 0)
        if not wanted or wanted not in held:
            spec["healthCheckNodePort"] = claim.node_port(wanted, "spec.healthCheckNodePort")
    for port_number in held - set(node_ports_of(new)):
        claim.release_port(port_number)
