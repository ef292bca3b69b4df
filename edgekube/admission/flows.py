"""Which flow a request belongs to: FlowSchemas as data, matched in the order of their precedence.

Enters: FlowSchema objects; the Attributes of a request.
Leaves: the first schema that matches, and what tells flows of one schema apart.
Holds: pure; schemas of equal precedence are tried by name.
Source: kubernetes.io, "API Priority and Fairness"; flowcontrol/v1 API reference; k8s.io/apiserver pkg/util/flowcontrol, rule.go.
Next: server.fairness.classifying.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from edgekube.admission.attributes import Attributes
from edgekube.api.objects import Object, metadata_of, name_of
from edgekube.api.verbs import UserInfo

ALL: Final = "*"
BY_USER: Final = "ByUser"
BY_NAMESPACE: Final = "ByNamespace"
_ACCOUNT: Final = "system:serviceaccount:"


class FlowSchema(Struct, frozen=True):
    name: str
    uid: str
    level: str
    precedence: int
    distinguisher: str  # "", ByUser or ByNamespace
    rules: tuple[Object, ...]


class Flow(Struct, frozen=True):
    """One of a schema's."""

    schema: FlowSchema
    distinguisher: str


def schema_of(obj: Object) -> FlowSchema:
    spec = obj.get("spec") or {}
    return FlowSchema(
        name_of(obj),
        str(metadata_of(obj).get("uid") or ""),
        str((spec.get("priorityLevelConfiguration") or {}).get("name") or ""),
        int(spec.get("matchingPrecedence") or 0),
        str((spec.get("distinguisherMethod") or {}).get("type") or ""),
        tuple(spec.get("rules") or ()),
    )


def in_order(schemas: Iterable[FlowSchema]) -> list[FlowSchema]:
    return sorted(schemas, key=lambda schema: (schema.precedence, schema.name))


def find(schemas: Sequence[FlowSchema], attributes: Attributes) -> FlowSchema | None:
    """``schemas`` in order."""
    return next((schema for schema in schemas if matches(schema, attributes)), None)


def flow_of(schema: FlowSchema, attributes: Attributes) -> str:
    """What tells this flow from others of the schema."""
    if schema.distinguisher == BY_USER:
        return attributes.user.name
    return attributes.namespace if schema.distinguisher == BY_NAMESPACE else ""


def matches(schema: FlowSchema, attributes: Attributes) -> bool:
    return any(_rule_matches(rule, attributes) for rule in schema.rules)


def _rule_matches(rule: Object, attributes: Attributes) -> bool:
    if not any(_is_subject(subject, attributes.user) for subject in rule.get("subjects") or ()):
        return False
    if attributes.resource:
        return any(_resource_matches(each, attributes) for each in rule.get("resourceRules") or ())
    return any(_path_matches(each, attributes) for each in rule.get("nonResourceRules") or ())


def _is_subject(subject: Object, user: UserInfo) -> bool:
    match subject.get("kind"):
        case "User":
            name = (subject.get("user") or {}).get("name")
            return name in (ALL, user.name)
        case "Group":
            name = (subject.get("group") or {}).get("name")
            return name == ALL or name in user.groups
        case "ServiceAccount":
            account = subject.get("serviceAccount") or {}
            if account.get("name") == ALL:
                return user.name.startswith(f"{_ACCOUNT}{account.get('namespace')}:")
            return user.name == f"{_ACCOUNT}{account.get('namespace')}:{account.get('name')}"
    return False


def _has(values: Sequence[str] | None, wanted: str) -> bool:
    return values is not None and (wanted in values or ALL in values)


def _resource_matches(rule: Object, attributes: Attributes) -> bool:
    resource = f"{attributes.resource}/{attributes.subresource}" if attributes.subresource else attributes.resource
    if not (_has(rule.get("verbs"), attributes.verb) and _has(rule.get("apiGroups"), attributes.group)):
        return False
    if not _has(rule.get("resources"), resource):
        return False
    if not attributes.namespace:
        return bool(rule.get("clusterScope"))
    return _has(rule.get("namespaces"), attributes.namespace)


def _path_matches(rule: Object, attributes: Attributes) -> bool:
    if not _has(rule.get("verbs"), attributes.verb):
        return False
    return any(
        url in (ALL, attributes.path) or (url.endswith("/*") and attributes.path.startswith(url[:-1]))
        for url in rule.get("nonResourceURLs") or ()
    )
