"""The types against which policies are checked: of built-in kinds by their definitions, of custom ones by their schemas.

Enters: a ValidatingAdmissionPolicy.
Leaves: expressionWarnings.
Holds: types are made anew for each policy; nothing is kept. CEL is loaded with the first policy.
Next: api.policy.type_check; controllers.validatingpolicies calls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from edgekube.api import schemas
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object
from edgekube.registry.state import Registry

if TYPE_CHECKING:
    from edgekube.api.cel.types import Type


def checker(registry: Registry) -> Callable[[Object], list[Object]]:
    def check(policy: Object) -> list[Object]:
        from edgekube.api.policy.type_check import Types, warnings

        kinds = registry.kinds
        return warnings(policy, Types(kinds.by_resource, kinds.by_kind, lambda kind: _type_of(registry, kind)))

    return check


def _type_of(registry: Registry, kind: Kind) -> Type | None:
    from edgekube.api.cel.schema_types import object_type, type_of_node, type_of_schema
    from edgekube.api.cel.types import STRING

    if not kind.custom:
        return type_of_node(schemas.definition_of(kind), kind.kind) if schemas.name_of(kind.api_version, kind.kind) else None
    schema = registry.custom.schema_of(kind)
    if schema is None:
        return None
    declared = type_of_schema(schema, is_root=True, name=kind.kind).declared
    fields = {name: field.type for name, field in declared.fields.items()} if declared is not None else {}
    metadata = type_of_node(schemas.definition(schemas.OBJECT_META), schemas.OBJECT_META)
    return object_type(kind.kind, {**fields, "apiVersion": STRING, "kind": STRING, "metadata": metadata})
