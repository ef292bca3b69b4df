"""Is a CustomResourceDefinition right?

Enters: a defaulted definition; the stored one on update.
Leaves: causes appended to ``out``.
Holds: what all versions say alike is told of once, under spec (spec.validation, spec.subresources), as kube-apiserver does. A
schema that did not change is not checked again.
Source: apiextensions-apiserver pkg/apis/apiextensions/validation.
Next: api.validation.
"""

from __future__ import annotations

import unicodedata
from typing import Any, Final

from edgekube.api import names
from edgekube.api.custom import bundles, conditions
from edgekube.api.custom.defaults import check_defaults, check_rules_of_defaults
from edgekube.api.custom.jsonpath import JsonPath
from edgekube.api.custom.openapi import check_openapi
from edgekube.api.custom.paths import BadPath, field_path
from edgekube.api.custom.rules import check_rules
from edgekube.api.custom.structural import check_structural
from edgekube.api.objects import Object
from edgekube.api.validation import causes
from edgekube.api.validation.admissionregistration import check_client_config
from edgekube.api.validation.fields import (
    Out,
    check_immutable,
    check_one_of,
    dns_subdomain,
    items,
    part,
    text,
    texts,
)  # fmt: skip
from edgekube.api.validation.inner import CUSTOM_VERSION, inner

_PRINTED_TYPES: Final = ("boolean", "date", "integer", "number", "string")
_FORMATS: Final = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
_APPROVAL: Final = "api-approved.kubernetes.io"
_MORE: Final = "https://github.com/kubernetes/enhancements/pull/1111"
_REVIEW_VERSIONS: Final = ("v1", "v1beta1")
_SELECTABLE_FIELDS_MAX: Final = 8
_WARNING_CHARACTERS_MAX: Final = 256
#: What every version may say alike: key of a version -> where it is told of then.
_SHARED: Final = {
    "schema": "validation", "subresources": "subresources", "additionalPrinterColumns": "additionalPrinterColumns",
    "selectableFields": "selectableFields",
}  # fmt: skip
#: What a root may say beside status, so that status can be taken out of it (keyword -> upstream's name of it).
_AT_ROOT: Final = {
    "description": "Description", "type": "Type", "format": "Format", "title": "Title", "maximum": "Maximum",
    "exclusiveMaximum": "ExclusiveMaximum", "minimum": "Minimum", "exclusiveMinimum": "ExclusiveMinimum",
    "maxLength": "MaxLength", "minLength": "MinLength", "pattern": "Pattern", "maxItems": "MaxItems", "minItems": "MinItems",
    "uniqueItems": "UniqueItems", "multipleOf": "MultipleOf", "required": "Required", "items": "Items",
    "properties": "Properties", "externalDocs": "ExternalDocs", "example": "Example",
    "x-kubernetes-preserve-unknown-fields": "XPreserveUnknownFields", "x-kubernetes-validations": "XValidations",
}  # fmt: skip


def check_definition(out: Out, definition: Object, old: Object | None = None) -> None:
    metadata, spec = part(definition, "metadata"), part(definition, "spec")
    names_, group = part(spec, "names"), text(spec, "group")
    wanted = f"{text(names_, 'plural')}.{group}"
    for key in ("generateName", "name"):
        if text(metadata, key) not in ("", wanted):
            detail = 'must be spec.names.plural+"."+spec.group'
            out.append(causes.invalid(f"metadata.{key}", text(metadata, key), detail))
    if not group:
        out.append(causes.required("spec.group"))
    elif messages := dns_subdomain(group):
        out.append(causes.invalid("spec.group", group, ",".join(messages)))
    elif "." not in group:
        out.append(causes.invalid("spec.group", group, "should be a domain with at least one dot"))
    check_one_of(out, spec, "scope", "spec", ("Cluster", "Namespaced"))
    _check_versions(out, spec, old)
    for key in ("plural", "singular", "kind", "listKind"):
        if not text(names_, key):
            out.append(causes.required(f"spec.names.{key}"))
    _check_names(out, names_, "spec.names")
    if spec.get("preserveUnknownFields") and not part(old or {}, "spec").get("preserveUnknownFields"):
        detail = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
        out.append(causes.invalid("spec.preserveUnknownFields", True, detail))
    _check_conversion(out, part(spec, "conversion"), old)
    _check_names(out, part(part(definition, "status"), "acceptedNames"), "status.acceptedNames")
    _check_stored_versions(out, definition)
    _check_approval(out, group, metadata, part(old or {}, "metadata") if old is not None else None)


