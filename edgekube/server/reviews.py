"""Reviews: questions about identity and permission, answered and not stored.

Enters: the body of a POST to authentication.k8s.io or authorization.k8s.io.
Leaves: the same object with its status.
Holds: the answer is what the same request would meet (source: kubernetes.io, "Checking API access").
Next: admission.attributes.Authorizer, server.authenticator.Authenticator.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from edgekube.admission.attributes import Attributes, Authorizer
from edgekube.api import errors, times
from edgekube.api.errors import Cause, StatusError
from edgekube.api.objects import Object
from edgekube.api.verbs import UserInfo
from edgekube.server.authenticator import Authenticator


class RuleSource(Protocol):
    """What a user may do, as rules (admission.rbac.RoleIndex)."""

    def rules_for(self, user: UserInfo, namespace: str) -> Iterable[PolicyRule]: ...


class PolicyRule(Protocol):
    def as_object(self) -> Object: ...


def user_object(user: UserInfo) -> Object:
    shown: Object = {"username": user.name}
    if user.uid:
        shown["uid"] = user.uid
    if user.groups:
        shown["groups"] = list(user.groups)
    if user.extra:
        shown["extra"] = {key: list(values) for key, values in user.extra.items()}
    return shown


class Reviews:
    def __init__(self, authenticator: Authenticator, authorizer: Authorizer, rules: RuleSource | None) -> None:
        self._authenticator = authenticator
        self._authorizer = authorizer
        self._rules = rules

    async def answer(self, kind: str, obj: Object, user: UserInfo, namespace: str, now: float) -> Object:
        obj.setdefault("metadata", {})["creationTimestamp"] = None
        match kind:
            case "SelfSubjectReview":
                obj["metadata"]["creationTimestamp"] = times.rfc3339(now)
                obj["status"] = {"userInfo": user_object(user)}
            case "TokenReview":
                obj["status"] = await self._token(obj.get("spec") or {})
            case "SelfSubjectAccessReview":
                obj["status"] = self._access(kind, obj.get("spec") or {}, user)
            case "SubjectAccessReview":
                obj["status"] = self._access(kind, obj.get("spec") or {}, _subject(kind, obj.get("spec") or {}))
            case "LocalSubjectAccessReview":
                obj["status"] = self._local(kind, obj.get("spec") or {}, namespace)
            case "SelfSubjectRulesReview":
                obj["status"] = self._rules_of(obj.get("spec") or {}, user)
            case _:
                raise errors.method_not_allowed("", kind, "create")
        return obj

    async def _token(self, spec: Object) -> Object:
        token = spec.get("token")
        if not token:
            cause = Cause("FieldValueRequired", "Required value", "spec.token")
            raise errors.invalid("authentication.k8s.io", "TokenReview", "", [cause])
        try:
            user = await self._authenticator.authenticate(None, f"Bearer {token}")
        except StatusError as error:
            return {"user": {}, "error": error.message}
        if user is None:
            return {"user": {}}
        return {"authenticated": True, "user": user_object(user), "audiences": spec.get("audiences") or []}

    def _access(self, kind: str, spec: Object, user: UserInfo) -> Object:
        resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
        if (resource is None) == (path is None):
            why = 'Invalid value: "null": exactly one of nonResourceAttributes or resourceAttributes must be specified'
            cause = Cause("FieldValueInvalid", why, "spec.resourceAttributes")
            raise errors.invalid("authorization.k8s.io", kind, "", [cause])
        decision = self._authorizer.authorize(_attributes(user, resource, path))
        status: Object = {"allowed": decision.allowed}
        if decision.reason:
            status["reason"] = decision.reason
        return status

    def _local(self, kind: str, spec: Object, namespace: str) -> Object:
        if (spec.get("resourceAttributes") or {}).get("namespace") != namespace:
            why = f'Invalid value: "{(spec.get("resourceAttributes") or {}).get("namespace", "")}": must match metadata.namespace'
            cause = Cause("FieldValueInvalid", why, "spec.resourceAttributes.namespace")
            raise errors.invalid("authorization.k8s.io", kind, "", [cause])
        return self._access(kind, spec, _subject(kind, spec))

    def _rules_of(self, spec: Object, user: UserInfo) -> Object:
        namespace = spec.get("namespace") or ""
        if not namespace:
            raise errors.bad_request("no namespace on request")
        rules = [rule.as_object() for rule in self._rules.rules_for(user, namespace)] if self._rules is not None else []
        resource_rules = [rule for rule in rules if "nonResourceURLs" not in rule]
        path_rules = [{key: rule[key] for key in ("verbs", "nonResourceURLs")} for rule in rules if "nonResourceURLs" in rule]
        return {"resourceRules": resource_rules, "nonResourceRules": path_rules, "incomplete": self._rules is None}


def _subject(kind: str, spec: Object) -> UserInfo:
    if not spec.get("user") and not spec.get("groups"):
        cause = Cause("FieldValueInvalid", 'Invalid value: "": at least one of user or group must be specified', "spec.user")
        raise errors.invalid("authorization.k8s.io", kind, "", [cause])
    extra = {str(key): tuple(values) for key, values in (spec.get("extra") or {}).items()}
    return UserInfo(str(spec.get("user") or ""), str(spec.get("uid") or ""), tuple(spec.get("groups") or ()), extra)


def _attributes(user: UserInfo, resource: Object | None, path: Object | None) -> Attributes:
    if resource is None:
        path = path or {}
        return Attributes(user, str(path.get("verb") or ""), path=str(path.get("path") or ""))
    return Attributes(
        user,
        str(resource.get("verb") or ""),
        group=str(resource.get("group") or ""),
        version=str(resource.get("version") or ""),
        resource=str(resource.get("resource") or ""),
        subresource=str(resource.get("subresource") or ""),
        namespace=str(resource.get("namespace") or ""),
        name=str(resource.get("name") or ""),
    )
