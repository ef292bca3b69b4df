"""Who writes a policy or a binding must be able to read the params that it brings into play.

Enters: a policy or binding as it would be and as it is; who writes it.
Leaves: nothing, or StatusError Invalid: Forbidden at spec.paramKind or spec.paramRef.
Holds: asked after everything else is right. What leaves the reference as it was may be written; system:masters and this process
may write everything.
Source: k8s.io/kubernetes pkg/registry/admissionregistration/*/authz.go.
Next: registry.create, registry.replace.
"""

from __future__ import annotations

from typing import Final

import orjson

from edgekube.admission.attributes import Attributes
from edgekube.admission.rbac import MASTERS
from edgekube.api import errors
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object, name_of
from edgekube.api.validation import causes
from edgekube.api.verbs import UserInfo
from edgekube.registry.context import Context
from edgekube.registry.standing import MUTATING_BINDINGS, MUTATING_POLICIES, VALIDATING_BINDINGS, VALIDATING_POLICIES
from edgekube.registry.state import Registry

_POLICIES: Final = {VALIDATING_POLICIES, MUTATING_POLICIES}
_BINDINGS: Final = {VALIDATING_BINDINGS: VALIDATING_POLICIES, MUTATING_BINDINGS: MUTATING_POLICIES}


def may_refer(registry: Registry, kind: Kind, new: Object, old: Object | None, context: Context) -> None:
    if kind.resource in _POLICIES:
        key = "paramKind"
    elif kind.resource in _BINDINGS:
        key = "paramRef"
    else:
        return
    if registry.authorizer is None or context.trusted or MASTERS in context.user.groups:
        return
    spec, before = new["spec"], (old or {}).get("spec") or {}
    if spec.get(key) is None or (spec[key] == before.get(key) and spec.get("policyName") == before.get("policyName")):
        return
    why = _policy(registry, spec, context.user) if key == "paramKind" else _binding(registry, kind, spec, context.user)
    if why:
        raise errors.invalid(kind.group, kind.kind, name_of(new), [causes.forbidden(f"spec.{key}", why)])


def _allows(registry: Registry, user: UserInfo, verb: str, place: tuple[str, str, str], namespace: str, name: str) -> bool:
    group, version, resource = place
    asked = Attributes(user, verb, group=group, version=version, resource=resource, namespace=namespace, name=name)
    return registry.authorizer is not None and registry.authorizer.authorize(asked).allowed


def _place(registry: Registry, named: Object | None) -> tuple[tuple[str, str, str], bool]:
    """Group, version and resource, ``*`` for what cannot be known; and whether the kind is served."""
    if named is None:
        return ("*", "*", "*"), False
    api_version = str(named.get("apiVersion") or "")
    group, _, version = api_version.rpartition("/")
    kind = registry.kinds.by_kind(api_version, str(named.get("kind") or ""))
    return (group, version, kind.plural if kind is not None else "*"), kind is not None


def _policy(registry: Registry, spec: Object, user: UserInfo) -> str:
    named = spec["paramKind"]
    place, _ = _place(registry, named)
    if _allows(registry, user, "get", place, "*", "*"):
        return ""
    which = f"kind={named.get('kind') or ''}, apiVersion={named.get('apiVersion') or ''}"
    return f'user {_shown(user)} must have "get" permission on all objects of the referenced paramKind ({which})'


def _binding(registry: Registry, kind: Kind, spec: Object, user: UserInfo) -> str:
    raw = registry.standing.get(_BINDINGS[kind.resource], str(spec.get("policyName") or ""))
    named: Object | None = orjson.loads(raw)["spec"].get("paramKind") if raw is not None else None
    place, served = _place(registry, named)
    reference = spec["paramRef"]
    name = str(reference.get("name") or "")
    verb = "get" if name else "list"
    if _allows(registry, user, verb, place, str(reference.get("namespace") or ""), name):
        return ""
    lacks = f'and user {_shown(user)} does not have "{verb}" permission for all groups, versions and resources'
    if raw is None:
        return f"unable to get policy {spec.get('policyName')} to determine minimum required permissions {lacks}"
    if named is not None and not served:
        shown = f"&ParamKind{{APIVersion:{named.get('apiVersion')},Kind:{named.get('kind')},}}"
        return f"unable to resolve paramKind {shown} to determine minimum required permissions {lacks}"
    return f'user {_shown(user)} does not have "{verb}" permission on the object referenced by paramRef'


def _shown(user: UserInfo) -> str:
    """As Go prints it."""
    extra = " ".join(f"{key}:[{' '.join(values)}]" for key, values in sorted(user.extra.items()))
    return f"&{{{user.name} {user.uid} [{' '.join(user.groups)}] map[{extra}]}}"
