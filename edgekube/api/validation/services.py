"""Services and Endpoints.

Enters: defaulted Services (the registry has mirrored clusterIP and clusterIPs, and allocated addresses and ports), Endpoints.
Leaves: causes appended to ``out``.
Source: core/validation ValidateService, ValidateServiceUpdate, ValidateServiceClusterIPsRelatedFields, ValidateEndpoints.
Next: api.validation.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from edgekube.api import names
from edgekube.api.objects import Object
from edgekube.api.validation import causes, inner
from edgekube.api.validation.addresses import check_cidr, check_ip, check_not_special_ip
from edgekube.api.validation.fields import (
    PROTOCOLS,
    Out,
    check,
    check_one_of,
    check_port,
    dns_label,
    dns_subdomain,
    items,
    number,
    parse_ip,
    part,
    qualified_name,
    repeated,
    text,
    texts,
)
from edgekube.api.validation.metadata import check_labels

_TYPES: Final = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_AFFINITIES: Final = ("ClientIP", "None")
_POLICIES: Final = ("Cluster", "Local")
_FAMILIES: Final = ("IPv4", "IPv6")
_FAMILY_POLICIES: Final = ("PreferDualStack", "RequireDualStack", "SingleStack")
_DISTRIBUTIONS: Final = ("PreferClose", "PreferSameZone", "PreferSameNode")
_AFFINITY_SECONDS_MAX: Final = 86400
_ONLY_BALANCER: Final = "may only be used when `type` is 'LoadBalancer'"


def _is_headless(spec: Object) -> bool:
    addresses = texts(spec, "clusterIPs")
    return addresses == ["None"] or (not addresses and spec.get("clusterIP") == "None")


def check_service(out: Out, service: Object) -> None:
    _check_service(out, service, {})


def _check_service(out: Out, service: Object, old: Object) -> None:
    spec, before = part(service, "spec"), part(old, "spec")
    kind, headless, ports = text(spec, "type"), _is_headless(spec), items(spec, "ports")
    if not ports and not headless and kind != "ExternalName":
        out.append(causes.required("spec.ports"))
    if kind in ("LoadBalancer", "NodePort") and headless:
        detail = f"may not be set to 'None' for {kind} services"
        out.append(causes.invalid("spec.clusterIPs[0]", "None", detail))
    if kind == "ExternalName":
        _check_external_name(out, spec)
    _check_ports(out, spec, ports)
    check_labels(out, spec.get("selector"), "spec.selector")
    _check_affinity(out, spec)
    if kind != "ExternalName":
        check_cluster_ips(out, spec, texts(before, "clusterIPs"))
    for i, address in enumerate(texts(spec, "externalIPs")):
        if check_ip(out, address, f"spec.externalIPs[{i}]", texts(before, "externalIPs")):
            check_not_special_ip(out, address, f"spec.externalIPs[{i}]")
    check_one_of(out, spec, "type", "spec", _TYPES)
    _check_balancer(out, service, spec, old)
    _check_traffic(out, spec, headless=headless)


def _check_external_name(out: Out, spec: Object) -> None:
    for key in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        if spec.get(key) or (key == "clusterIPs" and spec.get("clusterIP")):
            out.append(causes.forbidden(f"spec.{key}", "may not be set for ExternalName services"))
    name = text(spec, "externalName").removesuffix(".")
    if name:
        check(out, dns_subdomain(name), "spec.externalName", name)
    else:
        out.append(causes.required("spec.externalName"))


def _check_ports(out: Out, spec: Object, ports: list[Object]) -> None:
    seen: set[str] = set()
    for i, port in enumerate(ports):
        path, name = f"spec.ports[{i}]", text(port, "name")
        if name:
            check(out, dns_label(name), f"{path}.name", name)
            if name in seen:
                out.append(causes.duplicate(f"{path}.name", name))
            seen.add(name)
        elif len(ports) > 1:
            out.append(causes.required(f"{path}.name"))
        check(out, names.port_number(number(port, "port")), f"{path}.port", number(port, "port"))
        check_one_of(out, port, "protocol", path, PROTOCOLS)
        check_port(out, port.get("targetPort"), f"{path}.targetPort")
        if port.get("appProtocol") is not None:
            check(out, qualified_name(port["appProtocol"]), f"{path}.appProtocol", port["appProtocol"])
    node_ports: set[tuple[str, int]] = set()
    numbers: set[tuple[str, int]] = set()
    for i, port in enumerate(ports):
        protocol, node_port = text(port, "protocol"), number(port, "nodePort")
        if node_port:
            if text(spec, "type") == "ClusterIP":
                detail = "may not be used when `type` is 'ClusterIP'"
                out.append(causes.forbidden(f"spec.ports[{i}].nodePort", detail))
            if (protocol, node_port) in node_ports:
                out.append(causes.duplicate(f"spec.ports[{i}].nodePort", node_port))
            node_ports.add((protocol, node_port))
        key = (protocol, number(port, "port"))
        if key in numbers:
            out.append(
                causes.duplicate(f"spec.ports[{i}]", inner.inner({"protocol": key[0], "port": key[1]}, inner.SERVICE_PORT))
            )
        numbers.add(key)


def _check_affinity(out: Out, spec: Object) -> None:
    check_one_of(out, spec, "sessionAffinity", "spec", _AFFINITIES)
    config, path = spec.get("sessionAffinityConfig"), "spec.sessionAffinityConfig"
    if spec.get("sessionAffinity") == "None":
        if config is not None:
            out.append(causes.forbidden(path, "must not be set when session affinity is None"))
    elif spec.get("sessionAffinity") == "ClientIP":
        needed = "when session affinity type is ClientIP"
        seconds = part(config or {}, "clientIP").get("timeoutSeconds")
        if config is None:
            out.append(causes.required(path, needed))
        elif config.get("clientIP") is None:
            out.append(causes.required(f"{path}.clientIP", needed))
        elif seconds is None:
            out.append(causes.required(f"{path}.clientIP.timeoutSeconds", needed))
        elif not 0 < seconds <= _AFFINITY_SECONDS_MAX:
            detail = f"must be greater than 0 and less than {_AFFINITY_SECONDS_MAX}"
            out.append(causes.invalid(f"{path}.clientIP.timeoutSeconds", seconds, detail))


def check_cluster_ips(out: Out, spec: Object, known: Collection[str] = ()) -> None:
    """clusterIP, clusterIPs, ipFamilies and ipFamilyPolicy together; the registry's allocator asks too. ``known``: those that
    the stored Service has."""
    address, addresses, families = text(spec, "clusterIP"), texts(spec, "clusterIPs"), texts(spec, "ipFamilies")
    path = "spec.clusterIPs"
    if address:
        if not addresses:
            out.append(causes.required(path))
        elif addresses[0] != address:
            out.append(causes.invalid(path, addresses, "first value must match `clusterIP`"))
    elif addresses:
        out.append(causes.invalid(path, addresses, "must be empty when `clusterIP` is not specified"))
    again = repeated(families)
    for i, family in enumerate(families):
        if family not in _FAMILIES:
            out.append(causes.not_supported(f"spec.ipFamilies[{i}]", family, _FAMILIES))
        if i in again:
            out.append(causes.duplicate(f"spec.ipFamilies[{i}]", family))
    if spec.get("ipFamilyPolicy") is not None and spec["ipFamilyPolicy"] not in _FAMILY_POLICIES:
        out.append(causes.not_supported("spec.ipFamilyPolicy", spec["ipFamilyPolicy"], _FAMILY_POLICIES))
    good = True
    for i, one in enumerate(addresses):
        if i == 0 and one == "None":
            if len(addresses) > 1:
                good = False
                out.append(causes.invalid(path, addresses, "'None' must be the first and only value"))
        elif not check_ip(out, one, f"{path}[{i}]", known):
            good = False
    if len(addresses) > 2:
        out.append(causes.invalid(path, addresses, "may only hold up to 2 values"))
    if not good:
        return
    versions = [parsed.version for parsed in map(parse_ip, addresses) if parsed is not None]
    if len(addresses) > 1 and len(set(versions)) < 2:
        out.append(causes.invalid(path, addresses, "may specify no more than one IP for each IP family"))
    if addresses != ["None"]:
        for i, (version, family) in enumerate(zip(versions, families, strict=False)):
            if family in _FAMILIES and family != f"IPv{version}":
                detail = f"expected an {family} value as indicated by `ipFamilies[{i}]`"
                out.append(causes.invalid(f"{path}[{i}]", addresses[i], detail))


def _check_balancer(out: Out, service: Object, spec: Object, old: Object) -> None:
    balanced = text(spec, "type") == "LoadBalancer"
    ranges = texts(spec, "loadBalancerSourceRanges")
    path = "spec.LoadBalancerSourceRanges"
    annotation = "service.beta.kubernetes.io/load-balancer-source-ranges"
    if ranges:
        if not balanced:
            out.append(causes.forbidden(path, _ONLY_BALANCER))
        known = [cidr.strip() for cidr in texts(part(old, "spec"), "loadBalancerSourceRanges")]
        for i, cidr in enumerate(ranges):
            check_cidr(out, cidr.strip(), f"{path}[{i}]", known)
    elif annotation in part(part(service, "metadata"), "annotations"):
        path = f"metadata.annotations[{annotation}]"
        if not balanced:
            out.append(causes.forbidden(path, _ONLY_BALANCER))
        value = service["metadata"]["annotations"][annotation] or ""
        same = part(part(old, "metadata"), "annotations").get(annotation) == value
        for cidr in value.split(",") if value.strip() and not same else ():
            check_cidr(out, cidr.strip(), path)
    allocate = spec.get("allocateLoadBalancerNodePorts")
    if balanced:
        if allocate is None:
            out.append(causes.required("allocateLoadBalancerNodePorts"))
        if spec.get("loadBalancerClass") is not None:
            value = spec["loadBalancerClass"]
            check(out, qualified_name(value), "spec.loadBalancerClass", value)
        return
    if allocate is not None:
        out.append(causes.forbidden("spec.allocateLoadBalancerNodePorts", _ONLY_BALANCER))
    if spec.get("loadBalancerClass") is not None:
        out.append(causes.forbidden("spec.loadBalancerClass", _ONLY_BALANCER))


def _needs_health_check(spec: Object) -> bool:
    return text(spec, "type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def _check_traffic(out: Out, spec: Object, *, headless: bool) -> None:
    kind, policy = text(spec, "type"), text(spec, "externalTrafficPolicy")
    external = kind in ("LoadBalancer", "NodePort") or (kind == "ClusterIP" and bool(spec.get("externalIPs")))
    if external:
        check_one_of(out, spec, "externalTrafficPolicy", "spec", _POLICIES)
    elif policy:
        detail = "may only be set for externally-accessible services"
        out.append(causes.invalid("spec.externalTrafficPolicy", policy, detail))
    health_port, path = number(spec, "healthCheckNodePort"), "spec.healthCheckNodePort"
    if _needs_health_check(spec):
        if not health_port:
            out.append(causes.required(path))
        else:
            check(out, names.port_number(health_port), path, health_port)
    elif health_port:
        detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        out.append(causes.invalid(path, health_port, detail))
    internal = spec.get("internalTrafficPolicy")
    if internal is None:
        if kind in ("ClusterIP", "LoadBalancer", "NodePort"):
            out.append(causes.required("spec.internalTrafficPolicy"))
    elif internal not in _POLICIES:
        out.append(causes.not_supported("spec.internalTrafficPolicy", internal, _POLICIES))
    distribution = spec.get("trafficDistribution")
    if distribution is not None and distribution not in _DISTRIBUTIONS:
        out.append(causes.not_supported("spec.trafficDistribution", distribution, _DISTRIBUTIONS))


# --- changes ----------------------------------------------------------------------------------------------------------


def check_service_update(out: Out, new: Object, old: Object) -> None:
    spec, before = part(new, "spec"), part(old, "spec")
    if "ExternalName" not in (text(spec, "type"), text(before, "type")):
        headless, was_headless = _is_headless(spec), _is_headless(before)
        if not (headless and was_headless):
            _check_released(out, spec, before, "clusterIPs", "clusterIP")
        if not headless and not was_headless:
            _check_released(out, spec, before, "ipFamilies", "ipFamily")
    if text(spec, "type") == text(before, "type") == "LoadBalancer":
        chosen = spec.get("loadBalancerClass")
        if chosen != before.get("loadBalancerClass"):
            out.append(causes.invalid("spec.loadBalancerClass", chosen, "may not change once set"))
    if (
        _needs_health_check(spec)
        and _needs_health_check(before)
        and number(spec, "healthCheckNodePort") != number(before, "healthCheckNodePort")
    ):
        out.append(causes.forbidden("spec.healthCheckNodePort", causes.IMMUTABLE))
    _check_service(out, new, old)


def _check_released(out: Out, spec: Object, before: Object, key: str, singular: str) -> None:
    """The first value stays; a second may come, and may go when the policy says so."""
    values, old_values = texts(spec, key), texts(before, key)
    shown: Any = spec.get(key)
    if len(values) == len(old_values):
        for i, value in enumerate(old_values):
            if value != values[i]:
                at = i if key == "clusterIPs" else 0
                out.append(causes.invalid(f"spec.{key}[{at}]", shown, "may not change once set"))
        return
    if len(values) < len(old_values) and not values:
        out.append(causes.invalid(f"spec.{key}[0]", shown, f"primary {singular} can not be unset"))
    if values and old_values and values[0] != old_values[0]:
        out.append(causes.invalid(f"spec.{key}[0]", shown, "may not change once set"))
    if len(values) < len(old_values) and len(values) == 1 and spec.get("ipFamilyPolicy") != "SingleStack":
        detail = f"must be set to 'SingleStack' when releasing the secondary {singular}"
        out.append(causes.invalid("spec.ipFamilyPolicy", spec.get("ipFamilyPolicy"), detail))


def check_load_balancer_status(out: Out, status: Object, kind: str, field: str, known: Collection[str] = ()) -> None:
    """``kind`` is the Service's type."""
    ingresses = items(part(status, "loadBalancer"), "ingress")
    if ingresses and kind != "LoadBalancer":
        out.append(causes.forbidden(field, "may only be used when `spec.type` is 'LoadBalancer'"))
        return
    for i, ingress in enumerate(ingresses):
        path, address, mode, host = f"{field}[{i}]", text(ingress, "ip"), ingress.get("ipMode"), text(ingress, "hostname")
        if address:
            check_ip(out, address, f"{path}.ip", known)
            if mode is None:
                out.append(causes.required(f"{path}.ipMode", "must be specified when `ip` is set"))
        elif mode is not None:
            out.append(causes.forbidden(f"{path}.ipMode", "may not be specified when `ip` is not set"))
        if address and mode is not None and mode not in ("Proxy", "VIP"):
            out.append(causes.not_supported(f"{path}.ipMode", mode, ("Proxy", "VIP")))
        if host:
            check(out, dns_subdomain(host), f"{path}.hostname", host)
            if parse_ip(host) is not None:
                out.append(causes.invalid(f"{path}.hostname", host, "must be a DNS name, not an IP address"))


