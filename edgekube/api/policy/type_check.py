"""Do a policy's expressions fit the types of what it is about? What does not is a warning in its status, never a refusal.

Enters: a ValidatingAdmissionPolicy; what is served under a group, version and resource, and the types of kinds.
Leaves: expressionWarnings.
Holds: pure; nothing is checked where rules say ``*`` or speak of subresources alone.
Bound: limits.POLICY_TYPES_CHECKED_MAX kinds of one rule.
Source: k8s.io/apiserver pkg/admission/plugin/policy/validating/typechecking.go.
Next: controllers.validatingpolicies writes the status.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from edgekube import limits
from edgekube.api.cel.types import DYN, Type
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object
from edgekube.api.policy.compiler import COMPILATION_FAILED, Compiler


class Types(Struct, frozen=True):
    """What there is to check against."""

    by_resource: Callable[[str, str, str], Kind | None]
    by_kind: Callable[[str, str], Kind | None]
    #: None: it has no schema.
    type_of: Callable[[Kind], Type | None]


def warnings(policy: Object, types: Types) -> list[Object]:
    spec = policy["spec"]
    against = [(kind, found) for kind in _kinds(spec, types) if (found := types.type_of(kind)) is not None]
    params = _params_type(spec, types)
    said: list[Object] = []
    for i, validation in enumerate(spec.get("validations") or ()):
        for key in ("expression", "messageExpression"):
            text = validation.get(key)
            if not text:
                continue
            faults = [fault for kind, type_ in against if (fault := _fault(spec, text, kind, type_, params))]
            if faults:
                said.append({"fieldRef": f"spec.validations[{i}].{key}", "warning": "\n".join(faults)})
    return said


def _fault(spec: Object, text: str, kind: Kind, object_type: Type, params_type: Type) -> str:
    has_params = spec.get("paramKind") is not None
    compiler = Compiler(params=has_params, composed=True, object_type=object_type, params_type=params_type)
    for variable in spec.get("variables") or ():
        compiler.variable(variable["name"], variable["expression"])
    fault = compiler.anything(text).fault
    return f"{kind.group}/{kind.version}, Kind={kind.kind}: {fault.removeprefix(COMPILATION_FAILED)}\n" if fault else ""


def _kinds(spec: Object, types: Types) -> list[Kind]:
    """In the order of group, version and kind."""
    found: dict[Kind, None] = {}
    for rule in (spec.get("matchConstraints") or {}).get("resourceRules") or ():
        groups, versions = _plain(rule, "apiGroups"), _plain(rule, "apiVersions")
        resources = sorted(one for one in rule.get("resources") or () if not any(mark in one for mark in "*/"))
        of_rule = 0
        for group in groups:
            for version in versions:
                for resource in resources:
                    kind = types.by_resource(group, version, resource)
                    if kind is None:
                        continue
                    found[kind] = None
                    of_rule += 1
                    if of_rule == limits.POLICY_TYPES_CHECKED_MAX:
                        return _ordered(found)
    return _ordered(found)


def _ordered(kinds: dict[Kind, None]) -> list[Kind]:
    return sorted(kinds, key=lambda kind: (kind.group, kind.version, kind.kind))


def _plain(rule: dict[str, Any], key: str) -> list[str]:
    """None when one of them stands for any."""
    values = list(rule.get(key) or ())
    return [] if any("*" in value for value in values) else sorted(values)


def _params_type(spec: Object, types: Types) -> Type:
    named = spec.get("paramKind")
    kind = types.by_kind(str(named.get("apiVersion") or ""), str(named.get("kind") or "")) if named is not None else None
    return (types.type_of(kind) or DYN) if kind is not None else DYN
