"""Parts of objects as a refusal shows them where upstream prints the structs it works with, not what clients sent.

Enters: a part as clients write it, and the fields of upstream's struct.
Leaves: what causes.shown() prints: Go's names, each field, null where nothing is.
Source: the internal types of k8s.io/kubernetes pkg/apis, which have no JSON names.
Next: api.validation.causes.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from edgekube.api.objects import Object


class Inner(Struct, frozen=True):
    """``fields``: Go's name, the name in JSON, and what stands there when nothing is given: a value, or an Inner."""

    fields: tuple[tuple[str, str, Any], ...]
    #: A pointer: null when it is missing.
    optional: bool = False
    #: A list of them.
    many: bool = False


def inner(value: Object | None, shape: Inner) -> Any:
    if value is None and shape.optional:
        return None
    return {name: _field((value or {}).get(key), missing) for name, key, missing in shape.fields}


def _field(value: Any, missing: Any) -> Any:
    if not isinstance(missing, Inner):
        return missing if value is None else value
    if missing.many:
        return None if value is None else [inner(each, missing) for each in value]
    return inner(value, missing)


def label_selector(selector: Object | None) -> Object | None:
    """metav1.LabelSelector has JSON names: what is empty is not there, but for a requirement's key and operator."""
    if selector is None:
        return None
    shown: Object = {}
    if selector.get("matchLabels"):
        shown["matchLabels"] = {key: value or "" for key, value in sorted(selector["matchLabels"].items())}
    if selector.get("matchExpressions"):
        shown["matchExpressions"] = [
            {"key": one.get("key") or "", "operator": one.get("operator") or ""}
            | ({"values": one["values"]} if one.get("values") else {})
            for one in selector["matchExpressions"]
        ]
    return shown


