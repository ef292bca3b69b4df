"""ObjectMeta: names, labels, annotations, owners, finalizers, and what of it never changes.

Enters: metadata of any kind, with the kind's rule for names.
Leaves: causes appended to ``out``.
Holds: the registry has made name, uid and timestamps before this runs; what an update leaves out of them is unchanged.
Source: apimachinery api/validation/objectmeta.go; meta/v1/validation (labels, selectors).
Next: api.validation, api.validation.podspec (templates).
"""

from __future__ import annotations

from typing import Any, Final

from edgekube import limits
from edgekube.api import names
from edgekube.api.names import NameCheck
from edgekube.api.objects import Object
from edgekube.api.validation import causes
from edgekube.api.validation.fields import Out, check, items, label_value, part, qualified_name, same, text, texts

_STANDARD_FINALIZERS: Final = frozenset({"kubernetes", "orphan", "foregroundDeletion"})
NOT_QUALIFIED: Final = "name is neither a standard finalizer name nor is it fully qualified"
_UNCHANGING: Final = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")


def check_label_key(out: Out, key: str, field: str) -> None:
    for message in qualified_name(key):
        out.append(causes.invalid(field, key, message))


def check_label_value(out: Out, value: str, field: str) -> None:
    for message in label_value(value):
        out.append(causes.invalid(field, value, message))


def check_labels(out: Out, labels: dict[str, Any] | None, field: str) -> None:
    for key, value in (labels or {}).items():
        check_label_key(out, key, field)
        check_label_value(out, value or "", field)


def check_annotations(out: Out, annotations: dict[str, Any] | None, field: str) -> None:
    if not annotations:
        return
    size_bytes = 0
    for key, value in annotations.items():
        for message in qualified_name(key.lower()):
            out.append(causes.invalid(field, key, message))
        size_bytes += names.bytes_of(key) + names.bytes_of(value or "")
    if size_bytes > limits.ANNOTATIONS_BYTES_MAX:
        out.append(causes.too_long(field, limits.ANNOTATIONS_BYTES_MAX))


