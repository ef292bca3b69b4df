"""PodSpec, in pods and in templates.

Enters: a defaulted PodSpec or pod template.
Leaves: causes appended to ``out``.
Holds: what templates tolerate and pods do not is told apart by ``is_pod``.
Source: core/validation ValidatePodSpec, ValidatePodTemplateSpec.
Next: api.validation.pods, api.validation.apps, api.validation.batch.
"""

from __future__ import annotations

from typing import Final

from edgekube.api import names
from edgekube.api.objects import Object
from edgekube.api.validation import causes, inner
from edgekube.api.validation.addresses import check_ip
from edgekube.api.validation.containers import (
    Surroundings,
    check_containers,
    check_ephemeral_containers,
    check_init_containers,
)
from edgekube.api.validation.fields import (
    Out,
    check,
    check_one_of,
    dns_label,
    dns_subdomain,
    items,
    number,
    part,
    qualified_name,
    text,
    texts,
)
from edgekube.api.validation.metadata import check_annotations, check_labels, template_metadata
from edgekube.api.validation.placement import check_affinity, check_tolerations, check_topology_spread
from edgekube.api.validation.pod_resources import check_pod_resources
from edgekube.api.validation.resources import check_requirements
from edgekube.api.validation.security import check_pod_security, check_security_annotations
from edgekube.api.validation.variables import check_volumes_of_variables
from edgekube.api.validation.volumes import check_volumes

_RESTART_POLICIES: Final = ("Always", "OnFailure", "Never")
_DNS_POLICIES: Final = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_PREEMPTION_POLICIES: Final = ("PreemptLowerPriority", "Never")
_OPERATING_SYSTEMS: Final = ("linux", "windows")
#: What the kernel has room for.
_HOSTNAME_CHARACTERS_MAX: Final = 64
_INT32_MAX: Final = 2**31 - 1
_NAMESERVERS_MAX: Final = 3
_SEARCHES_MAX: Final = 32
_SEARCH_CHARACTERS_MAX: Final = 2048
_DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"
_MIRROR: Final = "kubernetes.io/config.mirror"
#: Subdomain names in a PodSpec.
_SUBDOMAINS: Final = ("serviceAccountName", "nodeName", "priorityClassName", "runtimeClassName")
_WINDOWS_FORBIDS: Final = ("hostPID", "hostIPC", "hostUsers", "shareProcessNamespace")
_WINDOWS_POD_FORBIDS: Final = (
    "appArmorProfile", "seLinuxOptions", "seccompProfile", "fsGroup", "fsGroupChangePolicy", "sysctls", "runAsUser",
    "runAsGroup", "supplementalGroups", "supplementalGroupsPolicy", "seLinuxChangePolicy",
)  # fmt: skip
_WINDOWS_CONTAINER_FORBIDS: Final = (
    "appArmorProfile", "seLinuxOptions", "seccompProfile", "capabilities", "readOnlyRootFilesystem", "privileged",
    "allowPrivilegeEscalation", "procMount", "runAsUser", "runAsGroup",
)  # fmt: skip
CONTAINER_LISTS: Final = ("initContainers", "containers", "ephemeralContainers")


def check_template(out: Out, template: Object, field: str) -> None:
    """PodTemplateSpec. Labels and annotations are named without "metadata", as upstream names them."""
    metadata, spec = template_metadata(template), part(template, "spec")
    check_labels(out, metadata.get("labels"), f"{field}.labels")
    check_annotations(out, metadata.get("annotations"), f"{field}.annotations")
    check_pod_annotations(out, metadata.get("annotations"), spec, f"{field}.annotations")
    check_pod_spec(out, spec, f"{field}.spec", is_pod=False)
    if spec.get("ephemeralContainers"):
        detail = "ephemeral containers not allowed in pod template"
        out.append(causes.forbidden(f"{field}.spec.ephemeralContainers", detail))


def check_pod_annotations(out: Out, annotations: dict[str, str] | None, spec: Object, field: str) -> None:
    if not annotations:
        return
    if _MIRROR in annotations and not spec.get("nodeName"):
        detail = "must set spec.nodeName if mirror pod annotation is set"
        out.append(causes.invalid(f"{field}[{_MIRROR}]", annotations[_MIRROR], detail))
    cost = annotations.get(_DELETION_COST)
    if cost is not None and not _is_deletion_cost(cost):
        out.append(causes.invalid(f"{field}[{_DELETION_COST}]", cost, "must be a 32bit integer"))
    check_security_annotations(out, annotations, spec, field)


def _is_deletion_cost(value: str) -> bool:
    """A plain decimal: no plus sign, no leading zeros."""
    digits = value.removeprefix("-")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 10 or (digits[0] == "0" and len(digits) > 1):
        return False
    return -_INT32_MAX - 1 <= int(value) <= _INT32_MAX


