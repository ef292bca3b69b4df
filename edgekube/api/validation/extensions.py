"""CustomResourceDefinitions and APIServices: what extends the API.

Enters: defaulted objects of apiextensions.k8s.io and apiregistration.k8s.io; the old one on update.
Leaves: causes appended to ``out``.
Holds: a definition's group, plural and scope never change once it serves; the schema's structure is registry.custom's to check.
Source: apiextensions/validation, apiregistration/validation.
Next: api.validation.
"""

from __future__ import annotations

import re
from typing import Final

from edgekube.api import names
from edgekube.api.objects import Object
from edgekube.api.validation import causes
from edgekube.api.validation.admissionregistration import check_client_config
from edgekube.api.validation.fields import (
    Out,
    check,
    check_immutable,
    check_one_of,
    check_present,
    dns_subdomain,
    items,
    number,
    part,
    text,
    texts,
)

_PRINTED_TYPES: Final = ("boolean", "date", "integer", "number", "string")
_FORMATS: Final = ("binary", "bool", "byte", "date", "date-time", "double", "email", "float", "int32", "int64", "password", "")
_PRIORITY_MAX: Final = 20000
_PROTECTED: Final = re.compile(r"(^|\.)(k8s\.io|kubernetes\.io)$")
_APPROVAL: Final = "api-approved.kubernetes.io"