def check_definition_update(out: Out, new: Object, old: Object) -> None:
    check_definition(out, new, old)
    spec, before = part(new, "spec"), part(old, "spec")
    if conditions.is_true(old, conditions.ESTABLISHED):
        check_immutable(out, spec.get("scope"), before.get("scope"), "spec.scope")
        check_immutable(out, part(spec, "names").get("kind"), part(before, "names").get("kind"), "spec.names.kind")
    check_immutable(out, spec.get("group"), before.get("group"), "spec.group")
    check_immutable(out, part(spec, "names").get("plural"), part(before, "names").get("plural"), "spec.names.plural")


def check_definition_status(out: Out, new: Object, old: Object) -> None:
    _check_names(out, part(part(new, "status"), "acceptedNames"), "status.acceptedNames")


# --- versions -----------------------------------------------------------------------------------------------------------


def _check_versions(out: Out, spec: Object, old: Object | None) -> None:
    versions = items(spec, "versions")
    seen: set[str] = set()
    shared = {key: where for key, where in _SHARED.items() if _is_shared(versions, key)}
    for i, version in enumerate(versions):
        path, name = f"spec.versions[{i}]", text(version, "name")
        seen.add(name)
        if messages := names.dns1035_label(name):
            out.append(causes.invalid(f"{path}.name", name, ",".join(messages)))
        if part(version, "schema").get("openAPIV3Schema") is None:
            out.append(causes.required(f"{path}.schema.openAPIV3Schema"))
        _check_deprecation(out, version, path)
        _check_version(out, version, {key: f"{path}.{key}" for key in _SHARED if key not in shared}, spec, old)
    if shared and versions:
        _check_version(out, versions[0], {key: f"spec.{where}" for key, where in shared.items()}, spec, old)
    first = text(versions[0], "name") if versions else ""
    if first and (messages := names.dns1035_label(first)):
        out.append(causes.invalid("spec.version", first, ",".join(messages)))
    shown = [inner(version, CUSTOM_VERSION) for version in versions] if spec.get("versions") is not None else None
    if len(seen) != len(versions):
        out.append(causes.invalid("spec.versions", shown, "must contain unique version names"))
    if sum(bool(version.get("storage")) for version in versions) != 1:
        detail = "must have exactly one version marked as storage version"
        out.append(causes.invalid("spec.versions", shown, detail))


def _is_shared(versions: list[Object], key: str) -> bool:
    first = versions[0].get(key) if versions else None
    return bool(first) and all(version.get(key) == first for version in versions)


def _check_version(out: Out, version: Object, where: dict[str, str], spec: Object, old: Object | None) -> None:
    """``where``: what of the version is to be checked, and where it stands."""
    schema = part(version, "schema").get("openAPIV3Schema")
    if "schema" in where and isinstance(schema, dict):
        has_status = part(version, "subresources").get("status") is not None
        _check_schema(out, schema, f"{where['schema']}.openAPIV3Schema", has_status, _has_schema(old, schema))
    scale = part(version, "subresources").get("scale")
    if "subresources" in where and isinstance(scale, dict):
        _check_scale(out, scale, f"{where['subresources']}.scale")
    if "additionalPrinterColumns" in where:
        for i, column in enumerate(items(version, "additionalPrinterColumns")):
            _check_column(out, column, f"{where['additionalPrinterColumns']}[{i}]")
    if "selectableFields" in where and isinstance(schema, dict):
        _check_selectable(out, items(version, "selectableFields"), schema, where["selectableFields"])
    elif "selectableFields" in where and items(version, "selectableFields"):
        out.append(causes.invalid(where["selectableFields"], "", "may only be set when validations.schema is included"))


def _has_schema(old: Object | None, schema: Object) -> bool:
    """Whether the stored definition has this very schema: it was found to be good, and good it stays."""
    return any(part(version, "schema").get("openAPIV3Schema") == schema for version in items(part(old or {}, "spec"), "versions"))


def _check_schema(out: Out, schema: Object, path: str, has_status: bool, is_known: bool) -> None:
    if has_status:
        _check_root(out, schema, path)
    if schema.get("nullable"):
        out.append(causes.forbidden(f"{path}.nullable", "nullable cannot be true at the root"))
    if is_known:
        return
    found = check_openapi(schema, path)
    faults = check_structural(schema, path)
    if not faults:
        faults = check_defaults(schema, path) if not found else []
    for cause in (*faults, *found):
        out.append(cause)
    if not faults and not found:
        for cause in check_rules(schema, path) or check_rules_of_defaults(schema, path):
            out.append(cause)


