"""Which objects a policy is asked with: one param at a time, as its binding names them.

Enters: a policy's paramKind, a binding's paramRef, the namespace of the request, the kind that paramKind means here.
Leaves: a Lookup (what to read), or no lookup: the policy is asked once, with ``params`` null; then the objects that were read.
Holds: pure. A ConfigurationFault is judged by the policy's failurePolicy, in upstream's words (source: k8s.io/apiserver
pkg/admission/plugin/policy/generic, CollectParams).
Next: registry.policies reads.
"""

from __future__ import annotations

from msgspec import Struct

from edgekube.api.kinds import Kind
from edgekube.api.objects import Object
from edgekube.api.selectors.labels import LabelSelector, label_selector_of


class ConfigurationFault(Exception):
    """The policy or its binding asks for what is not there."""


class Lookup(Struct, frozen=True):
    kind: Kind
    #: "" for a cluster-scoped kind.
    namespace: str
    name: str
    #: Set when there is no name.
    selector: LabelSelector | None
    must_be_there: bool


def unknown_kind(param_kind: Object) -> ConfigurationFault:
    group, _, version = str(param_kind.get("apiVersion") or "").rpartition("/")
    shown = f"{group}/{version}, Kind={param_kind.get('kind') or ''}"
    return ConfigurationFault(f"failed to find resource referenced by paramKind: '{shown}'")


def lookup_of(param_kind: Object | None, param_ref: Object | None, kind: Kind | None, namespace: str) -> Lookup | None:
    """``kind``: what is served as paramKind, None when nothing is. ConfigurationFault when the two do not go together."""
    if param_kind is None:
        return None
    if kind is None:
        raise unknown_kind(param_kind)
    if param_ref is None:
        return None
    place = str(param_ref.get("namespace") or "")
    if not kind.namespaced and place:
        raise ConfigurationFault("paramRef.namespace must not be provided for a cluster-scoped `paramKind`")
    if kind.namespaced and not place:
        place = namespace
        if not place:
            raise ConfigurationFault("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources")
    name, selector = str(param_ref.get("name") or ""), param_ref.get("selector")
    if name and selector is not None:
        raise ConfigurationFault("paramRef.name and paramRef.selector are mutually exclusive")
    if not name and selector is None:
        raise ConfigurationFault("one of name or selector must be provided")
    must = param_ref.get("parameterNotFoundAction") == "Deny"
    return Lookup(kind, place, name, None if name else label_selector_of(selector), must)


def found(lookup: Lookup, objects: list[Object]) -> list[Object]:
    """The params that the policy is asked with; none: it is not asked. ConfigurationFault where there must be one."""
    if not objects and lookup.must_be_there:
        raise ConfigurationFault("no params found for policy binding with `Deny` parameterNotFoundAction")
    return objects