TOLERATION: Final = Inner((
    ("Key", "key", ""), ("Operator", "operator", ""), ("Value", "value", ""), ("Effect", "effect", ""),
    ("TolerationSeconds", "tolerationSeconds", None),
))  # fmt: skip
TAINT: Final = Inner((("Key", "key", ""), ("Value", "value", ""), ("Effect", "effect", ""), ("TimeAdded", "timeAdded", None)))
SERVICE_PORT: Final = Inner((
    ("Name", "name", ""), ("Protocol", "protocol", ""), ("AppProtocol", "appProtocol", None), ("Port", "port", 0),
    ("TargetPort", "targetPort", 0), ("NodePort", "nodePort", 0),
))  # fmt: skip
_ROLLING: Final = (("MaxUnavailable", "maxUnavailable", 0), ("MaxSurge", "maxSurge", 0))
ROLLING_STRATEGY: Final = Inner((("Type", "type", ""), ("RollingUpdate", "rollingUpdate", Inner(_ROLLING, optional=True))))
STATEFUL_ROLLING: Final = Inner((("Partition", "partition", 0), ("MaxUnavailable", "maxUnavailable", None)), optional=True)
STATEFUL_STRATEGY: Final = Inner((("Type", "type", ""), ("RollingUpdate", "rollingUpdate", STATEFUL_ROLLING)))
SECCOMP: Final = Inner((("Type", "type", ""), ("LocalhostProfile", "localhostProfile", None)))
_SCOPED: Final = (("ScopeName", "scopeName", ""), ("Operator", "operator", ""), ("Values", "values", None))
SCOPE_SELECTOR: Final = Inner((("MatchExpressions", "matchExpressions", Inner(_SCOPED, many=True)),))
_SUCCESS_RULE: Final = (("SucceededIndexes", "succeededIndexes", None), ("SucceededCount", "succeededCount", None))
SUCCESS_POLICY: Final = Inner((("Rules", "rules", Inner(_SUCCESS_RULE, many=True)),), optional=True)
DISTINGUISHER: Final = Inner((("Type", "type", ""),))
NODE_ADDRESS: Final = Inner((("Type", "type", ""), ("Address", "address", "")))
POD_CLAIM: Final = Inner((
    ("Name", "name", ""), ("ResourceClaimName", "resourceClaimName", None),
    ("ResourceClaimTemplateName", "resourceClaimTemplateName", None),
))  # fmt: skip
ROLE_REFERENCE: Final = Inner((("APIGroup", "apiGroup", ""), ("Kind", "kind", ""), ("Name", "name", "")))
PARENT_REFERENCE: Final = Inner(
    (("Group", "group", ""), ("Resource", "resource", ""), ("Namespace", "namespace", ""), ("Name", "name", "")), optional=True
)
_EXIT_CODES: Final = (("ContainerName", "containerName", None), ("Operator", "operator", ""), ("Values", "values", None))
_POD_CONDITION: Final = (("Type", "type", ""), ("Status", "status", ""))
_FAILURE_RULE: Final = (
    ("Action", "action", ""), ("OnExitCodes", "onExitCodes", Inner(_EXIT_CODES, optional=True)),
    ("OnPodConditions", "onPodConditions", Inner(_POD_CONDITION, many=True)),
)  # fmt: skip
FAILURE_POLICY: Final = Inner((("Rules", "rules", Inner(_FAILURE_RULE, many=True)),), optional=True)
_REQUIREMENT: Final = Inner((("Key", "key", ""), ("Operator", "operator", ""), ("Values", "values", None)), many=True)
_TERM: Final = (("MatchExpressions", "matchExpressions", _REQUIREMENT), ("MatchFields", "matchFields", _REQUIREMENT))
NODE_TERM: Final = Inner(_TERM)
_NODE_SELECTOR: Final = Inner((("NodeSelectorTerms", "nodeSelectorTerms", Inner(_TERM, many=True)),), optional=True)
VOLUME_AFFINITY: Final = Inner((("Required", "required", _NODE_SELECTOR),), optional=True)
_BUDGET: Final = (
    ("MinAvailable", "minAvailable", None), ("Selector", "selector", None), ("MaxUnavailable", "maxUnavailable", None),
    ("UnhealthyPodEvictionPolicy", "unhealthyPodEvictionPolicy", None),
)  # fmt: skip
BUDGET: Final = Inner(_BUDGET)
OBJECT_REFERENCE: Final = Inner((
    ("Kind", "kind", ""), ("Namespace", "namespace", ""), ("Name", "name", ""), ("UID", "uid", ""),
    ("APIVersion", "apiVersion", ""), ("ResourceVersion", "resourceVersion", ""), ("FieldPath", "fieldPath", ""),
))  # fmt: skip
_ATTACHED: Final = Inner((
    ("PersistentVolumeName", "persistentVolumeName", None), ("InlineVolumeSpec", "inlineVolumeSpec", None),
))  # fmt: skip
_EXACTLY: Final = (
    ("DeviceClassName", "deviceClassName", ""), ("Selectors", "selectors", None), ("AllocationMode", "allocationMode", ""),
    ("Count", "count", 0), ("AdminAccess", "adminAccess", None), ("Tolerations", "tolerations", None),
    ("Capacity", "capacity", None),
)  # fmt: skip
_DEVICE_REQUEST: Final = (
    ("Name", "name", ""), ("Exactly", "exactly", Inner(_EXACTLY, optional=True)), ("FirstAvailable", "firstAvailable", None),
)  # fmt: skip
_DEVICE_CLAIM: Final = (
    ("Requests", "requests", Inner(_DEVICE_REQUEST, many=True)), ("Constraints", "constraints", None), ("Config", "config", None),
)  # fmt: skip
CLAIM: Final = Inner((("Devices", "devices", Inner(_DEVICE_CLAIM)),))
CLAIM_TEMPLATE: Final = Inner((("Spec", "spec", CLAIM),))
ATTACHMENT: Final = Inner((("Attacher", "attacher", ""), ("Source", "source", _ATTACHED), ("NodeName", "nodeName", "")))
_CAPABILITIES: Final = Inner((("Add", "add", None), ("Drop", "drop", None)), optional=True)
_SELINUX: Final = Inner((("User", "user", ""), ("Role", "role", ""), ("Type", "type", ""), ("Level", "level", "")), optional=True)
_WINDOWS: Final = Inner((
    ("GMSACredentialSpecName", "gmsaCredentialSpecName", None), ("GMSACredentialSpec", "gmsaCredentialSpec", None),
    ("RunAsUserName", "runAsUserName", None), ("HostProcess", "hostProcess", None),
), optional=True)  # fmt: skip
_PROFILE: Final = Inner((("Type", "type", ""), ("LocalhostProfile", "localhostProfile", None)), optional=True)
SECURITY_CONTEXT: Final = Inner((
    ("Capabilities", "capabilities", _CAPABILITIES), ("Privileged", "privileged", None),
    ("SELinuxOptions", "seLinuxOptions", _SELINUX), ("WindowsOptions", "windowsOptions", _WINDOWS),
    ("RunAsUser", "runAsUser", None), ("RunAsGroup", "runAsGroup", None), ("RunAsNonRoot", "runAsNonRoot", None),
    ("ReadOnlyRootFilesystem", "readOnlyRootFilesystem", None),
    ("AllowPrivilegeEscalation", "allowPrivilegeEscalation", None), ("ProcMount", "procMount", None),
    ("SeccompProfile", "seccompProfile", _PROFILE), ("AppArmorProfile", "appArmorProfile", _PROFILE),
))  # fmt: skip
POD_IP: Final = Inner((("IP", "ip", ""),))
CUSTOM_VERSION: Final = Inner((
    ("Name", "name", ""), ("Served", "served", False), ("Storage", "storage", False), ("Deprecated", "deprecated", False),
    ("DeprecationWarning", "deprecationWarning", None), ("Schema", "", None), ("Subresources", "", None),
    ("AdditionalPrinterColumns", "", None), ("SelectableFields", "", None),
))  # fmt: skip
