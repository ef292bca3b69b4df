"""Reviews: questions about identity and permission, answered and not stored.

Enters: the body of a POST to authentication.k8s.io or authorization.k8s.io.
Leaves: the same object with its status.
Holds: the answer is what the same request would meet (source: kubernetes.io, "Checking API access").
Next: admission.attributes.Authorizer, server.authenticator.Authenticator.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

from edgekube.admission.attributes import Attributes, Authorizer
from edgekube.admission.node_authorizer import node_name_of
from edgekube.api import errors, times
from edgekube.api.errors import StatusError
from edgekube.api.objects import Object
from edgekube.api.selectors.fields import pinned_fields
from edgekube.api.validation import reviews
from edgekube.api.verbs import UserInfo
from edgekube.server.authenticator import Authenticator


class RuleSource(Protocol):
    """What a user may do, as rules (admission.rbac.RoleIndex)."""

    def rules_for(self, user: UserInfo, namespace: str) -> Iterable[PolicyRule]: ...


#: What is told of a token that nobody knows.
_INVALID: Final = "invalid bearer token"


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
        if kind.endswith("AccessReview"):
            found = reviews.check_access_review(kind, obj, namespace)
            if found:
                raise errors.invalid("authorization.k8s.io", "", "", found)  # upstream names no kind here
        obj.setdefault("metadata", {}).pop("creationTimestamp", None)
        match kind:
            case "SelfSubjectReview":
                obj["metadata"]["creationTimestamp"] = times.rfc3339(now)
                obj["status"] = {"userInfo": user_object(user)}
            case "TokenReview":
                obj["status"] = await self._token(obj.get("spec") or {})
            case "SelfSubjectAccessReview":
                obj["status"] = self._access(obj.get("spec") or {}, user)
            case "SubjectAccessReview" | "LocalSubjectAccessReview":
                obj["status"] = self._access(obj.get("spec") or {}, _subject(obj.get("spec") or {}))
            case "SelfSubjectRulesReview":
                obj["status"] = self._rules_of(obj.get("spec") or {}, user)
            case _:
                raise errors.method_not_allowed("", kind, "create")
        return obj

    async def _token(self, spec: Object) -> Object:
        token = spec.get("token")
        if not token:
            raise errors.bad_request("token is required for TokenReview in authentication")
        audiences = tuple(str(audience) for audience in spec.get("audiences") or ())
        try:
            user, meant = await self._authenticator.review(str(token), audiences)
        except StatusError as error:
            return {"user": {}, "error": _INVALID if error.message == "Unauthorized" else error.message}
        return {"authenticated": True, "user": user_object(user), "audiences": list(meant)}

    def _access(self, spec: Object, user: UserInfo) -> Object:
        attributes = _attributes(user, spec.get("resourceAttributes"), spec.get("nonResourceAttributes"))
        decision = self._authorizer.authorize(attributes)
        status: Object = {"allowed": decision.allowed}
        if decision.reason:
            status["reason"] = decision.reason
        return status

    def _rules_of(self, spec: Object, user: UserInfo) -> Object:
        namespace = spec.get("namespace") or ""
        if not namespace:
            raise errors.bad_request("no namespace on request")
        rules = [rule.as_object() for rule in self._rules.rules_for(user, namespace)] if self._rules is not None else []
        resource_rules = [rule for rule in rules if "nonResourceURLs" not in rule]
        path_rules = [{key: rule[key] for key in ("verbs", "nonResourceURLs")} for rule in rules if "nonResourceURLs" in rule]
        status: Object = {"resourceRules": resource_rules, "nonResourceRules": path_rules, "incomplete": self._rules is None}
        if node_name_of(user) is not None:  # what the pods on it name cannot be told as rules
            status |= {"incomplete": True, "evaluationError": "node authorizer does not support user rule resolution"}
        return status


def _subject(spec: Object) -> UserInfo:
    extra = {str(key).lower(): tuple(values) for key, values in (spec.get("extra") or {}).items()}
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
        fields=_pinned(resource.get("fieldSelector") or {}),
    )


def _pinned(selector: Object) -> tuple[tuple[str, str], ...]:
    """As api.selectors.fields.pinned_fields, from either form that a review may use."""
    if selector.get("rawSelector"):
        return pinned_fields(str(selector["rawSelector"]))
    return tuple(
        (str(requirement.get("key")), str(requirement["values"][0]))
        for requirement in selector.get("requirements") or ()
        if requirement.get("operator") == "In" and len(requirement.get("values") or ()) == 1
    )