def _check_root(out: Out, schema: Object, path: str) -> None:
    if schema.get("type") and schema["type"] != "object":
        detail = 'only "object" is allowed as the type at the root of the schema if the status subresource is enabled'
        out.append(causes.invalid(f"{path}.type", schema["type"], detail))
    others = [
        key
        for key, value in schema.items()
        if key not in _AT_ROOT and (value not in (None, "", False, [], {}) or (key == "not" and value is not None))
    ]
    if others:
        allowed = " ".join(_AT_ROOT.values())
        detail = f"only [{allowed}] fields are allowed at the root of the schema if the status subresource is enabled"
        out.append(causes.invalid(path, schema, detail))


def _check_deprecation(out: Out, version: Object, path: str) -> None:
    warning = version.get("deprecationWarning")
    if warning is None:
        return
    field = f"{path}.deprecationWarning"
    if not version.get("deprecated"):
        out.append(causes.invalid(field, warning, "can only be set for deprecated versions"))
        return
    if len(warning) > _WARNING_CHARACTERS_MAX:
        out.append(causes.invalid(field, warning, f"must be <= {_WARNING_CHARACTERS_MAX} characters long"))
    if not warning:
        out.append(causes.invalid(field, warning, "must not be an empty string"))
    for i, character in enumerate(warning):
        if character != " " and unicodedata.category(character)[0] in "ZC":
            detail = f"must only contain printable UTF-8 characters; non-printable character found at index {i}"
            out.append(causes.invalid(field, warning, detail))
            break


def _check_json_path(out: Out, path: str, field: str) -> bool:
    if not path.startswith("."):
        out.append(causes.invalid(field, path, "must be a simple json path starting with ."))
        return False
    return True


def _check_scale(out: Out, scale: Object, field: str) -> None:
    for key, root in (("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")):
        path = text(scale, key)
        if not path:
            out.append(causes.required(f"{field}.{key}"))
        elif _check_json_path(out, path, f"{field}.{key}") and not path.startswith(root):
            out.append(causes.invalid(f"{field}.{key}", path, f"should be a json path under {root[:-1]}"))
    selector = text(scale, "labelSelectorPath")
    where = f"{field}.labelSelectorPath"
    if selector and _check_json_path(out, selector, where) and not selector.startswith((".spec.", ".status.")):
        out.append(causes.invalid(where, selector, "should be a json path under either .spec or .status"))


def _check_column(out: Out, column: Object, field: str) -> None:
    if not text(column, "name"):
        out.append(causes.required(f"{field}.name"))
    kind, format_, path = text(column, "type"), text(column, "format"), text(column, "jsonPath")
    detail = f"must be one of {','.join(_PRINTED_TYPES)}"
    if not kind:
        out.append(causes.required(f"{field}.type", detail))
    elif kind not in _PRINTED_TYPES:
        out.append(causes.invalid(f"{field}.type", kind, detail))
    if format_ and format_ not in _FORMATS:
        out.append(causes.invalid(f"{field}.format", format_, f"must be one of {','.join(_FORMATS)}"))
    if not path:
        out.append(causes.required(f"{field}.JSONPath"))
    elif _check_json_path(out, path, f"{field}.JSONPath"):
        try:
            JsonPath(path)
        except ValueError as error:
            out.append(causes.invalid(f"{field}.JSONPath", path, f"unrecognized column definition: {error}"))


def _check_selectable(out: Out, fields: list[Object], schema: Object, path: str) -> None:
    seen: set[str] = set()
    for i, field in enumerate(fields):
        where, given = f"{path}[{i}].jsonPath", text(field, "jsonPath")
        if not given:
            out.append(causes.required(where))
            continue
        try:
            found, at = field_path(given, schema, allow_brackets=False)
        except BadPath as error:
            out.append(causes.invalid(where, given, f"is an invalid path: {error}"))
            continue
        if found.partition(".")[0] == "metadata":
            out.append(causes.invalid(where, given, "must not point to fields in metadata"))
        if at.get("type") not in ("string", "boolean", "integer"):
            detail = (
                "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are "
                "allowed."
            )
            out.append(causes.invalid(where, given, detail))
        if found in seen:
            out.append(causes.duplicate(where, given))
        seen.add(found)
    if len(seen) > _SELECTABLE_FIELDS_MAX:
        out.append(causes.too_many(path, len(seen), _SELECTABLE_FIELDS_MAX))


# --- the rest of it -----------------------------------------------------------------------------------------------------


def _check_names(out: Out, accepted: Object, field: str) -> None:
    for key in ("plural", "singular", "kind", "listKind"):
        value = text(accepted, key)
        messages = names.dns1035_label(value.lower() if "ind" in key else value) if value else []
        if messages:
            mixed = "may have mixed case, but should otherwise match: " if key in ("kind", "listKind") else ""
            out.append(causes.invalid(f"{field}.{key}", value, f"{mixed}{','.join(messages)}"))
    if text(accepted, "kind") and text(accepted, "kind") == text(accepted, "listKind"):
        detail = "kind and listKind may not be the same"
        out.append(causes.invalid(f"{field}.listKind", text(accepted, "listKind"), detail))
    for key in ("shortNames", "categories"):
        for i, value in enumerate(texts(accepted, key)):
            if messages := names.dns1035_label(value):
                out.append(causes.invalid(f"{field}.{key}[{i}]", value, ",".join(messages)))