def check_service_status(out: Out, new: Object, old: Object) -> None:
    before = items(part(part(old, "status"), "loadBalancer"), "ingress")
    kind, known = text(part(new, "spec"), "type"), {text(one, "ip") for one in before}
    check_load_balancer_status(out, part(new, "status"), kind, "status.loadBalancer.ingress", known)


# --- Endpoints ----------------------------------------------------------------------------------------------------------


def check_endpoints(out: Out, endpoints: Object) -> None:
    for i, subset in enumerate(items(endpoints, "subsets")):
        path, ports = f"subsets[{i}]", items(subset, "ports")
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            out.append(causes.required(path, "must specify `addresses` or `notReadyAddresses`"))
        for key in ("addresses", "notReadyAddresses"):
            for j, address in enumerate(items(subset, key)):
                _check_address(out, address, f"{path}.{key}[{j}]")
        for j, port in enumerate(ports):
            port_path, name = f"{path}.ports[{j}]", text(port, "name")
            if name:
                check(out, dns_label(name), f"{port_path}.name", name)
            elif len(ports) > 1:
                out.append(causes.required(f"{port_path}.name"))
            check(out, names.port_number(number(port, "port")), f"{port_path}.port", number(port, "port"))
            check_one_of(out, port, "protocol", port_path, PROTOCOLS)
            if port.get("appProtocol") is not None:
                check(out, qualified_name(port["appProtocol"]), f"{port_path}.appProtocol", port["appProtocol"])


def _check_address(out: Out, address: Object, field: str) -> None:
    value, hostname, node = text(address, "ip"), text(address, "hostname"), address.get("nodeName")
    check_ip(out, value, f"{field}.ip")
    if hostname:
        check(out, dns_label(hostname), f"{field}.hostname", hostname)
    if node is not None:
        check(out, dns_subdomain(node), f"{field}.nodeName", node)
    check_not_special_ip(out, value, f"{field}.ip")
