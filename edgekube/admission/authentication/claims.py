"""Whom the claims of a verified token name.

Enters: a provider of the configuration, the claims.
Leaves: a user; ClaimsRefused says why there is none, for the log.
Holds: pure. No user is named as a node, a service account or a part of the cluster, whatever the expressions say; of
groups whoever writes the configuration decides. Numbers are doubles to expressions, as upstream's decoder makes them.
Source: k8s.io/apiserver plugin/pkg/authenticator/token/oidc.
Next: server.oidc asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from edgekube.admission.authentication.configuration import Jwt, Mapped, Rule
from edgekube.api.verbs import UserInfo

if TYPE_CHECKING:
    from edgekube.api.cel import Program

AUTHENTICATED: Final = "system:authenticated"
CREDENTIAL_ID: Final = "authentication.kubernetes.io/credential-id"
#: Nodes, service accounts and the cluster's own parts: no provider speaks for these.
RESERVED: Final = "system:"
_LIST_WANTED: Final = "expression must return a string or a list of strings"


class ClaimsRefused(Exception):
    """The token is good, and its claims are not."""


def user_of(provider: Jwt, claims: Mapping[str, Any]) -> UserInfo:
    """ClaimsRefused."""
    values = {"claims": _as_double(claims)} if _asks(provider) else {}
    name = _username(provider.username, claims, values)
    if name.startswith(RESERVED):
        raise ClaimsRefused(f'users of providers may not be named "{RESERVED}…"')
    groups = _groups(provider.groups, claims, values)
    uid = _uid(provider.uid, claims, values)
    extra = _extra(provider, claims, values)
    for rule in provider.claim_rules:
        _keep(rule, claims, values)
    if provider.user_rules:
        shown = {"username": name, "uid": uid, "groups": list(groups), "extra": {key: list(each) for key, each in extra.items()}}
        for rule in provider.user_rules:
            _keep(rule, claims, {"user": shown})
    return UserInfo(name, uid, (*groups, AUTHENTICATED), extra)


def _asks(provider: Jwt) -> bool:
    programs = [each.program for each in (provider.username, provider.groups, provider.uid)]
    programs += [rule.program for rule in provider.claim_rules]
    return bool(provider.extra) or any(program is not None for program in programs)


def _as_double(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _as_double(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_as_double(each) for each in value]
    return float(value) if type(value) is int else value


def _evaluated(program: Program, values: Mapping[str, Any]) -> Any:
    from edgekube.api import cel

    try:
        return program.evaluate(values)
    except (cel.EvaluationError, cel.CostExceeded) as error:
        raise ClaimsRefused(f"expression '{program.text}' resulted in error: {error}") from None


def _username(mapped: Mapped, claims: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    if mapped.program is not None:
        name = _evaluated(mapped.program, values)
        if type(name) is not str:
            raise ClaimsRefused("username claim expression must return a string")
        if not name:
            raise ClaimsRefused("empty username via CEL expression is not allowed")
        return name
    name = claims.get(mapped.claim)
    if type(name) is not str or not name:
        raise ClaimsRefused(f'the username claim "{mapped.claim}" is no text')
    if mapped.claim == "email" and claims.get("email_verified", True) is not True:
        raise ClaimsRefused("email not verified")
    return f"{mapped.prefix}{name}"


def _groups(mapped: Mapped, claims: Mapping[str, Any], values: Mapping[str, Any]) -> tuple[str, ...]:
    if mapped.program is not None:
        return _listed(_evaluated(mapped.program, values))
    found = claims.get(mapped.claim) if mapped.claim else None
    if found is None:
        return ()
    listed = [found] if type(found) is str else found
    if type(listed) is not list or not all(type(group) is str for group in listed):
        raise ClaimsRefused(f'the groups claim "{mapped.claim}" is neither a text nor a list of texts')
    return tuple(f"{mapped.prefix}{group}" for group in listed)


def _uid(mapped: Mapped, claims: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    if mapped.program is None and not mapped.claim:
        return ""
    uid = _evaluated(mapped.program, values) if mapped.program is not None else claims.get(mapped.claim)
    if type(uid) is not str:
        raise ClaimsRefused("the uid is no text")
    return uid


def _extra(provider: Jwt, claims: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    jti = claims.get("jti")
    extra: dict[str, tuple[str, ...]] = {CREDENTIAL_ID: (f"JTI={jti}",)} if type(jti) is str and jti else {}
    for key, program in provider.extra:
        if listed := _listed(_evaluated(program, values)):
            extra[key] = listed
    return extra


def _listed(value: Any) -> tuple[str, ...]:
    """A text or a list of texts; empty ones are not there."""
    if value is None:
        return ()
    listed = [value] if type(value) is str else value
    if type(listed) is not list or not all(type(each) is str for each in listed):
        raise ClaimsRefused(_LIST_WANTED)
    return tuple(filter(None, listed))


def _keep(rule: Rule, claims: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    if rule.program is None:
        if claims.get(rule.claim) != rule.required:
            raise ClaimsRefused(f"required claim {rule.claim} is not there, or has another value")
    elif _evaluated(rule.program, values) is not True:
        raise ClaimsRefused(f"validation expression '{rule.program.text}' failed: {rule.message}")
