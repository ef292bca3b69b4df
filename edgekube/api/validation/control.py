"""The small groups that steer the control plane: leases, priorities, runtimes, signing requests.

Enters: defaulted objects of coordination, scheduling, node and certificates; the old one on update.
Leaves: causes appended to ``out``.
Source: coordination/validation, scheduling/validation, node/validation, certificates/validation.
Next: api.validation.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

from edgekube.api.objects import Object
from edgekube.api.validation import causes, inner
from edgekube.api.validation.fields import (
    Out,
    check,
    check_immutable,
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
    if not handler:
        out.append(causes.required("handler"))
    else:
        check(out, dns_label(handler), "handler", handler)
    fixed = part(part(runtime_class, "overhead"), "podFixed")
    if fixed:
        check_requirements(out, {"limits": fixed}, set(), "overhead")
    scheduling = part(runtime_class, "scheduling")
    check_labels(out, scheduling.get("nodeSelector"), "scheduling.nodeSelector")
    tolerations = items(scheduling, "tolerations")
    check_tolerations(out, tolerations, "scheduling.tolerations")
    keys = [tuple(str(one.get(key) or "") for key in _TOLERATION_KEYS) for one in tolerations]
    again = repeated(keys)
    for i, toleration in enumerate(tolerations):
        if i in again:
            out.append(causes.duplicate(f"scheduling.tolerations[{i}]", inner.inner(toleration, inner.TOLERATION)))


def check_runtime_class_update(out: Out, new: Object, old: Object) -> None:
    check_runtime_class(out, new)
    check_immutable(out, new.get("handler"), old.get("handler"), "handler", missing="")


# --- CertificateSigningRequest -------------------------------------------------------------------------------------------------


def check_signing_request(out: Out, request: Object) -> None:
    spec = part(request, "spec")
    problem = _problem_of_request(text(spec, "request"))
    if problem:
        out.append(causes.invalid("spec.request", text(spec, "request") or None, problem))
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


def _problem_of_request(encoded: str) -> str:
    from cryptography import x509  # only the control plane has it loaded

    pem = _pem(encoded)
    if not _has_block(pem, "CERTIFICATE REQUEST"):
        return "PEM block type must be CERTIFICATE REQUEST"
    try:
        x509.load_pem_x509_csr(pem.encode())
    except ValueError:
        body = pem.partition("-----BEGIN CERTIFICATE REQUEST-----")[2].partition("-----END")[0].strip()
        return "asn1: structure error" if body else "asn1: syntax error: sequence truncated"
    return ""


def _pem(encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode("ascii", "replace")
    except (binascii.Error, ValueError):
        return ""


def _has_block(pem: str, kind: str) -> bool:
    return f"-----BEGIN {kind}-----" in pem and f"-----END {kind}-----" in pem


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
        elif not _has_block(_pem(issued), "CERTIFICATE"):
            detail = "must contain at least one CERTIFICATE PEM block"
            out.append(causes.invalid("status.certificate", "<certificate data>", detail))


def check_signing_request_update(out: Out, new: Object, old: Object) -> None:
    _check_request_change(out, new, old, approval=False, certificate=False)


def check_signing_request_status(out: Out, new: Object, old: Object) -> None:
    _check_request_change(out, new, old, approval=False, certificate=True)


def check_signing_request_approval(out: Out, new: Object, old: Object) -> None:
    _check_request_change(out, new, old, approval=True, certificate=False)


def any_name(name: str) -> list[str]:
    """CertificateSigningRequests may be called anything."""
    return []