def check_definition(out: Out, definition: Object) -> None:
    metadata, spec = part(definition, "metadata"), part(definition, "spec")
    names_, group = part(spec, "names"), text(spec, "group")
    wanted, name = f"{text(names_, 'plural')}.{group}", text(metadata, "name")
    if name != wanted:
        out.append(causes.invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group'))
    if not group:
        out.append(causes.required("spec.group"))
    else:
        messages = dns_subdomain(group)
        if messages:
            out.append(causes.invalid("spec.group", group, ",".join(messages)))
        elif "." not in group:
            out.append(causes.invalid("spec.group", group, "should be a domain with at least one dot"))
        if _PROTECTED.search(group) and not part(metadata, "annotations").get(_APPROVAL):
            detail = (
                f'protected groups must have approval annotation "{_APPROVAL}", see '
                "https://github.com/kubernetes/enhancements/pull/1111"
            )
            out.append(causes.required(f"metadata.annotations[{_APPROVAL}]", detail))
    check_one_of(out, spec, "scope", "spec", ("Cluster", "Namespaced"))
    _check_versions(out, spec)
    _check_accepted_names(out, names_, "spec.names")
    conversion = part(spec, "conversion")
    check_one_of(out, conversion, "strategy", "spec.conversion", ("None", "Webhook"))
    webhook = conversion.get("webhook")
    if conversion.get("strategy") == "Webhook":
        if part(part(conversion, "webhook"), "clientConfig") == {}:
            detail = "required when strategy is set to Webhook"
            out.append(causes.required("spec.conversion.webhook.clientConfig", detail))
        else:
            check_client_config(out, part(conversion["webhook"], "clientConfig"), "spec.conversion.webhook.clientConfig")
        versions = texts(part(conversion, "webhook"), "conversionReviewVersions")
        if not versions:
            out.append(causes.required("spec.conversion.webhook.conversionReviewVersions"))
    elif webhook is not None:
        detail = "should not be set when strategy is not set to Webhook"
        out.append(causes.forbidden("spec.conversion.webhook", detail))


def _check_versions(out: Out, spec: Object) -> None:
    versions = items(spec, "versions")
    storing = [version for version in versions if version.get("storage")]
    seen: set[str] = set()
    for i, version in enumerate(versions):
        path, name = f"spec.versions[{i}]", text(version, "name")
        if name in seen:
            out.append(causes.invalid("spec.versions", "versions", "must contain unique version names"))
        seen.add(name)
        messages = names.dns1035_label(name)
        if messages:
            out.append(causes.invalid(f"{path}.name", name, ",".join(messages)))
        schema = part(version, "schema").get("openAPIV3Schema")
        if schema is None:
            out.append(causes.required(f"{path}.schema.openAPIV3Schema", "schemas are required"))
        elif text(schema, "type") != "object":
            kind = text(schema, "type")
            if kind:
                detail = "must be object at the root"
                out.append(causes.invalid(f"{path}.schema.openAPIV3Schema.type", kind, detail))
            else:
                out.append(causes.required(f"{path}.schema.openAPIV3Schema.type", "must not be empty at the root"))
        scale = part(version, "subresources").get("scale")
        if scale is not None:
            _check_scale(out, scale, f"{path}.subresources.scale")
        for j, column in enumerate(items(version, "additionalPrinterColumns")):
            _check_column(out, column, f"{path}.additionalPrinterColumns[{j}]")
    if len(storing) != 1:
        detail = "must have exactly one version marked as storage version"
        out.append(causes.invalid("spec.versions", versions, detail))
    if versions and spec.get("preserveUnknownFields"):
        detail = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
        out.append(causes.invalid("spec.preserveUnknownFields", True, detail))


def _check_scale(out: Out, scale: Object, field: str) -> None:
    for key, root in (("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")):
        path = text(scale, key)
        if not path:
            out.append(causes.required(f"{field}.{key}"))
        elif not path.startswith(root):
            out.append(causes.invalid(f"{field}.{key}", path, f"should be a json path under {root[:-1]}"))
    selector = text(scale, "labelSelectorPath")
    if selector and not selector.startswith((".spec.", ".status.")):
        detail = "should be a json path under either .status or .spec"
        out.append(causes.invalid(f"{field}.labelSelectorPath", selector, detail))


def _check_column(out: Out, column: Object, field: str) -> None:
    check_present(out, column, "name", field)
    kind = text(column, "type")
    if not kind:
        out.append(causes.required(f"{field}.type", f"must be one of {','.join(_PRINTED_TYPES)}"))
    elif kind not in _PRINTED_TYPES:
        out.append(causes.invalid(f"{field}.type", kind, f"must be one of {','.join(_PRINTED_TYPES)}"))
    if text(column, "format") not in _FORMATS:
        detail = f"must be one of {','.join(sorted(one for one in _FORMATS if one))}"
        out.append(causes.invalid(f"{field}.format", text(column, "format"), detail))
    path = text(column, "jsonPath")
    if not path:
        out.append(causes.required(f"{field}.jsonPath"))


def _check_accepted_names(out: Out, accepted: Object, field: str) -> None:
    for key in ("plural", "singular", "kind", "listKind"):
        value = text(accepted, key)
        if not value:
            out.append(causes.required(f"{field}.{key}"))
            continue
        messages = names.dns1035_label(value.lower())
        if messages:
            mixed = "may have mixed case, but should otherwise match: " if key in ("kind", "listKind") else ""
            out.append(causes.invalid(f"{field}.{key}", value, f"{mixed}{','.join(messages)}"))
    if text(accepted, "kind") and text(accepted, "kind") == text(accepted, "listKind"):
        detail = "kind and listKind may not be the same"
        out.append(causes.invalid(f"{field}.listKind", text(accepted, "listKind"), detail))
    for key in ("shortNames", "categories"):
        for i, value in enumerate(texts(accepted, key)):
            messages = names.dns1035_label(value)
            if messages:
                out.append(causes.invalid(f"{field}.{key}[{i}]", value, ",".join(messages)))


def check_definition_update(out: Out, new: Object, old: Object) -> None:
    check_definition(out, new)
    spec, before = part(new, "spec"), part(old, "spec")
    established = any(
        one.get("type") == "Established" and one.get("status") == "True" for one in items(part(old, "status"), "conditions")
    )
    if established:
        check_immutable(out, spec.get("scope"), before.get("scope"), "spec.scope")
        check_immutable(out, part(spec, "names").get("kind"), part(before, "names").get("kind"), "spec.names.kind")
    check_immutable(out, spec.get("group"), before.get("group"), "spec.group")
    check_immutable(out, part(spec, "names").get("plural"), part(before, "names").get("plural"), "spec.names.plural")
    defined = {text(version, "name") for version in items(spec, "versions")}
    for i, version in enumerate(texts(part(new, "status"), "storedVersions") or texts(part(old, "status"), "storedVersions")):
        if version not in defined:
            detail = (
                f"missing from spec.versions; {version} was previously a storage version, and must remain in spec.versions "
                f"until a storage migration ensures no data remains persisted in {version} and removes {version} from "
                "status.storedVersions"
            )
            out.append(causes.invalid(f"status.storedVersions[{i}]", version, detail))


# --- APIService -----------------------------------------------------------------------------------------------------------


def check_api_service(out: Out, api_service: Object) -> None:
    spec = part(api_service, "spec")
    group, version, service = text(spec, "group"), text(spec, "version"), spec.get("service")
    wanted, name = f"{version}.{group}", text(part(api_service, "metadata"), "name")
    if name != wanted:
        detail = f'must be `spec.version+"."+spec.group`: "{wanted}"'
        out.append(causes.invalid("metadata.name", name, detail))
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