def _check_conversion(out: Out, conversion: Object, old: Object | None) -> None:
    check_one_of(out, conversion, "strategy", "spec.conversion", ("None", "Webhook"))
    webhook: Any = conversion.get("webhook")
    if conversion.get("strategy") != "Webhook":
        if webhook is not None:
            detail = "should not be set when strategy is not set to Webhook"
            out.append(causes.forbidden("spec.conversion.webhookClientConfig", detail))
        return
    config = part(part(conversion, "webhook"), "clientConfig")
    if not config:
        out.append(causes.required("spec.conversion.webhookClientConfig", "required when strategy is set to Webhook"))
    elif (config.get("url") is None) == (config.get("service") is None):
        out.append(causes.required("spec.conversion.webhookClientConfig", "exactly one of url or service is required"))
    else:
        check_client_config(out, config, "spec.conversion.webhookClientConfig")
        _check_bundle(out, text(config, "caBundle"), old)
    _check_review_versions(out, texts(part(conversion, "webhook"), "conversionReviewVersions"))


def _check_bundle(out: Out, bundle: str, old: Object | None) -> None:
    """Before it serves, a definition may wait for its bundle; afterwards only what was wrong before may stay so."""
    serves = old is not None and conditions.is_true(old, conditions.ESTABLISHED)
    if not serves or old is None or bundles.is_good(bundle) or not bundles.is_good(bundles.bundle_of(old)):
        return
    out.append(causes.invalid("spec.conversion.webhookClientConfig.caBundle", bundle, bundles.UNREADABLE))


def _check_review_versions(out: Out, versions: list[str]) -> None:
    field = "spec.conversion.conversionReviewVersions"
    if not versions:
        out.append(causes.required(field))
        return
    for i, version in enumerate(versions):
        if version in versions[:i]:
            out.append(causes.invalid(f"{field}[{i}]", version, "duplicate version"))
            continue
        for message in names.dns1035_label(version):
            out.append(causes.invalid(f"{field}[{i}]", version, message))
    if not set(versions) & set(_REVIEW_VERSIONS):
        detail = f"must include at least one of {', '.join(_REVIEW_VERSIONS)}"
        out.append(causes.invalid(field, versions, detail))


def _check_stored_versions(out: Out, definition: Object) -> None:
    stored, versions = texts(part(definition, "status"), "storedVersions"), items(part(definition, "spec"), "versions")
    field = "status.storedVersions"
    if not stored:
        shown = part(definition, "status").get("storedVersions") or None
        out.append(causes.invalid(field, shown, "must have at least one stored version"))
        return
    defined = {text(version, "name") for version in versions}
    left = set(stored)
    for version in versions:
        if version.get("storage") and text(version, "name") not in left:
            out.append(causes.invalid(field, stored, f"must have the storage version {text(version, 'name')}"))
        left.discard(text(version, "name"))
    for i, name in enumerate(stored):
        if name not in defined:
            detail = (
                f"missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a "
                f"storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"
            )
            out.append(causes.invalid(f"{field}[{i}]", name, detail))


def _check_approval(out: Out, group: str, metadata: Object, before: Object | None) -> None:
    """Groups of the community are for what the community has reviewed."""
    if not group.endswith((".k8s.io", ".kubernetes.io")) and group not in ("k8s.io", "kubernetes.io"):
        return
    given, field = text(part(metadata, "annotations"), _APPROVAL), f"metadata.annotations[{_APPROVAL}]"
    state = _approval(given)
    if before is not None and _approval(text(part(before, "annotations"), _APPROVAL)) == state:
        return
    if state == "missing":
        detail = f'protected groups must have approval annotation "{_APPROVAL}", see {_MORE}'
        out.append(causes.required(field, detail))
    elif state == "invalid":
        detail = (
            f'protected groups must have approval annotation "{_APPROVAL}" with either a URL or a reason starting with '
            f'"unapproved", see {_MORE}'
        )
        out.append(causes.invalid(field, given, detail))


def _approval(annotation: str) -> str:
    if not annotation:
        return "missing"
    if annotation.startswith("unapproved"):
        return "bypassed"
    scheme, separator, rest = annotation.partition("://")
    return "approved" if separator and scheme.isalnum() and rest.strip("/") else "invalid"
