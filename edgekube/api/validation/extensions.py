"""CustomResourceDefinitions and APIServices: what extends the API.

Enters: defaulted objects of apiextensions.k8s.io and apiregistration.k8s.io; the old one on update.
Leaves: causes appended to ``out``.
Holds: what a definition may say is in api.custom.definition_rules.
Source: apiextensions/validation, apiregistration/validation.
Next: api.validation.
"""

from __future__ import annotations

from typing import Final

from edgekube.api import names
from edgekube.api.objects import Object
from edgekube.api.validation import causes
from edgekube.api.validation.fields import (
    Out,
    check,
    check_present,
    dns_subdomain,
    number,
    part,
    text,
)

_PRIORITY_MAX: Final = 20000


def check_definition(out: Out, definition: Object) -> None:
    from edgekube.api.custom import definition_rules  # few clusters write definitions, and seldom

    definition_rules.check_definition(out, definition)


def check_definition_update(out: Out, new: Object, old: Object) -> None:
    from edgekube.api.custom import definition_rules

    definition_rules.check_definition_update(out, new, old)


def check_definition_status(out: Out, new: Object, old: Object) -> None:
    from edgekube.api.custom import definition_rules

    definition_rules.check_definition_status(out, new, old)


# --- APIService -----------------------------------------------------------------------------------------------------------


def check_api_service(out: Out, api_service: Object) -> None:
    spec = part(api_service, "spec")
    group, version, service = text(spec, "group"), text(spec, "version"), spec.get("service")
    wanted = f"{version}.{group}"
    for key in ("generateName", "name"):
        name = text(part(api_service, "metadata"), key)
        if name and not names.path_segment(name) and name != wanted:
            detail = f'must be `spec.version+"."+spec.group`: "{wanted}"'
            out.append(causes.invalid(f"metadata.{key}", name, detail))
    if group:
        for message in dns_subdomain(group):
            out.append(causes.invalid("spec.group", group, message))
    elif version != "v1":
        out.append(causes.required("spec.group", "only v1 may have an empty group and it better be legacy kube"))
    check(out, names.dns1035_label(version), "spec.version", version)
    for key in ("groupPriorityMinimum", "versionPriority"):
        value, top = number(spec, key), _PRIORITY_MAX if key == "groupPriorityMinimum" else 1000
        if not 1 <= value <= top:
            out.append(causes.invalid(f"spec.{key}", value, f"must be positive and less than {top}"))
    if service is None:
        if spec.get("caBundle"):
            detail = "local APIServices may not have a caBundle"
            out.append(causes.invalid("spec.caBundle", f"{len(spec['caBundle'])} bytes", detail))
        if spec.get("insecureSkipTLSVerify"):
            detail = "local APIServices may not have insecureSkipTLSVerify"
            out.append(causes.invalid("spec.insecureSkipTLSVerify", True, detail))
        return
    check_present(out, service, "namespace", "spec.service")
    check_present(out, service, "name", "spec.service")
    port = service.get("port")
    if port is not None and names.port_number(port):
        detail = f"port is not valid: {names.port_number(port)[0]}"
        out.append(causes.invalid("spec.service.port", port, detail))
    if spec.get("insecureSkipTLSVerify") and spec.get("caBundle"):
        detail = "may not be true if caBundle is present"
        out.append(causes.invalid("spec.insecureSkipTLSVerify", True, detail))
