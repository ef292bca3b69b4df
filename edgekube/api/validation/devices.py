"""resource.k8s.io: device classes and claims (dynamic resource allocation).

Enters: defaulted objects of resource.k8s.io/v1; the old one on update.
Leaves: causes appended to ``out``.
Holds: CEL selectors are checked for presence, not compiled; a claim's spec never changes.
Source: resource/validation; the limits in the API reference of ResourceClaim and ResourceSlice.
Next: api.validation.
"""

from __future__ import annotations

from typing import Final

from edgekube.api.objects import Object
from edgekube.api.validation import causes
from edgekube.api.validation.fields import (
    Out,
    check,
    check_immutable,
    check_present,
    dns_label,
    dns_subdomain,
    items,
    number,
    part,
    text,
    texts,
)
from edgekube.api.validation.inner import CLAIM, CLAIM_TEMPLATE
from edgekube.api.validation.resources import is_extended

_REQUESTS_MAX: Final = 32
_SELECTORS_MAX: Final = 32
_CONFIGS_MAX: Final = 32
_ALTERNATIVES_MAX: Final = 8
_DRIVER_BYTES_MAX: Final = 63
_MODES: Final = ("All", "ExactCount")


def check_device_driver(out: Out, driver: str, field: str) -> None:
    if not driver:
        out.append(causes.required(field))
        return
    if len(driver) > _DRIVER_BYTES_MAX:
        out.append(causes.too_long(field, _DRIVER_BYTES_MAX))
    check(out, dns_subdomain(driver), field, driver)


def _check_selectors(out: Out, holder: Object, field: str) -> None:
    selectors = items(holder, "selectors")
    if len(selectors) > _SELECTORS_MAX:
        out.append(causes.too_many(f"{field}.selectors", len(selectors), _SELECTORS_MAX))
    for i, selector in enumerate(selectors):
        if selector.get("cel") is None:
            out.append(causes.required(f"{field}.selectors[{i}].cel"))
        elif not text(selector["cel"], "expression"):
            out.append(causes.required(f"{field}.selectors[{i}].cel.expression"))


def _check_configs(out: Out, holder: Object, field: str) -> None:
    configs = items(holder, "config")
    if len(configs) > _CONFIGS_MAX:
        out.append(causes.too_many(f"{field}.config", len(configs), _CONFIGS_MAX))
    for i, config in enumerate(configs):
        path, opaque = f"{field}.config[{i}]", config.get("opaque")
        if opaque is None:
            out.append(causes.required(f"{path}.opaque"))
            continue
        check_device_driver(out, text(opaque, "driver"), f"{path}.opaque.driver")
        check_present(out, opaque, "parameters", f"{path}.opaque")


def check_device_class(out: Out, device_class: Object) -> None:
    spec = part(device_class, "spec")
    _check_selectors(out, spec, "spec")
    _check_configs(out, spec, "spec")
    name = spec.get("extendedResourceName")
    if name is not None and not is_extended(name):
        out.append(causes.invalid("spec.extendedResourceName", name, "must be a valid extended resource name"))


def check_claim(out: Out, claim: Object) -> None:
    _check_claim_spec(out, part(claim, "spec"), "spec")


def check_claim_template(out: Out, template: Object) -> None:
    _check_claim_spec(out, part(part(template, "spec"), "spec"), "spec.spec")


def _check_claim_spec(out: Out, spec: Object, field: str) -> None:
    devices, path = part(spec, "devices"), f"{field}.devices"
    requests = items(devices, "requests")
    if len(requests) > _REQUESTS_MAX:
        out.append(causes.too_many(f"{path}.requests", len(requests), _REQUESTS_MAX))
    seen: set[str] = set()
    for i, request in enumerate(requests):
        at, name = f"{path}.requests[{i}]", text(request, "name")
        check(out, dns_label(name), f"{at}.name", name)
        if name in seen:
            out.append(causes.duplicate(at, name))
        seen.add(name)
        exactly, alternatives = request.get("exactly"), items(request, "firstAvailable")
        if exactly is not None and alternatives:
            detail = "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set"
            out.append(causes.invalid(at, None, detail))
        elif exactly is not None:
            _check_request(out, exactly, f"{at}.exactly")
        elif alternatives:
            if len(alternatives) > _ALTERNATIVES_MAX:
                out.append(causes.too_many(f"{at}.firstAvailable", len(alternatives), _ALTERNATIVES_MAX))
            for j, alternative in enumerate(alternatives):
                check_present(out, alternative, "name", f"{at}.firstAvailable[{j}]")
                _check_request(out, alternative, f"{at}.firstAvailable[{j}]")
        else:
            out.append(causes.required(at, "exactly one of `exactly` or `firstAvailable` is required"))
    for i, constraint in enumerate(items(devices, "constraints")):
        _check_requested(out, constraint, seen, f"{path}.constraints[{i}]")
        if constraint.get("matchAttribute") is None and constraint.get("distinctAttribute") is None:
            detail = 'exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set'
            out.append(causes.required(f"{path}.constraints[{i}]", detail))
    for i, config in enumerate(items(devices, "config")):
        _check_requested(out, config, seen, f"{path}.config[{i}]")
    _check_configs(out, devices, path)


def _check_requested(out: Out, holder: Object, known: set[str], field: str) -> None:
    for i, name in enumerate(texts(holder, "requests")):
        if name.partition("/")[0] not in known:
            detail = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
            out.append(causes.invalid(f"{field}.requests[{i}]", name, detail))


def _check_request(out: Out, request: Object, field: str) -> None:
    name = text(request, "deviceClassName")
    if not name:
        out.append(causes.required(f"{field}.deviceClassName"))
    else:
        check(out, dns_subdomain(name), f"{field}.deviceClassName", name)
    _check_selectors(out, request, field)
    mode, count = text(request, "allocationMode"), number(request, "count")
    if mode == "All":
        if count:
            detail = "must not be specified when allocationMode is 'All'"
            out.append(causes.invalid(f"{field}.count", count, detail))
    elif mode == "ExactCount":
        if count <= 0:
            out.append(causes.invalid(f"{field}.count", count, "must be greater than zero"))
    else:
        out.append(causes.not_supported(f"{field}.allocationMode", mode, _MODES))


def check_claim_update(out: Out, new: Object, old: Object) -> None:
    """The user cannot change anything, and so hears of nothing else."""
    check_immutable(out, new.get("spec"), old.get("spec"), "spec", shape=CLAIM)


def check_claim_template_update(out: Out, new: Object, old: Object) -> None:
    check_immutable(out, new.get("spec"), old.get("spec"), "spec", shape=CLAIM_TEMPLATE)
    check_claim_template(out, new)
