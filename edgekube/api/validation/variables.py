"""Environment variables and the downward API: where a container's values come from.

Enters: env and envFrom of a container; field references in environments and in files.
Leaves: causes appended to ``out``.
Source: core/validation ValidateEnv, ValidateEnvFrom, validateObjectFieldSelector, validateContainerResourceFieldSelector.
Next: api.validation.containers, api.validation.volumes.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from edgekube.api import quantities
from edgekube.api.objects import Object
from edgekube.api.validation import causes
from edgekube.api.validation.fields import (
    Out,
    check,
    check_local_path,
    check_present,
    config_key,
    dns_label,
    dns_subdomain,
    env_name,
    items,
    qualified_name,
    text,
)
from edgekube.api.validation.resources import amount

FIELDS_IN_ENV: Final = (
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP",
    "status.hostIPs", "status.podIP", "status.podIPs",
)  # fmt: skip
FIELDS_IN_FILES: Final = ("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid")
#: Every field path that the downward API knows; others cannot even be converted.
_KNOWN: Final = frozenset({*FIELDS_IN_ENV, *FIELDS_IN_FILES, "spec.restartPolicy", "spec.schedulerName", "status.phase"})
_RESOURCES: Final = (
    "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage",
    "requests.memory",
)  # fmt: skip
_HUGE_PAGES: Final = ("requests.hugepages-", "limits.hugepages-")
_SIZES: Final = ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")
_SOURCES: Final = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")


def check_env(out: Out, container: Object, field: str) -> None:
    for i, variable in enumerate(items(container, "env")):
        path, name = f"{field}[{i}]", text(variable, "name")
        if not name:
            out.append(causes.required(f"{path}.name"))
        else:
            check(out, env_name(name), f"{path}.name", name)
        if variable.get("valueFrom") is not None:
            _check_value_from(out, variable, f"{path}.valueFrom")


def _check_value_from(out: Out, variable: Object, field: str) -> None:
    source = variable["valueFrom"]
    given = [key for key in _SOURCES if source.get(key) is not None]
    for key in given:
        reference, path = source[key], f"{field}.{key}"
        if key == "fieldRef":
            check_field_ref(out, reference, FIELDS_IN_ENV, path)
        elif key == "resourceFieldRef":
            check_resource_field_ref(out, reference, path, in_file=False)
        elif key == "fileKeyRef":
            check_file_key_ref(out, reference, path)
        else:
            _check_key_ref(out, reference, path)
    if not given:
        detail = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        out.append(causes.invalid(field, "", detail))
    elif variable.get("value"):
        out.append(causes.invalid(field, "", "may not be specified when `value` is not empty"))
    elif len(given) > 1:
        out.append(causes.invalid(field, "", "may not have more than one field specified at a time"))


def check_file_key_ref(out: Out, reference: Object, field: str) -> None:
    if check_present(out, reference, "key", field):
        check(out, env_name(text(reference, "key")), f"{field}.key", reference["key"])
    if check_present(out, reference, "volumeName", field):
        check(out, dns_label(text(reference, "volumeName")), f"{field}.volumeName", reference["volumeName"])
    if check_present(out, reference, "path", field):
        check_local_path(out, text(reference, "path"), f"{field}.path")


def check_volumes_of_variables(out: Out, spec: Object, field: str) -> None:
    """Files with variables lie in an emptyDir of the pod."""
    volumes = {text(volume, "name"): volume for volume in items(spec, "volumes")}
    for part in ("initContainers", "containers", "ephemeralContainers"):
        for i, container in enumerate(items(spec, part)):
            for j, variable in enumerate(items(container, "env")):
                reference = (variable.get("valueFrom") or {}).get("fileKeyRef")
                if reference is None:
                    continue
                name, path = text(reference, "volumeName"), f"{field}.{part}[{i}].env[{j}].valueFrom.fileKeyRef.volumeName"
                if name not in volumes:
                    out.append(causes.not_found(path, name))
                elif volumes[name].get("emptyDir") is None:
                    out.append(causes.invalid(path, name, "referenced volume must be of type emptyDir"))


def _check_key_ref(out: Out, reference: Object, field: str) -> None:
    name, key = text(reference, "name"), text(reference, "key")
    check(out, dns_subdomain(name), f"{field}.name", name)
    if not key:
        out.append(causes.required(f"{field}.key"))
    else:
        check(out, config_key(key), f"{field}.key", key)


def check_field_ref(out: Out, reference: Object, supported: Collection[str], field: str) -> None:
    version, path = text(reference, "apiVersion"), text(reference, "fieldPath")
    if not version:
        out.append(causes.required(f"{field}.apiVersion"))
        return
    if not path:
        out.append(causes.required(f"{field}.fieldPath"))
        return
    base, bracket, rest = path.partition("['")
    subscripted = bool(bracket) and rest.endswith("']")
    known = base in ("metadata.annotations", "metadata.labels") if subscripted else path in _KNOWN
    if version != "v1":
        detail = f"error converting fieldPath: unsupported pod version: {version}"
        out.append(causes.invalid(f"{field}.fieldPath", path, detail))
    elif subscripted and base in _KNOWN and not known:
        out.append(causes.invalid(field, base, "does not support subscript"))
    elif not known:
        detail = f"error converting fieldPath: field label not supported: {path}"
        out.append(causes.invalid(f"{field}.fieldPath", path, detail))
    elif subscripted:
        subscript = rest[:-2]
        check(out, qualified_name(subscript.lower() if base == "metadata.annotations" else subscript), field, subscript)
    elif path not in supported:
        out.append(causes.not_supported(f"{field}.fieldPath", path, sorted(supported)))


def check_resource_field_ref(out: Out, reference: Object, field: str, *, in_file: bool) -> None:
    resource = text(reference, "resource")
    if in_file and not text(reference, "containerName"):
        out.append(causes.required(f"{field}.containerName"))
    elif not resource:
        out.append(causes.required(f"{field}.resource"))
    elif resource not in _RESOURCES and not resource.startswith(_HUGE_PAGES):
        out.append(causes.not_supported(f"{field}.resource", resource, _RESOURCES))
    _check_divisor(out, reference.get("divisor"), resource, field)


def _check_divisor(out: Out, divisor: object, resource: str, field: str) -> None:
    if not divisor or not amount(divisor):
        return
    text_of = quantities.canonical(divisor)  # type: ignore[arg-type]  # amount() has parsed it
    what = resource.partition(".")[2]
    if what == "cpu":
        if text_of not in ("1", "1m"):
            detail = "only divisor's values 1m and 1 are supported with the cpu resource"
            out.append(causes.invalid(f"{field}.divisor", resource, detail))
    elif what and text_of not in _SIZES:
        named = {"memory": "memory", "ephemeral-storage": "local ephemeral storage"}.get(what, "hugepages")
        detail = f"only divisor's values {', '.join(_SIZES)} are supported with the {named} resource"
        out.append(causes.invalid(f"{field}.divisor", resource, detail))


def check_env_from(out: Out, container: Object, field: str) -> None:
    for i, source in enumerate(items(container, "envFrom")):
        path, prefix, count = f"{field}[{i}]", text(source, "prefix"), 0
        if prefix:
            check(out, env_name(prefix), f"{path}.prefix", prefix)
        for key in ("configMapRef", "secretRef"):
            if source.get(key) is None:
                continue
            count += 1
            name = text(source[key], "name")
            if not name:
                out.append(causes.required(f"{path}.{key}.name"))
            else:
                # upstream checks this as a prefix: a trailing dash passes
                checked = f"{name[:-1]}a" if len(name) > 1 and name.endswith("-") else name
                check(out, dns_subdomain(checked), f"{path}.{key}.name", name)
        if count == 0:
            out.append(causes.invalid(field, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif count > 1:
            out.append(causes.invalid(field, "", "may not have more than one field specified at a time"))
