"""ConfigMaps, Secrets, Namespaces, Nodes, ReplicationControllers, PodTemplates.

Enters: defaulted objects of the core group; the old one on update.
Leaves: causes appended to ``out``.
Holds: a Secret's data never appears in a message.
Source: core/validation (ConfigMap, Secret, Namespace, Node, ReplicationController, PodTemplate).
Next: api.validation.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, Final

import orjson

from edgekube.api.names import SUBDOMAIN_LENGTH_MAX, bytes_of
from edgekube.api.objects import Object
from edgekube.api.validation import causes
from edgekube.api.validation.addresses import check_cidr
from edgekube.api.validation.fields import (
    Out,
    check,
    check_nonnegative,
    config_key,
    items,
    number,
    parse_cidr,
    part,
    repeated,
    same,
    text,
    texts,
)
from edgekube.api.validation.metadata import check_finalizer
from edgekube.api.validation.placement import check_taints
from edgekube.api.validation.podspec import check_template
from edgekube.api.validation.resources import check_quantity

#: core/v1 MaxSecretSize: 1 MiB of values.
DATA_BYTES_MAX: Final = 1024 * 1024
_FEATURE: Final = re.compile("[A-Z][a-zA-Z0-9]*(/[a-zA-Z][a-zA-Z0-9]*)*")
_FEATURE_WORDS: Final = (
    "must start with an UpperCamelCase segment, with subsequent segments separated by '/' (e.g., MyFeature or "
    "MyFeature/mySubFeature), and contain only alphanumeric characters and slashes"
)
_FROZEN: Final = "field is immutable when `immutable` is set"


# --- ConfigMap and Secret ----------------------------------------------------------------------------------------------


def _size_of_base64(value: str) -> int:
    return len(value) * 3 // 4 - value.count("=", -2)


def check_config_map(out: Out, config_map: Object) -> None:
    data, binary = part(config_map, "data"), part(config_map, "binaryData")
    size_bytes = 0
    for key, value in data.items():
        check(out, config_key(key), f"data[{key}]", key)
        if key in binary:
            out.append(causes.invalid(f"data[{key}]", key, "duplicate of key present in binaryData"))
        size_bytes += bytes_of(value or "")
    for key, value in binary.items():
        check(out, config_key(key), f"binaryData[{key}]", key)
        size_bytes += _size_of_base64(value or "")
    if size_bytes > DATA_BYTES_MAX:
        out.append(causes.too_long("", DATA_BYTES_MAX))


def _check_frozen(out: Out, new: Object, old: Object, keys: tuple[str, ...]) -> None:
    if not old.get("immutable"):
        return
    if not new.get("immutable"):
        out.append(causes.forbidden("immutable", _FROZEN))
    for key in keys:
        if not same(new.get(key), old.get(key)):
            out.append(causes.forbidden(key, _FROZEN))


def check_config_map_update(out: Out, new: Object, old: Object) -> None:
    _check_frozen(out, new, old, ("data", "binaryData"))
    check_config_map(out, new)


def check_secret(out: Out, secret: Object) -> None:
    data, kind = part(secret, "data"), text(secret, "type")
    size_bytes = 0
    for key, value in data.items():
        check(out, config_key(key), f"data[{key}]", key)
        size_bytes += _size_of_base64(value or "")
    if size_bytes > DATA_BYTES_MAX:
        out.append(causes.too_long("data", DATA_BYTES_MAX))
    if kind == "kubernetes.io/service-account-token":
        key = "kubernetes.io/service-account.name"
        if not part(part(secret, "metadata"), "annotations").get(key):
            out.append(causes.required(f"metadata.annotations[{key}]"))
    elif kind in ("kubernetes.io/dockercfg", "kubernetes.io/dockerconfigjson"):
        _check_docker_config(out, data, ".dockercfg" if kind.endswith("dockercfg") else ".dockerconfigjson")
    elif kind == "kubernetes.io/basic-auth":
        if "username" not in data and "password" not in data:
            out += [causes.required("data[username]"), causes.required("data[password]")]
    elif kind == "kubernetes.io/ssh-auth":
        if not data.get("ssh-privatekey"):
            out.append(causes.required("data[ssh-privatekey]"))
    elif kind == "kubernetes.io/tls":
        out += [causes.required(f"data[{key}]") for key in ("tls.crt", "tls.key") if key not in data]


def _check_docker_config(out: Out, data: dict[str, Any], key: str) -> None:
    if key not in data:
        out.append(causes.required(f"data[{key}]"))
        return
    try:
        decoded = orjson.loads(base64.b64decode(data[key] or ""))
        problem = (
            "" if isinstance(decoded, dict | None) else "json: cannot unmarshal into Go value of type map[string]interface {}"
        )
    except (orjson.JSONDecodeError, binascii.Error, ValueError):
        problem = "unexpected end of JSON input" if not data[key] else "invalid character in JSON input"
    if problem:
        out.append(causes.invalid(f"data[{key}]", "<secret contents redacted>", problem))


def check_secret_update(out: Out, new: Object, old: Object) -> None:
    if text(new, "type") != text(old, "type"):
        out.append(causes.invalid("type", text(new, "type"), causes.IMMUTABLE))
    _check_frozen(out, new, old, ("data",))
    check_secret(out, new)


# --- Namespace ----------------------------------------------------------------------------------------------------------


def check_namespace(out: Out, namespace: Object) -> None:
    for finalizer in texts(part(namespace, "spec"), "finalizers"):
        check_finalizer(out, finalizer, "spec.finalizers")


def check_namespace_status(out: Out, new: Object, old: Object) -> None:
    phase = text(part(new, "status"), "phase")
    if part(new, "metadata").get("deletionTimestamp"):
        if phase != "Terminating":
            detail = "may only be 'Terminating' if `deletionTimestamp` is not empty"
            out.append(causes.invalid("status.Phase", phase, detail))
    elif phase != "Active":
        out.append(causes.invalid("status.Phase", phase, "may only be 'Active' if `deletionTimestamp` is empty"))


def check_namespace_finalize(out: Out, new: Object, old: Object) -> None:
    for i, finalizer in enumerate(texts(part(new, "spec"), "finalizers")):
        check_finalizer(out, finalizer, f"spec.finalizers[{i}]")


# --- Node ---------------------------------------------------------------------------------------------------------------


def check_node(out: Out, node: Object) -> None:
    spec = part(node, "spec")
    check_taints(out, items(spec, "taints"), "metadata.taints")
    _check_node_resources(out, node)
    _check_declared_features(out, texts(part(node, "status"), "declaredFeatures"))
    _check_pod_cidrs(out, texts(spec, "podCIDRs"))


def _check_node_resources(out: Out, node: Object) -> None:
    status = part(node, "status")
    for key in ("capacity", "allocatable"):
        for name, quantity in part(status, key).items():
            check_quantity(out, name, quantity, f"status.{key}.{name}")


def _check_declared_features(out: Out, features: list[str]) -> None:
    for i, name in enumerate(features):
        field = f"status.declaredFeatures[{i}]"
        if len(name) > SUBDOMAIN_LENGTH_MAX:
            detail = f'invalid feature name "{name}": must be no more than {SUBDOMAIN_LENGTH_MAX} characters'
            out.append(causes.invalid(field, name, detail))
        elif not _FEATURE.fullmatch(name):
            out.append(causes.invalid(field, name, f'invalid feature name "{name}": {_FEATURE_WORDS}'))
        if i and name == features[i - 1]:
            out.append(causes.duplicate(field, name))
        elif i and name < features[i - 1]:
            out.append(causes.invalid(field, name, "list must be sorted alphabetically"))


def _check_pod_cidrs(out: Out, cidrs: list[str]) -> None:
    for i, cidr in enumerate(cidrs):
        check_cidr(out, cidr, f"spec.podCIDRs[{i}]")
    if len(cidrs) > 1:
        versions = {parsed.version for parsed in map(parse_cidr, cidrs) if parsed is not None}
        if len(cidrs) > 2 or len(versions) < 2:
            detail = "may specify no more than one CIDR for each IP family"
            out.append(causes.invalid("spec.podCIDRs", cidrs, detail))


def check_node_update(out: Out, new: Object, old: Object) -> None:
    check_node(out, new)
    spec, before = part(new, "spec"), part(old, "spec")
    addresses = [(text(one, "type"), text(one, "address")) for one in items(part(new, "status"), "addresses")]
    again = repeated(addresses)
    for i, address in enumerate(addresses):
        if i in again:
            shown = {"Type": address[0], "Address": address[1]}
            out.append(causes.duplicate(f"status.addresses[{i}]", shown))
    if before.get("podCIDRs") and not same(spec.get("podCIDRs"), before["podCIDRs"]):
        detail = 'node updates may not change podCIDR except from "" to valid'
        out.append(causes.forbidden("spec.podCIDRs", detail))
    if before.get("providerID") and text(spec, "providerID") != before["providerID"]:
        detail = 'node updates may not change providerID except from "" to valid'
        out.append(causes.forbidden("spec.providerID", detail))


# --- workloads of the core group ------------------------------------------------------------------------------------------


def check_pod_template(out: Out, pod_template: Object) -> None:
    check_template(out, part(pod_template, "template"), "template")


def check_replication_controller(out: Out, controller: Object) -> None:
    spec = part(controller, "spec")
    check_nonnegative(out, spec, "minReadySeconds", "spec")
    selector = part(spec, "selector")
    if not selector:
        out.append(causes.required("spec.selector"))
    check_nonnegative(out, spec, "replicas", "spec")
    template = spec.get("template")
    if template is None:
        out.append(causes.required("spec.template"))
        return
    labels = part(template, "metadata").get("labels")
    if any((labels or {}).get(key) != value for key, value in selector.items()):
        detail = "`selector` does not match template `labels`"
        out.append(causes.invalid("spec.template.metadata.labels", labels, detail))
    check_template(out, template, "spec.template")
    pod_spec = part(template, "spec")
    if text(pod_spec, "restartPolicy") != "Always":
        value = text(pod_spec, "restartPolicy")
        out.append(causes.not_supported("spec.template.spec.restartPolicy", value, ("Always",)))
    if pod_spec.get("activeDeadlineSeconds") is not None:
        detail = "activeDeadlineSeconds in ReplicationController is not Supported"
        out.append(causes.forbidden("spec.template.spec.activeDeadlineSeconds", detail))


def check_replica_counts(out: Out, status: Object, keys: tuple[str, ...], compared: tuple[str, ...]) -> None:
    """Counts are not negative; the compared ones are parts of ``status.replicas``."""
    for key in (*keys, "observedGeneration", "collisionCount"):
        check_nonnegative(out, status, key, "status")
    for key in compared:
        if number(status, key) > number(status, "replicas"):
            out.append(causes.invalid(f"status.{key}", number(status, key), "cannot be greater than status.replicas"))
    if number(status, "availableReplicas") > number(status, "readyReplicas") and "availableReplicas" in compared:
        value = number(status, "availableReplicas")
        out.append(causes.invalid("status.availableReplicas", value, "cannot be greater than readyReplicas"))


_RC_COUNTS: Final = ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas")


def check_replication_controller_status(out: Out, new: Object, old: Object) -> None:
    check_replica_counts(out, part(new, "status"), _RC_COUNTS, _RC_COUNTS[1:])
