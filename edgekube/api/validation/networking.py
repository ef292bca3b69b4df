"""Ingresses, NetworkPolicies, EndpointSlices, and the addresses that Services take.

Enters: defaulted objects of networking.k8s.io and discovery.k8s.io; the old one on update.
Leaves: causes appended to ``out``.
Source: networking/validation, discovery/validation.
Next: api.validation.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from edgekube.api import names
from edgekube.api.errors import Cause
from edgekube.api.objects import Object
from edgekube.api.validation import causes
from edgekube.api.validation.addresses import (
    check_canonical_cidr,
    check_canonical_ip,
    check_cidr,
    check_ip,
    check_not_special_ip,
    sloppy_cidr,
)
from edgekube.api.validation.fields import (
    Out,
    check,
    check_domain_prefixed_path,
    check_immutable,
    check_names,
    check_one_of_given,
    check_port,
    dns_label,
    dns_subdomain,
    items,
    number,
    parse_cidr,
    parse_ip,
    part,
    port_name,
    qualified_name,
    repeated,
    text,
    texts,
)
from edgekube.api.validation.inner import PARENT_REFERENCE
from edgekube.api.validation.metadata import check_label_selector, check_labels

_PATH_TYPES: Final = ("Exact", "ImplementationSpecific", "Prefix")
_BAD_SEQUENCES: Final = ("//", "/./", "/../", "%2f", "%2F")
_BAD_ENDINGS: Final = ("/..", "/.")
_PROTOCOLS: Final = ("TCP", "UDP", "SCTP")
_CLASS_CONTROLLER_BYTES_MAX: Final = 250
_CLASS_ANNOTATION: Final = "kubernetes.io/ingress.class"
_ENDPOINTS_MAX: Final = 1000
_ADDRESSES_MAX: Final = 100
_PORTS_MAX: Final = 20000
_HINTS_MAX: Final = 8
_TOPOLOGY_MAX: Final = 16


# --- Ingress ------------------------------------------------------------------------------------------------------------


def check_ingress_create(out: Out, ingress: Object) -> None:
    check_ingress(out, ingress)
    annotation = part(part(ingress, "metadata"), "annotations").get(_CLASS_ANNOTATION)
    named = part(ingress, "spec").get("ingressClassName")
    if annotation is not None and named is not None and annotation != named:
        detail = "must match `ingressClassName` when both are specified"
        out.append(causes.invalid(f"annotations.{_CLASS_ANNOTATION}", annotation, detail))


def check_ingress(out: Out, ingress: Object) -> None:
    spec = part(ingress, "spec")
    default, rules = spec.get("defaultBackend"), items(spec, "rules")
    if not rules and default is None:
        out.append(causes.invalid("spec", None, "either `defaultBackend` or `rules` must be specified"))
    if default is not None:
        _check_backend(out, default, "spec.defaultBackend")
    for i, rule in enumerate(rules):
        path, host = f"spec.rules[{i}]", text(rule, "host")
        if host:
            if parse_ip(host) is not None:
                out.append(causes.invalid(f"{path}.host", host, "must be a DNS name, not an IP address"))
            check(out, names.wildcard_subdomain(host) if "*" in host else dns_subdomain(host), f"{path}.host", host)
        if rule.get("http") is not None:
            _check_paths(out, rule["http"], f"{path}.http")
    for i, tls in enumerate(items(spec, "tls")):
        for j, host in enumerate(texts(tls, "hosts")):
            messages = names.wildcard_subdomain(host) if "*" in host else dns_subdomain(host)
            check(out, messages, f"spec.tls[{i}].hosts[{j}]", host)
        secret = text(tls, "secretName")
        if secret:
            check(out, dns_subdomain(secret), f"spec.tls[{i}].secretName", secret)
    name = spec.get("ingressClassName")
    if name is not None:
        check(out, dns_subdomain(name), "spec.ingressClassName", name)


def check_ingress_update(out: Out, new: Object, old: Object) -> None:
    check_ingress(out, new)


def _check_paths(out: Out, http: Object, field: str) -> None:
    paths = items(http, "paths")
    if not paths:
        out.append(causes.required(f"{field}.paths"))
    for i, one in enumerate(paths):
        at, path, kind = f"{field}.paths[{i}]", text(one, "path"), one.get("pathType")
        if kind is None:
            out.append(causes.required(f"{at}.pathType", "pathType must be specified"))
            continue
        if kind in ("Exact", "Prefix"):
            if not path.startswith("/"):
                out.append(causes.invalid(f"{at}.path", path, "must be an absolute path"))
            for sequence in _BAD_SEQUENCES:
                if sequence in path:
                    out.append(causes.invalid(f"{at}.path", path, f"must not contain '{sequence}'"))
            for ending in _BAD_ENDINGS:
                if path.endswith(ending):
                    out.append(causes.invalid(f"{at}.path", path, f"cannot end with '{ending}'"))
        elif kind == "ImplementationSpecific":
            if path and not path.startswith("/"):
                out.append(causes.invalid(f"{at}.path", path, "must be an absolute path"))
        else:
            out.append(causes.not_supported(f"{at}.pathType", kind, _PATH_TYPES))
        _check_backend(out, part(one, "backend"), f"{at}.backend")


def _check_backend(out: Out, backend: Object, field: str) -> None:
    service, resource = backend.get("service"), backend.get("resource")
    if service is not None and resource is not None:
        out.append(causes.invalid(field, "", "cannot set both resource and service backends"))
    elif resource is not None:
        _check_reference(out, resource, f"{field}.resource")
    elif service is not None:
        name, port = text(service, "name"), part(service, "port")
        if not name:
            out.append(causes.required(f"{field}.service.name"))
        else:
            check(out, names.dns1123_label(name), f"{field}.service.name", name)
        port_named, port_numbered = text(port, "name"), number(port, "number")
        if port_named and port_numbered:
            out.append(causes.invalid(field, "", "cannot set both port name & port number"))
        elif port_named:
            check(out, port_name(port_named), f"{field}.service.port.name", port_named)
        elif port_numbered:
            check(out, names.port_number(port_numbered), f"{field}.service.port.number", port_numbered)
        else:
            out.append(causes.required(field, "port name or number is required"))
    else:
        out.append(causes.invalid(field, "", "resource or service backend is required"))


def _check_reference(out: Out, reference: Object, field: str) -> None:
    group = reference.get("apiGroup")
    if group is not None:
        check(out, dns_subdomain(group), f"{field}.apiGroup", group)
    check_names(out, names.path_segment, reference, "kind", field)
    check_names(out, names.path_segment, reference, "name", field)


def check_ingress_status(out: Out, new: Object, old: Object) -> None:
    before = items(part(part(old, "status"), "loadBalancer"), "ingress")
    known = {text(one, "ip") for one in before}
    for i, one in enumerate(items(part(part(new, "status"), "loadBalancer"), "ingress")):
        path, host = f"status.loadBalancer.ingress[{i}]", text(one, "hostname")
        if text(one, "ip"):
            check_ip(out, text(one, "ip"), f"{path}.ip", known)
        if host:
            check(out, dns_subdomain(host), f"{path}.hostname", host)
            if parse_ip(host) is not None:
                out.append(causes.invalid(f"{path}.hostname", host, "must be a DNS name, not an IP address"))


def check_ingress_class(out: Out, ingress_class: Object) -> None:
    spec = part(ingress_class, "spec")
    controller = text(spec, "controller")
    if len(controller) > _CLASS_CONTROLLER_BYTES_MAX:
        out.append(causes.too_long("spec.controller", _CLASS_CONTROLLER_BYTES_MAX))
    check_domain_prefixed_path(out, controller, "spec.controller")
    parameters = spec.get("parameters")
    if parameters is None:
        return
    _check_reference(out, parameters, "spec.parameters")
    scope, namespace = parameters.get("scope"), parameters.get("namespace")
    if scope is None:
        out.append(causes.required("spec.parameters.scope"))
    elif scope not in ("Cluster", "Namespace"):
        out.append(causes.not_supported("spec.parameters.scope", scope, ("Cluster", "Namespace")))
    elif scope == "Namespace":
        if namespace is None:
            detail = "`parameters.scope` is set to 'Namespace'"
            out.append(causes.required("spec.parameters.namespace", detail))
        else:
            check(out, dns_label(namespace), "spec.parameters.namespace", namespace)
    elif namespace is not None:
        out.append(causes.forbidden("spec.parameters.namespace", "`parameters.scope` is set to 'Cluster'"))


def check_ingress_class_update(out: Out, new: Object, old: Object) -> None:
    controller, before = (text(part(one, "spec"), "controller") for one in (new, old))
    check_immutable(out, controller, before, "spec.controller")
    check_ingress_class(out, new)


# --- NetworkPolicy --------------------------------------------------------------------------------------------------------


def check_network_policy(out: Out, policy: Object, known: Collection[str] = ()) -> None:
    """``known``: CIDRs of the stored one."""
    spec = part(policy, "spec")
    check_label_selector(out, spec.get("podSelector"), "spec.podSelector")
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for i, rule in enumerate(items(spec, direction)):
            path = f"spec.{direction}[{i}]"
            for j, port in enumerate(items(rule, "ports")):
                _check_policy_port(out, port, f"{path}.ports[{j}]")
            for j, peer in enumerate(items(rule, peers)):
                _check_peer(out, peer, f"{path}.{peers}[{j}]", known)
    types = texts(spec, "policyTypes")
    if len(types) > 2:
        out.append(causes.invalid("spec.policyTypes", types, "may not specify more than two policyTypes"))
        return
    for i, kind in enumerate(types):
        if kind not in ("Ingress", "Egress"):
            out.append(causes.not_supported(f"spec.policyTypes[{i}]", kind, ("Ingress", "Egress")))


def _check_policy_port(out: Out, port: Object, field: str) -> None:
    check_one_of_given(out, port, "protocol", field, _PROTOCOLS)
    value, end = port.get("port"), port.get("endPort")
    if value is None:
        if end is not None:
            out.append(causes.invalid(f"{field}.endPort", end, "may not be specified when `port` is not specified"))
        return
    if isinstance(value, str) and end is not None:
        out.append(causes.invalid(f"{field}.endPort", end, "may not be specified when `port` is non-numeric"))
    check_port(out, value, f"{field}.port")
    if isinstance(value, int) and end is not None:
        if end < value:
            out.append(causes.invalid(f"{field}.endPort", value, "must be greater than or equal to `port`"))
        check(out, names.port_number(end), f"{field}.endPort", end)


def _check_peer(out: Out, peer: Object, field: str, known: Collection[str]) -> None:
    given = [key for key in ("podSelector", "namespaceSelector", "ipBlock") if peer.get(key) is not None]
    for key in given:
        if key != "ipBlock":
            check_label_selector(out, peer[key], f"{field}.{key}")
        else:
            _check_ip_block(out, peer[key], f"{field}.ipBlock", known)
    if not given:
        out.append(causes.required(field, "must specify a peer"))
    elif len(given) > 1 and "ipBlock" in given:
        out.append(causes.forbidden(field, "may not specify both ipBlock and another peer"))


def _check_ip_block(out: Out, block: Object, field: str, known: Collection[str]) -> None:
    cidr = text(block, "cidr")
    if not cidr:
        out.append(causes.required(f"{field}.cidr"))
        return
    check_cidr(out, cidr, f"{field}.cidr", known)
    whole = sloppy_cidr(cidr)
    if whole is None:
        return
    for i, one in enumerate(texts(block, "except")):
        path = f"{field}.except[{i}]"
        check_cidr(out, one, path, known)
        exception = sloppy_cidr(one)
        if exception is not None and (
            whole.version != exception.version or whole.prefixlen >= exception.prefixlen or exception.network_address not in whole
        ):
            out.append(causes.invalid(path, one, "must be a strict subset of `cidr`"))


def check_network_policy_update(out: Out, new: Object, old: Object) -> None:
    peers = (
        part(peer, "ipBlock")
        for direction, key in (("ingress", "from"), ("egress", "to"))
        for rule in items(part(old, "spec"), direction)
        for peer in items(rule, key)
    )
    check_network_policy(out, new, {cidr for block in peers for cidr in (text(block, "cidr"), *texts(block, "except")) if cidr})


# --- addresses of Services ---------------------------------------------------------------------------------------------------


def address_name(name: str) -> list[str]:
    """An IPAddress is named by the address, in its canonical text."""
    found: list[Cause] = []
    check_canonical_ip(found, name, "")
    return [cause.message.partition(": ")[2].partition(": ")[2] for cause in found]


def check_ip_address(out: Out, address: Object) -> None:
    reference = part(address, "spec").get("parentRef")
    if reference is None:
        out.append(causes.required("spec.parentRef"))
        return
    group = text(reference, "group")
    if group:
        check(out, dns_subdomain(group), "spec.parentRef.group", group)
    for key in ("resource", "name"):
        check_names(out, names.path_segment, reference, key, "spec.parentRef")
    if text(reference, "namespace"):
        value = text(reference, "namespace")
        check(out, names.path_segment(value), "spec.parentRef.namespace", value)


def check_ip_address_update(out: Out, new: Object, old: Object) -> None:
    check_ip_address(out, new)
    reference, before = (part(one, "spec").get("parentRef") for one in (new, old))
    check_immutable(out, reference, before, "spec.parentRef", shape=PARENT_REFERENCE)


def check_service_cidr(out: Out, service_cidr: Object) -> None:
    cidrs = texts(part(service_cidr, "spec"), "cidrs")
    if not cidrs:
        out.append(causes.required("spec.cidrs", "at least one CIDR required"))
        return
    if len(cidrs) > 2:
        out.append(causes.invalid("spec.cidrs", {"CIDRs": cidrs}, "may only hold up to 2 values"))
        return
    versions = [parsed.version for parsed in map(parse_cidr, cidrs) if parsed is not None]
    if len(cidrs) == 2 and len(versions) == 2 and versions[0] == versions[1]:
        detail = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
        out.append(causes.invalid("spec.cidrs", cidrs, detail))
    for i, cidr in enumerate(cidrs):
        check_canonical_cidr(out, cidr, f"spec.cidrs[{i}]")


def check_service_cidr_update(out: Out, new: Object, old: Object) -> None:
    cidrs, before = texts(part(new, "spec"), "cidrs"), texts(part(old, "spec"), "cidrs")
    if len(before) == len(cidrs):
        for i, (cidr, old_cidr) in enumerate(zip(cidrs, before, strict=True)):
            check_immutable(out, cidr, old_cidr, f"spec.cidrs[{i}]")
    elif len(before) == 1 and len(cidrs) == 2:
        check_immutable(out, cidrs[0], before[0], "spec.cidrs[0]")
        check_service_cidr(out, new)
    else:
        check_immutable(out, part(new, "spec").get("cidrs"), before, "spec.cidrs")


# --- EndpointSlice ----------------------------------------------------------------------------------------------------------


def check_endpoint_slice(out: Out, endpoint_slice: Object) -> None:
    family, path = text(endpoint_slice, "addressType"), "addressType"
    if not family:
        out.append(causes.required(path))
    elif family not in ("FQDN", "IPv4", "IPv6"):
        out.append(causes.not_supported(path, family, ("FQDN", "IPv4", "IPv6")))
    endpoints, ports = items(endpoint_slice, "endpoints"), items(endpoint_slice, "ports")
    if len(endpoints) > _ENDPOINTS_MAX:
        out.append(causes.too_many("endpoints", len(endpoints), _ENDPOINTS_MAX))
    else:
        for i, endpoint in enumerate(endpoints):
            _check_endpoint(out, endpoint, family, f"endpoints[{i}]")
    if len(ports) > _PORTS_MAX:
        out.append(causes.too_many("ports", len(ports), _PORTS_MAX))
        return
    seen: set[str] = set()
    for i, port in enumerate(ports):
        at, name = f"ports[{i}]", text(port, "name")
        if name:
            check(out, dns_label(name), f"{at}.name", name)
        if name in seen:
            out.append(causes.duplicate(f"{at}.name", name))
        seen.add(name)
        if port.get("protocol") is None:
            out.append(causes.required(f"{at}.protocol"))
        check_one_of_given(out, port, "protocol", at, ("SCTP", "TCP", "UDP"))
        if port.get("appProtocol") is not None:
            check(out, qualified_name(port["appProtocol"]), f"{at}.appProtocol", port["appProtocol"])


def _check_endpoint(out: Out, endpoint: Object, family: str, field: str) -> None:
    addresses = texts(endpoint, "addresses")
    if not addresses:
        out.append(causes.required(f"{field}.addresses", "must contain at least 1 address"))
    elif len(addresses) > _ADDRESSES_MAX:
        out.append(causes.too_many(f"{field}.addresses", len(addresses), _ADDRESSES_MAX))
    for i, address in enumerate(addresses):
        path = f"{field}.addresses[{i}]"
        if family == "FQDN":
            check(out, dns_subdomain(address), path, address)
            continue
        if family not in ("IPv4", "IPv6") or not (check_ip if family == "IPv4" else check_canonical_ip)(out, address, path):
            continue
        parsed = parse_ip(address)
        if parsed is not None and family != f"IPv{parsed.version}":
            out.append(causes.invalid(f"{field}.addresses", address, f"must be an {family} address"))
        check_not_special_ip(out, address, path)
    if endpoint.get("nodeName") is not None:
        check(out, dns_subdomain(endpoint["nodeName"]), f"{field}.nodeName", endpoint["nodeName"])
    topology = part(endpoint, "deprecatedTopology")
    if len(topology) > _TOPOLOGY_MAX:
        out.append(causes.too_many(f"{field}.deprecatedTopology", len(topology), _TOPOLOGY_MAX))
    check_labels(out, topology, f"{field}.deprecatedTopology")
    if endpoint.get("hostname") is not None:
        check(out, dns_label(endpoint["hostname"]), f"{field}.hostname", endpoint["hostname"])
    hints = part(endpoint, "hints")
    for key, check_name in (("forZones", names.label_value), ("forNodes", dns_subdomain)):
        hinted = [text(one, "name") for one in items(hints, key)]
        if len(hinted) > _HINTS_MAX:
            out.append(causes.too_many(f"{field}.hints.{key}", len(hinted), _HINTS_MAX))
            return
        again = repeated(hinted)
        for i, name in enumerate(hinted):
            path = f"{field}.hints.{key}[{i}].name"
            if i in again:
                out.append(causes.duplicate(path, name))
            check(out, check_name(name), path, name)


def check_endpoint_slice_update(out: Out, new: Object, old: Object) -> None:
    check_endpoint_slice(out, new)
    check_immutable(out, new.get("addressType"), old.get("addressType"), "addressType", missing="")