def check_operator(out: Out, operator: str, values: list[str], path: str) -> None:
    """Of a requirement on labels, with the values that it takes."""
    if operator in ("In", "NotIn"):
        if not values:
            out.append(causes.required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            out.append(causes.forbidden(f"{path}.values", detail))
    else:
        out.append(causes.invalid(f"{path}.operator", operator, "not a valid selector operator"))


def check_label_selector(out: Out, selector: Object | None, field: str) -> None:
    """metav1.LabelSelector; none is good here, kinds that need one say so themselves."""
    if not selector:
        return
    check_labels(out, selector.get("matchLabels"), f"{field}.matchLabels")
    for i, expression in enumerate(items(selector, "matchExpressions")):
        path = f"{field}.matchExpressions[{i}]"
        operator, values = text(expression, "operator"), texts(expression, "values")
        check_operator(out, operator, values, path)
        check_label_key(out, text(expression, "key"), f"{path}.key")
        for j, value in enumerate(values):
            check_label_value(out, value, f"{path}.values[{j}]")


def check_finalizer(out: Out, name: str, field: str) -> None:
    for message in qualified_name(name):
        out.append(causes.invalid(field, name, message))
    if "/" not in name and name not in _STANDARD_FINALIZERS:
        out.append(causes.invalid(field, name, NOT_QUALIFIED))


def _check_finalizers(out: Out, finalizers: list[str], field: str) -> None:
    for name in finalizers:
        for message in qualified_name(name):
            out.append(causes.invalid(field, name, message))
    for i, name in enumerate(finalizers):
        if "/" not in name and name not in _STANDARD_FINALIZERS:
            out.append(causes.invalid(f"{field}[{i}]", name, NOT_QUALIFIED))
    if "orphan" in finalizers and "foregroundDeletion" in finalizers:
        out.append(causes.invalid(field, finalizers, "finalizer orphan and foregroundDeletion cannot be both set"))


def _check_owners(out: Out, metadata: Object, field: str) -> None:
    controller = ""
    for owner in items(metadata, "ownerReferences"):
        api_version, kind, name = text(owner, "apiVersion"), text(owner, "kind"), text(owner, "name")
        if not _version_of(api_version):
            out.append(causes.invalid(f"{field}.apiVersion", api_version, "version must not be empty"))
        for key in ("kind", "name", "uid"):
            if not text(owner, key):
                out.append(causes.invalid(f"{field}.{key}", "", "must not be empty"))
        if api_version == "v1" and kind == "Event":
            out.append(causes.invalid(field, owner, "/v1, Kind=Event is disallowed from being an owner"))
        if owner.get("controller"):
            if controller:
                detail = (
                    "Only one reference can have Controller set to true. "
                    f'Found "true" in references for {controller} and {kind}/{name}'
                )
                out.append(causes.invalid(field, metadata.get("ownerReferences"), detail))
            else:
                controller = f"{kind}/{name}"


def _version_of(api_version: str) -> str:
    """ "": there is none, or it cannot be read."""
    group, slash, version = api_version.rpartition("/")
    return version if not slash or "/" not in group else ""


def _check_managed_fields(out: Out, entries: list[Object], field: str) -> None:
    """Those that come through the bookkeeping of api.managed: it drops what it cannot read, and keeps the rest as it came."""
    for i, entry in enumerate(entries):
        path = f"{field}[{i}]"
        operation, fields_type, manager = text(entry, "operation"), text(entry, "fieldsType"), text(entry, "manager")
        if operation not in ("Apply", "Update"):
            out.append(causes.invalid(f"{path}.operation", operation, "must be `Apply` or `Update`"))
        if fields_type and fields_type != "FieldsV1":
            out.append(causes.invalid(f"{path}.fieldsType", fields_type, "must be `FieldsV1`"))
        if names.bytes_of(manager) > limits.FIELD_MANAGER_BYTES_MAX:
            out.append(causes.too_long(f"{path}.manager", limits.FIELD_MANAGER_BYTES_MAX))
        else:
            check(out, names.field_manager(manager), f"{path}.manager", manager)
        if names.bytes_of(text(entry, "subresource")) > limits.MANAGED_SUBRESOURCE_BYTES_MAX:
            out.append(causes.too_long(f"{path}.subresource", limits.MANAGED_SUBRESOURCE_BYTES_MAX))


def of_prefix(generate_name: str) -> str:
    """A prefix may end in a dash, for something follows it; upstream asks about it without the two last characters."""
    return generate_name[:-2] + "a" if len(generate_name) > 1 and generate_name.endswith("-") else generate_name


def _check_common(out: Out, metadata: Object) -> None:
    generation = metadata.get("generation")
    if isinstance(generation, int) and generation < 0:
        out.append(causes.invalid("metadata.generation", generation, causes.NEGATIVE))
    check_labels(out, metadata.get("labels"), "metadata.labels")
    check_annotations(out, metadata.get("annotations"), "metadata.annotations")
    if metadata.get("ownerReferences"):
        _check_owners(out, metadata, "metadata.ownerReferences")
    if metadata.get("finalizers"):
        _check_finalizers(out, texts(metadata, "finalizers"), "metadata.finalizers")
    if metadata.get("managedFields"):
        _check_managed_fields(out, items(metadata, "managedFields"), "metadata.managedFields")


def check_metadata(out: Out, metadata: Object, namespaced: bool, check_name: NameCheck) -> None:
    """On create, after the registry has filled name, namespace and uid."""
    generate_name, name, namespace = text(metadata, "generateName"), text(metadata, "name"), text(metadata, "namespace")
    if generate_name:
        check(out, check_name(of_prefix(generate_name)), "metadata.generateName", generate_name)
    if not name:
        out.append(causes.required("metadata.name", "name or generateName is required"))
    else:
        check(out, check_name(name), "metadata.name", name)
    if not namespaced:
        if namespace:
            out.append(causes.forbidden("metadata.namespace", "not allowed on this type"))
    elif not namespace:
        out.append(causes.required("metadata.namespace"))
    else:
        check(out, names.dns1123_label(namespace), "metadata.namespace", namespace)
    _check_common(out, metadata)


def check_metadata_update(out: Out, new: Object, old: Object) -> None:
    if old.get("deletionTimestamp"):
        added = sorted(set(texts(new, "finalizers")) - set(texts(old, "finalizers")))
        if added:
            shown = ", ".join(causes.quoted(name) for name in added)
            detail = f"no new finalizers can be added if the object is being deleted, found new finalizers []string{{{shown}}}"
            out.append(causes.forbidden("metadata.finalizers", detail))
    generation = new.get("generation")
    if isinstance(generation, int) and generation < (old.get("generation") or 0):
        out.append(causes.invalid("metadata.generation", generation, "must not be decremented"))
    for key in ("name", "namespace"):
        if text(new, key) != text(old, key):
            out.append(causes.invalid(f"metadata.{key}", text(new, key), causes.IMMUTABLE))
    for key in _UNCHANGING:
        if new.get(key) is not None and not same(new[key], old.get(key)):
            out.append(causes.invalid(f"metadata.{key}", new[key], causes.IMMUTABLE))
    _check_common(out, new)


def template_metadata(template: Object) -> Object:
    return part(template, "metadata")
