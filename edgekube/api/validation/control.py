"""The small groups that steer the control plane: leases, priorities, runtimes, signing requests, flow control.

Enters: defaulted objects of coordination, scheduling, node, certificates and flowcontrol; the old one on update.
Leaves: causes appended to ``out``.
Source: coordination/validation, scheduling/validation, node/validation, certificates/validation, flowcontrol/validation.
Next: api.validation.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

from edgekube.api import names
from edgekube.api.objects import Object
from edgekube.api.validation import causes
from edgekube.api.validation.fields import (
    Out,
    check,
    check_immutable,
    check_nonnegative,
    check_one_of,
    dns_label,
    dns_subdomain,
    items,
    number,
    part,
    repeated,
    same,
    text,
    texts,
)
from edgekube.api.validation.metadata import check_labels
from edgekube.api.validation.placement import check_tolerations
from edgekube.api.validation.resources import check_requirements

_LEASE_STRATEGIES: Final = ("OldestEmulationVersion",)
_PRIORITY_MAX: Final = 1_000_000_000
_SYSTEM_PRIORITIES: Final = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}
_USAGES: Final = (
    "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment",
    "decipher only", "digital signature", "email protection", "encipher only", "ipsec end system", "ipsec tunnel",
    "ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime",
    "server auth", "signing", "timestamping",
)  # fmt: skip
_TOLERATION_KEYS: Final = ("key", "operator", "value", "effect", "tolerationSeconds")
_TRUE_ONLY: Final = ("Approved", "Denied", "Failed")
_SIGNER_BYTES_MAX: Final = 571


# --- Lease -------------------------------------------------------------------------------------------------------------------


def check_lease(out: Out, lease: Object) -> None:
    spec = part(lease, "spec")
    duration, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
    if isinstance(duration, int) and duration <= 0:
        out.append(causes.invalid("spec.leaseDurationSeconds", duration, "must be greater than 0"))
    if isinstance(transitions, int) and transitions < 0:
        out.append(causes.invalid("spec.leaseTransitions", transitions, causes.NEGATIVE))
    if text(spec, "preferredHolder") and not text(spec, "strategy"):
        detail = "may only be specified if `strategy` is defined"
        out.append(causes.forbidden("spec.preferredHolder", detail))


# --- PriorityClass -----------------------------------------------------------------------------------------------------------


def check_priority_class(out: Out, priority_class: Object) -> None:
    name, value = text(part(priority_class, "metadata"), "name"), number(priority_class, "value")
    if name.startswith("system-"):
        known = _SYSTEM_PRIORITIES.get(name)
        problem = ""
        if known is None:
            problem = f"{name} is not a known system priority class"
        elif value != known:
            problem = f"value of {name} PriorityClass must be {known}"
        elif priority_class.get("globalDefault"):
            problem = f"globalDefault of {name} PriorityClass must be false"
        if problem:
            detail = f"priority class names with 'system-' prefix are reserved for system use only. error: {problem}"
            out.append(causes.forbidden("metadata.name", detail))
    elif value > _PRIORITY_MAX:
        detail = f"maximum allowed value of a user defined priority is {_PRIORITY_MAX}"
        out.append(causes.forbidden("value", detail))
    if priority_class.get("preemptionPolicy") is not None:
        check_one_of(out, priority_class, "preemptionPolicy", "", ("PreemptLowerPriority", "Never"))


def check_priority_class_update(out: Out, new: Object, old: Object) -> None:
    if number(new, "value") != number(old, "value"):
        out.append(causes.forbidden("value", "may not be changed in an update."))
    check_immutable(out, new.get("preemptionPolicy"), old.get("preemptionPolicy"), "preemptionPolicy")


# --- RuntimeClass ------------------------------------------------------------------------------------------------------------


def check_runtime_class(out: Out, runtime_class: Object) -> None:
    handler = text(runtime_class, "handler")
    check(out, dns_label(handler), "handler", handler)
    fixed = part(part(runtime_class, "overhead"), "podFixed")
    if fixed:
        check_requirements(out, {"limits": fixed}, set(), "overhead.podFixed")
    scheduling = part(runtime_class, "scheduling")
    check_labels(out, scheduling.get("nodeSelector"), "scheduling.nodeSelector")
    tolerations = items(scheduling, "tolerations")
    check_tolerations(out, tolerations, "scheduling.tolerations")
    keys = [tuple(str(one.get(key) or "") for key in _TOLERATION_KEYS) for one in tolerations]
    again = repeated(keys)
    for i, toleration in enumerate(tolerations):
        if i in again:
            out.append(causes.duplicate(f"scheduling.tolerations[{i}]", toleration))


def check_runtime_class_update(out: Out, new: Object, old: Object) -> None:
    check_immutable(out, new.get("handler"), old.get("handler"), "handler")


# --- CertificateSigningRequest -------------------------------------------------------------------------------------------------


def check_signing_request(out: Out, request: Object) -> None:
    spec = part(request, "spec")
    pem = text(spec, "request")
    problem = _problem_of_pem(pem, ("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"))
    if problem:
        out.append(causes.invalid("spec.request", pem, problem))
    usages = texts(spec, "usages")
    if not usages:
        out.append(causes.required("spec.usages"))
    again = repeated(usages)
    for i, usage in enumerate(usages):
        if usage not in _USAGES:
            out.append(causes.not_supported(f"spec.usages[{i}]", usage, _USAGES))
        if i in again:
            out.append(causes.duplicate(f"spec.usages[{i}]", usage))
    signer = text(spec, "signerName")
    if signer == "kubernetes.io/legacy-unknown":
        detail = "the legacy signerName is not allowed via this API version"
        out.append(causes.invalid("spec.signerName", signer, detail))
    else:
        check_signer_name(out, signer, "spec.signerName")
    seconds = spec.get("expirationSeconds")
    if isinstance(seconds, int) and seconds < 600:
        detail = "may not specify a duration less than 600 seconds (10 minutes)"
        out.append(causes.invalid("spec.expirationSeconds", seconds, detail))
    _check_conditions(out, part(request, "status"))


def _problem_of_pem(encoded: str, types: tuple[str, ...]) -> str:
    """Of the envelope only: the signer parses what is inside."""
    try:
        pem = base64.b64decode(encoded, validate=True).decode("ascii", "replace")
    except (binascii.Error, ValueError):
        pem = ""
    if not any(f"-----BEGIN {kind}-----" in pem and f"-----END {kind}-----" in pem for kind in types):
        return "PEM block type must be CERTIFICATE REQUEST"
    return ""


def check_signer_name(out: Out, signer: str, field: str) -> None:
    if not signer:
        out.append(causes.required(field))
        return
    domain, slash, path = signer.partition("/")
    if not slash:
        out.append(
            causes.invalid(field, signer, "must be a fully qualified domain and path of the form 'example.com/signer-name'")
        )
        return
    check(out, dns_subdomain(domain), field, domain)
    if "." not in domain:
        out.append(causes.invalid(field, domain, "should be a domain with at least two segments separated by dots"))
    if not path:
        detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        out.append(causes.invalid(field, signer, detail))
    for segment in path.split("."):
        check(out, dns_subdomain(segment), field, segment)
    if len(signer) > _SIGNER_BYTES_MAX:
        out.append(causes.too_long(field, _SIGNER_BYTES_MAX))


def _check_conditions(out: Out, status: Object) -> None:
    seen: set[str] = set()
    for i, condition in enumerate(items(status, "conditions")):
        path, kind = f"status.conditions[{i}]", text(condition, "type")
        if not kind:
            out.append(causes.required(f"{path}.type"))
        check_one_of(out, condition, "status", path, ("True",) if kind in _TRUE_ONLY else ("False", "True", "Unknown"))
        if {kind, *seen} >= {"Approved", "Denied"} and kind in ("Approved", "Denied"):
            detail = "Approved and Denied conditions are mutually exclusive"
            out.append(causes.invalid("status.conditions", kind, detail))
        if kind in seen:
            out.append(causes.duplicate(f"{path}.type", kind))
        seen.add(kind)


def _conditions_of(request: Object, kind: str) -> list[Object]:
    return [one for one in items(part(request, "status"), "conditions") if one.get("type") == kind]


def _check_request_change(out: Out, new: Object, old: Object, *, approval: bool, certificate: bool) -> None:
    check_signing_request(out, new)
    if not same(new.get("spec"), old.get("spec")):
        out.append(causes.forbidden("spec", "updates may not change the request"))
    for kind in _TRUE_ONLY:
        after, before = _conditions_of(new, kind), _conditions_of(old, kind)
        if len(after) < len(before):
            detail = f"updates may not remove a condition of type {causes.quoted(kind)}"
            out.append(causes.forbidden("status.conditions", detail))
        elif not approval and kind != "Failed":
            if len(after) > len(before):
                detail = f"updates may not add a condition of type {causes.quoted(kind)}"
                out.append(causes.forbidden("status.conditions", detail))
            elif not same(after, before):
                detail = f"updates may not modify a condition of type {causes.quoted(kind)}"
                out.append(causes.forbidden("status.conditions", detail))
    issued, before_issued = text(part(new, "status"), "certificate"), text(part(old, "status"), "certificate")
    if issued != before_issued:
        if not certificate:
            out.append(causes.forbidden("status.certificate", "updates may not set certificate content"))
        elif before_issued:
            out.append(causes.forbidden("status.certificate", "updates may not modify existing certificate content"))
        elif _problem_of_pem(issued, ("CERTIFICATE",)):
            detail = "must contain at least one CERTIFICATE PEM block"
            out.append(causes.invalid("status.certificate", "<certificate data>", detail))


def check_signing_request_update(out: Out, new: Object, old: Object) -> None:
    _check_request_change(out, new, old, approval=False, certificate=False)


def check_signing_request_status(out: Out, new: Object, old: Object) -> None:
    _check_request_change(out, new, old, approval=False, certificate=True)


def check_signing_request_approval(out: Out, new: Object, old: Object) -> None:
    _check_request_change(out, new, old, approval=True, certificate=False)


# --- flow control ------------------------------------------------------------------------------------------------------------


def check_flow_schema(out: Out, flow_schema: Object) -> None:
    spec = part(flow_schema, "spec")
    precedence = number(spec, "matchingPrecedence")
    if precedence <= 0 or precedence > 10000:
        detail = "must be a positive value" if precedence <= 0 else "must not be greater than 10000"
        out.append(causes.invalid("spec.matchingPrecedence", precedence, detail))
    level = text(part(spec, "priorityLevelConfiguration"), "name")
    if not level:
        out.append(causes.required("spec.priorityLevelConfiguration.name", "must reference a priority level"))
    else:
        check(out, dns_subdomain(level), "spec.priorityLevelConfiguration.name", level)
    method = spec.get("distinguisherMethod")
    if method is not None:
        check_one_of(out, method, "type", "spec.distinguisherMethod", ("ByNamespace", "ByUser"))
    for i, rule in enumerate(items(spec, "rules")):
        path = f"spec.rules[{i}]"
        if not items(rule, "subjects"):
            out.append(causes.required(f"{path}.subjects", "subjects must contain at least one value"))
        for j, subject in enumerate(items(rule, "subjects")):
            kind = text(subject, "kind")
            if kind not in ("Group", "ServiceAccount", "User"):
                out.append(causes.not_supported(f"{path}.subjects[{j}].kind", kind, ("Group", "ServiceAccount", "User")))
            elif subject.get(kind[0].lower() + kind[1:]) is None:
                detail = f"{kind[0].lower()}{kind[1:]} is required when subject kind is '{kind}'"
                out.append(causes.required(f"{path}.subjects[{j}].{kind[0].lower()}{kind[1:]}", detail))
        resource_rules, other_rules = items(rule, "resourceRules"), items(rule, "nonResourceRules")
        if not resource_rules and not other_rules:
            detail = "at least one of resourceRules and nonResourceRules has to be non-empty"
            out.append(causes.required(path, detail))
        for j, one in enumerate(resource_rules):
            for key in ("verbs", "apiGroups", "resources"):
                if not texts(one, key):
                    detail = f"resource rules must supply at least one {'api group' if key == 'apiGroups' else key[:-1]}"
                    out.append(causes.required(f"{path}.resourceRules[{j}].{key}", detail))
            if not one.get("clusterScope") and not texts(one, "namespaces"):
                detail = "resource rules that are not cluster scoped must supply at least one namespace"
                out.append(causes.required(f"{path}.resourceRules[{j}].namespaces", detail))
        for j, one in enumerate(other_rules):
            for key in ("verbs", "nonResourceURLs"):
                if not texts(one, key):
                    out.append(causes.required(f"{path}.nonResourceRules[{j}].{key}"))


def check_priority_level(out: Out, level: Object) -> None:
    spec = part(level, "spec")
    kind, limited, exempt = text(spec, "type"), spec.get("limited"), spec.get("exempt")
    if kind not in ("Exempt", "Limited"):
        out.append(causes.not_supported("spec.type", kind, ("Exempt", "Limited")))
    elif kind == "Exempt" and limited is not None:
        out.append(causes.forbidden("spec.limited", "must be nil if the type is not Limited"))
    elif kind == "Limited":
        if exempt is not None:
            out.append(causes.forbidden("spec.exempt", "must be nil if the type is Limited"))
        if limited is None:
            out.append(causes.required("spec.limited", "must not be empty when type is Limited"))
    for key, settings in (("limited", limited), ("exempt", exempt)):
        if settings is None:
            continue
        check_nonnegative(out, settings, "nominalConcurrencyShares", f"spec.{key}")
        lendable = settings.get("lendablePercent")
        if isinstance(lendable, int) and not 0 <= lendable <= 100:
            out.append(causes.invalid(f"spec.{key}.lendablePercent", lendable, "must be between 0 and 100, inclusive"))
    if limited is not None:
        check_nonnegative(out, limited, "borrowingLimitPercent", "spec.limited")
        _check_response(out, part(limited, "limitResponse"))


def _check_response(out: Out, response: Object) -> None:
    path = "spec.limited.limitResponse"
    kind, queuing = text(response, "type"), response.get("queuing")
    if kind not in ("Queue", "Reject"):
        out.append(causes.not_supported(f"{path}.type", kind, ("Queue", "Reject")))
    elif kind == "Reject" and queuing is not None:
        out.append(causes.forbidden(f"{path}.queuing", "must be nil if limited.limitResponse.type is not Limited"))
    elif kind == "Queue":
        if queuing is None:
            detail = "must not be empty if limited.limitResponse.type is Limited"
            out.append(causes.required(f"{path}.queuing", detail))
            return
        for key in ("queueLengthLimit", "queues", "handSize"):
            if number(queuing, key) <= 0:
                out.append(causes.invalid(f"{path}.queuing.{key}", number(queuing, key), "must be positive"))
        if number(queuing, "handSize") > number(queuing, "queues") > 0:
            detail = f"should not be greater than queues ({number(queuing, 'queues')})"
            out.append(causes.invalid(f"{path}.queuing.handSize", number(queuing, "handSize"), detail))


def any_name(name: str) -> list[str]:
    """CertificateSigningRequests may be called anything that fits into a path."""
    return names.path_segment(name)
