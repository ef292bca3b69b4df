"""An OpenAPI document without what is there for people only.

Enters: a decoded document, of version 2 or 3.
Leaves: the same without descriptions, its parameters in place and in the order of their names.
Holds: pure. What clients derive code, checks and merge keys from is all left.
Next: tests.upstream.comparing.
"""

from __future__ import annotations

from typing import Any, Final

#: Lists whose order says nothing.
_SETS: Final = ("required", "enum", "consumes", "produces", "schemes", "tags")


def is_document(body: Any) -> bool:
    return isinstance(body, dict) and ("swagger" in body or "openapi" in body) and "paths" in body


def bare(document: dict[str, Any]) -> dict[str, Any]:
    shared = document.get("parameters") or {}
    made: dict[str, Any] = _bare({key: value for key, value in document.items() if key != "parameters"}, shared)
    made["paths"] = {path: _with_parameters(item) for path, item in made["paths"].items()}
    return made


def _with_parameters(item: dict[str, Any]) -> dict[str, Any]:
    """Parameters of a path are those of each of its operations."""
    general = item.get("parameters") or {}
    return {
        method: {**operation, "parameters": {**general, **(operation.get("parameters") or {})}}
        for method, operation in item.items()
        if method != "parameters"
    }


def _bare(value: Any, shared: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return [_bare(each, shared) for each in value]
    if not isinstance(value, dict):
        return value
    made: dict[str, Any] = {}
    whole = value.get("allOf")
    if isinstance(whole, list) and len(whole) == 1 and isinstance(whole[0], dict):  # how a reference gets neighbours
        value = {**{key: each for key, each in value.items() if key != "allOf"}, **whole[0]}
    for key, each in value.items():
        if key == "description" and isinstance(each, str):
            continue
        if key == "parameters" and isinstance(each, list):
            found = [_bare(_resolved(one, shared), shared) for one in each]
            made[key] = {f"{one.get('in')} {one.get('name')}": one for one in found}
        elif key in _SETS and isinstance(each, list):
            made[key] = sorted(each, key=repr)
        else:
            made[key] = _bare(each, shared)
    return made


def _resolved(parameter: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = shared.get(str(parameter.get("$ref", "")).removeprefix("#/parameters/"), parameter)
    return found
