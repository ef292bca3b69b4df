"""What the audit log tells of a request: an audit policy, and what it says of one.

Enters: an audit.k8s.io/v1 Policy, as a person wrote it; who asks what.
Leaves: a level, and which stages are left out.
Holds: pure; the first rule that fits decides, and what fits none is not told of. A policy with a mistake is refused as a whole,
with the field's name.
Source: kubernetes.io, "Auditing"; k8s.io/apiserver pkg/audit/policy.
Next: server.auditing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from msgspec import Struct

NONE: Final = "None"
METADATA: Final = "Metadata"
REQUEST: Final = "Request"
REQUEST_RESPONSE: Final = "RequestResponse"
LEVELS: Final = (NONE, METADATA, REQUEST, REQUEST_RESPONSE)

RECEIVED: Final = "RequestReceived"
STARTED: Final = "ResponseStarted"
COMPLETE: Final = "ResponseComplete"
PANIC: Final = "Panic"
#: What mutating webhooks made of an object: told from level Request on.
PATCH_ANNOTATIONS: Final = "patch.webhook.admission.k8s.io/"
STAGES: Final = (RECEIVED, STARTED, COMPLETE, PANIC)

_VERSION: Final = "audit.k8s.io/v1"
_POLICY_FIELDS: Final = frozenset({"apiVersion", "kind", "metadata", "omitManagedFields", "omitStages", "rules"})
_RULE_FIELDS: Final = frozenset({
    "level", "namespaces", "nonResourceURLs", "omitManagedFields", "omitStages", "resources", "users", "verbs",
    "userGroups",
})  # fmt: skip
_RESOURCE_FIELDS: Final = frozenset({"group", "resourceNames", "resources"})


class PolicyError(Exception):
    """What is wrong with the policy, for whoever wrote it."""


class Asked(Struct, frozen=True):
    """Who asks what. ``path``: of what is no resource."""

    user: str
    groups: tuple[str, ...]
    verb: str
    is_resource: bool
    path: str = ""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""


class Said(Struct, frozen=True):
    level: str
    omitted: frozenset[str]
    omit_managed_fields: bool = False


class _Resources(Struct, frozen=True):
    group: str
    resources: tuple[str, ...]
    names: tuple[str, ...]

    def fits(self, asked: Asked) -> bool:
        if self.group != asked.group:
            return False
        if not self.resources:
            return True
        if self.names and asked.name not in self.names:
            return False
        whole = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
        return any(
            each in (whole, "*")
            or (asked.subresource and each == f"*/{asked.subresource}")
            or each == f"{asked.resource}/*"
            for each in self.resources
        )  # fmt: skip


class _Rule(Struct, frozen=True):
    said: Said
    users: frozenset[str]
    groups: frozenset[str]
    verbs: frozenset[str]
    namespaces: frozenset[str] | None
    resources: tuple[_Resources, ...]
    paths: tuple[str, ...]

    def fits(self, asked: Asked) -> bool:
        if self.users and asked.user not in self.users:
            return False
        if self.groups and self.groups.isdisjoint(asked.groups):
            return False
        if self.verbs and asked.verb not in self.verbs:
            return False
        if self.namespaces or self.resources:
            if not asked.is_resource or (self.namespaces and asked.namespace not in self.namespaces):
                return False
            return not self.resources or any(each.fits(asked) for each in self.resources)
        if self.paths:
            return not asked.is_resource and any(_path_fits(pattern, asked.path) for pattern in self.paths)
        return True


def _path_fits(pattern: str, path: str) -> bool:
    return pattern in ("*", path) or (pattern.endswith("*") and path.startswith(pattern[:-1]))


class AuditPolicy:
    def __init__(self, rules: Iterable[_Rule], omitted: frozenset[str]) -> None:
        self._rules = tuple(rules)
        self._nothing = Said(NONE, omitted)

    def of(self, asked: Asked) -> Said:
        return next((rule.said for rule in self._rules if rule.fits(asked)), self._nothing)


def parse_policy(policy: Any) -> AuditPolicy:
    """PolicyError."""
    if not isinstance(policy, Mapping) or (policy.get("apiVersion"), policy.get("kind")) != (_VERSION, "Policy"):
        raise PolicyError(f"the file is no Policy of {_VERSION}")
    _known("", policy, _POLICY_FIELDS)
    omitted = _stages("omitStages", policy)
    managed = _flag("omitManagedFields", policy, default=False)
    rules = policy.get("rules")
    if not isinstance(rules, list) or not rules:
        raise PolicyError("rules: there must be at least one")
    return AuditPolicy([_rule(f"rules[{number}]", rule, omitted, managed) for number, rule in enumerate(rules)], omitted)


def _rule(at: str, rule: Any, omitted: frozenset[str], managed: bool) -> _Rule:
    if not isinstance(rule, Mapping):
        raise PolicyError(f"{at}: a rule is a mapping")
    _known(f"{at}.", rule, _RULE_FIELDS)
    level = rule.get("level")
    if level not in LEVELS:
        raise PolicyError(f"{at}.level: the levels are {', '.join(LEVELS)}")
    paths = _texts(f"{at}.nonResourceURLs", rule.get("nonResourceURLs"))
    for path in paths:
        if path != "*" and (not path.startswith("/") or "*" in path[:-1]):
            raise PolicyError(f"{at}.nonResourceURLs: {path!r} must begin with / and may have one *, as its last character")
    namespaces = _texts(f"{at}.namespaces", rule.get("namespaces"))
    given = rule.get("resources") or []
    if not isinstance(given, list):
        raise PolicyError(f"{at}.resources: expected a list")
    if paths and (namespaces or given):
        raise PolicyError(f"{at}.nonResourceURLs: a rule speaks of paths or of resources, not of both")
    return _Rule(
        Said(str(level), omitted | _stages(f"{at}.omitStages", rule), _flag(f"{at}.omitManagedFields", rule, default=managed)),
        frozenset(_texts(f"{at}.users", rule.get("users"))),
        frozenset(_texts(f"{at}.userGroups", rule.get("userGroups"))),
        frozenset(_texts(f"{at}.verbs", rule.get("verbs"))),
        frozenset(namespaces),
        tuple(_resources(f"{at}.resources[{number}]", each) for number, each in enumerate(given)),
        paths,
    )


def _resources(at: str, given: Any) -> _Resources:
    if not isinstance(given, Mapping):
        raise PolicyError(f"{at}: expected group, resources and resourceNames")
    _known(f"{at}.", given, _RESOURCE_FIELDS)
    group = given.get("group") or ""
    if not isinstance(group, str) or "/" in group:
        raise PolicyError(f"{at}.group: a group has no version, as in apps")
    resources, names = (
        _texts(f"{at}.resources", given.get("resources")),
        _texts(f"{at}.resourceNames", given.get("resourceNames")),
    )
    if names and not resources:
        raise PolicyError(f"{at}.resourceNames: names need resources")
    return _Resources(group, resources, names)


def _known(at: str, given: Mapping[str, Any], known: frozenset[str]) -> None:
    unknown = sorted(str(name) for name in given if name not in known)
    if unknown:
        raise PolicyError(f"{at}{unknown[0]}: there is no such field")


def _texts(at: str, value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise PolicyError(f"{at}: expected a list of strings")
    return tuple(value)


def _stages(at: str, given: Mapping[str, Any]) -> frozenset[str]:
    stages = _texts(at, given.get("omitStages"))
    if unknown := [stage for stage in stages if stage not in STAGES]:
        raise PolicyError(f"{at}: {unknown[0]!r} is no stage; the stages are {', '.join(STAGES)}")
    return frozenset(stages)


def _flag(at: str, given: Mapping[str, Any], *, default: bool) -> bool:
    value = given.get("omitManagedFields")
    if value is None:
        return default
    if not isinstance(value, bool):
        raise PolicyError(f"{at}: expected true or false")
    return value