def check_pod_spec(out: Out, spec: Object, field: str, *, is_pod: bool, pod_name: str = "") -> None:
    grace = spec.get("terminationGracePeriodSeconds")
    if grace is None:
        out.append(causes.required(f"{field}.terminationGracePeriodSeconds"))
    claims = _check_resource_claims(out, spec, f"{field}.resourceClaims") if spec.get("resourceClaims") else set()
    around = Surroundings(
        volumes=check_volumes(out, spec, pod_name, f"{field}.volumes", is_pod=is_pod) if spec.get("volumes") else {},
        claims=claims,
        grace_seconds=grace if isinstance(grace, int) else None,
        restart_policy=text(spec, "restartPolicy"),
        host_users=spec.get("hostUsers") is not False,
        is_pod=is_pod,
    )
    check_containers(out, spec, around, field)
    check_init_containers(out, spec, around, field)
    check_ephemeral_containers(out, spec, around, field)
    if spec.get("resources") is not None:
        check_pod_resources(out, spec, claims, field)
    if spec.get("hostNetwork"):
        _check_host_network_ports(out, spec, field, is_pod=is_pod)
    check_one_of(out, spec, "restartPolicy", field, _RESTART_POLICIES)
    check_one_of(out, spec, "dnsPolicy", field, _DNS_POLICIES)
    check_labels(out, spec.get("nodeSelector"), f"{field}.nodeSelector")
    check_pod_security(out, spec, field)
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        detail = "ShareProcessNamespace and HostPID cannot both be enabled"
        out.append(causes.invalid(f"{field}.securityContext.shareProcessNamespace", True, detail))
    check_affinity(out, part(spec, "affinity"), f"{field}.affinity")
    _check_dns(out, spec, f"{field}.dnsConfig")
    _check_gates(out, spec, field)
    if spec.get("topologySpreadConstraints"):
        constraints = items(spec, "topologySpreadConstraints")
        check_topology_spread(out, constraints, f"{field}.topologySpreadConstraints")
    if not around.host_users:
        for key, shown in (("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")):
            if spec.get(key):
                out.append(causes.forbidden(f"{field}.{shown}", "when `pod.Spec.HostUsers` is false"))
    for key in _SUBDOMAINS:
        value = spec.get(key)
        if value or (value == "" and key == "runtimeClassName"):
            check(out, dns_subdomain(value), f"{field}.{key}", value)
    deadline = spec.get("activeDeadlineSeconds")
    if isinstance(deadline, int) and not 1 <= deadline <= _INT32_MAX:
        out.append(causes.invalid(f"{field}.activeDeadlineSeconds", deadline, names.outside(1, _INT32_MAX)))
    for key in ("hostname", "subdomain"):
        if spec.get(key):
            check(out, dns_label(spec[key]), f"{field}.{key}", spec[key])
    if spec.get("hostnameOverride") is not None:
        _check_kernel_name(out, spec, f"{field}.hostnameOverride")
    if spec.get("tolerations"):
        check_tolerations(out, items(spec, "tolerations"), f"{field}.tolerations")
    if spec.get("hostAliases"):
        _check_host_aliases(out, spec, f"{field}.hostAliases")
    if spec.get("preemptionPolicy") is not None:
        check_one_of(out, spec, "preemptionPolicy", field, _PREEMPTION_POLICIES)
    if spec.get("overhead"):
        check_requirements(out, {"limits": spec["overhead"]}, set(), f"{field}.overhead")
    if spec.get("os") is not None:
        _check_os(out, spec, field)
    check_volumes_of_variables(out, spec, field)


def _check_kernel_name(out: Out, spec: Object, field: str) -> None:
    name = text(spec, "hostnameOverride")
    for other in ("setHostnameAsFQDN", "hostNetwork"):
        if spec.get(other):
            out.append(causes.forbidden(field, f"may not be specified when {other} is true"))
    if len(name) > _HOSTNAME_CHARACTERS_MAX:
        out.append(causes.too_long(field, _HOSTNAME_CHARACTERS_MAX))
    check(out, dns_subdomain(name), field, name)


def _check_resource_claims(out: Out, spec: Object, field: str) -> set[str]:
    seen: set[str] = set()
    for i, claim in enumerate(items(spec, "resourceClaims")):
        path, name = f"{field}[{i}]", text(claim, "name")
        if not name:
            out.append(causes.required(f"{path}.name"))
        elif name in seen:
            out.append(causes.duplicate(f"{path}.name", name))
        else:
            check(out, dns_label(name), f"{path}.name", name)
            seen.add(name)
        direct, template = claim.get("resourceClaimName"), claim.get("resourceClaimTemplateName")
        if direct is not None and template is not None:
            detail = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            out.append(causes.invalid(path, inner.inner(claim, inner.POD_CLAIM), detail))
        if direct is None and template is None:
            detail = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
            out.append(causes.invalid(path, inner.inner(claim, inner.POD_CLAIM), detail))
        for key, value in (("resourceClaimName", direct), ("resourceClaimTemplateName", template)):
            if value is not None:
                check(out, dns_subdomain(value), f"{path}.{key}", value)
    return seen


def _check_host_network_ports(out: Out, spec: Object, field: str, *, is_pod: bool) -> None:
    for i, container in enumerate(items(spec, "containers")):
        for j, port in enumerate(items(container, "ports")):
            host_port = number(port, "hostPort")
            if (is_pod or host_port) and host_port != number(port, "containerPort"):
                detail = "must match `containerPort` when `hostNetwork` is true"
                out.append(causes.invalid(f"{field}.containers[{i}].ports[{j}].hostPort", host_port, detail))


def _check_dns(out: Out, spec: Object, field: str) -> None:
    config = spec.get("dnsConfig")
    if spec.get("dnsPolicy") == "None":
        if config is None:
            out.append(causes.required(field, "must provide `dnsConfig` when `dnsPolicy` is None"))
            return
        if not config.get("nameservers"):
            detail = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            out.append(causes.required(f"{field}.nameservers", detail))
            return
    if not config:
        return
    servers, searches = texts(config, "nameservers"), texts(config, "searches")
    if len(servers) > _NAMESERVERS_MAX:
        detail = f"must not have more than {_NAMESERVERS_MAX} nameservers"
        out.append(causes.invalid(f"{field}.nameservers", servers, detail))
    for i, server in enumerate(servers):
        check_ip(out, server, f"{field}.nameservers[{i}]")
    if len(searches) > _SEARCHES_MAX:
        detail = f"must not have more than {_SEARCHES_MAX} search paths"
        out.append(causes.invalid(f"{field}.searches", searches, detail))
    if len(" ".join(searches)) > _SEARCH_CHARACTERS_MAX:
        detail = f"must not have more than {_SEARCH_CHARACTERS_MAX} characters (including spaces) in the search list"
        out.append(causes.invalid(f"{field}.searches", searches, detail))
    for i, search in enumerate(searches):
        if search != ".":
            domain = search.removesuffix(".")
            check(out, names.dns1123_subdomain_with_underscore(domain), f"{field}.searches[{i}]", domain)
    for i, option in enumerate(items(config, "options")):
        if not option.get("name"):
            out.append(causes.required(f"{field}.options[{i}]", "must not be empty"))


def _check_gates(out: Out, spec: Object, field: str) -> None:
    for i, gate in enumerate(items(spec, "readinessGates")):
        kind = text(gate, "conditionType")
        check(out, qualified_name(kind), f"{field}.readinessGates[{i}].conditionType", kind)
    seen: set[str] = set()
    for i, gate in enumerate(items(spec, "schedulingGates")):
        name = text(gate, "name")
        check(out, qualified_name(name), f"{field}.schedulingGates[{i}]", name)
        if name in seen:
            out.append(causes.duplicate(f"{field}.schedulingGates[{i}]", name))
        seen.add(name)


def _check_host_aliases(out: Out, spec: Object, field: str) -> None:
    for i, alias in enumerate(items(spec, "hostAliases")):
        check_ip(out, text(alias, "ip"), f"{field}[{i}].ip")
        for j, hostname in enumerate(texts(alias, "hostnames")):
            check(out, dns_subdomain(hostname), f"{field}[{i}].hostnames[{j}]", hostname)


def _check_os(out: Out, spec: Object, field: str) -> None:
    name = text(spec["os"], "name")
    if not name:
        out.append(causes.required(f"{field}.os.name"))
        return
    if name not in _OPERATING_SYSTEMS:
        out.append(causes.not_supported(f"{field}.os", name, _OPERATING_SYSTEMS))
        return
    context = part(spec, "securityContext")
    if name == "linux":
        forbidden_in_pod, forbidden_in_container, forbidden_in_spec = ("windowsOptions",), ("windowsOptions",), ()
        detail = "windows options cannot be set for a linux pod"
    else:
        forbidden_in_pod, forbidden_in_container = _WINDOWS_POD_FORBIDS, _WINDOWS_CONTAINER_FORBIDS  # type: ignore[assignment]
        forbidden_in_spec = _WINDOWS_FORBIDS  # type: ignore[assignment]
        detail = "cannot be set for a windows pod"
    for key in forbidden_in_pod:
        if context.get(key) not in (None, []):
            out.append(causes.forbidden(f"{field}.securityContext.{key}", detail))
    for key in forbidden_in_spec:
        if spec.get(key) not in (None, False) or (key in ("hostUsers", "shareProcessNamespace") and spec.get(key) is not None):
            out.append(causes.forbidden(f"{field}.{key}", detail))
    for which in CONTAINER_LISTS:
        for i, container in enumerate(items(spec, which)):
            for key in forbidden_in_container:
                if part(container, "securityContext").get(key) is not None:
                    out.append(causes.forbidden(f"{field}.{which}[{i}].securityContext.{key}", detail))
