"""Fields, indices and keys of values, with the errors that cel-go gives.

Enters: a value and a name, an index or a key.
Leaves: what is there; an optional where the expression asked with a question mark.
Holds: an index or key may be any number that is whole; a missing one is an error, or an empty optional.
Source: cel-go interpreter/attributes.go, common/types/list.go, map.go.
Next: api.cel.plan.
"""

from __future__ import annotations

from typing import Any, Final

from edgekube.api.cel.errors import EvaluationError, no_such_overload
from edgekube.api.cel.values import NONE, Optional, Struct, of_key, to_key

_MISSING: Final = object()


def field(value: Any, name: str) -> Any:
    """``value.name``"""
    if isinstance(value, (dict, Struct)):
        found = value.get(name, _MISSING)
        if found is _MISSING:
            raise EvaluationError(f"no such key: {name}")
        return found
    if isinstance(value, Optional):
        return optional_index(value, name)
    if isinstance(value, list):
        raise EvaluationError("unsupported index type 'string' in list")
    raise EvaluationError(f"no such key: {name}")


def has_field(value: Any, name: str) -> bool:
    """``has(value.name)``"""
    if isinstance(value, (dict, Struct)):
        return name in value
    if isinstance(value, Optional):
        return value.present and has_field(value.value, name)
    if isinstance(value, list):
        raise EvaluationError("unsupported index type 'string' in list")
    return False


def _get(value: Any, key: Any) -> Any:
    """What is at a key or index, or _MISSING."""
    if isinstance(value, dict):
        return value.get(to_key(key) if type(key) is bool else key, _MISSING) if _can_be_key(key) else _MISSING
    if isinstance(value, Struct):
        return value.get(key, _MISSING) if isinstance(key, str) else _MISSING
    if isinstance(value, list):
        position = _position(key)
        return value[position] if 0 <= position < len(value) else _MISSING
    return _MISSING


def _can_be_key(key: Any) -> bool:
    return isinstance(key, (str, int, float)) or type(key) is bool


def _position(key: Any) -> int:
    if isinstance(key, bool) or not isinstance(key, (int, float)):
        raise EvaluationError(f"unsupported index type '{_kind(key)}' in list")
    if isinstance(key, float) and not key.is_integer():
        raise EvaluationError(f"unsupported index value {key:g} in list")
    return int(key)


def _kind(value: Any) -> str:
    from edgekube.api.cel.values import type_name

    return type_name(value)


def index(value: Any, key: Any) -> Any:
    """``value[key]``"""
    if isinstance(value, Optional):
        return optional_index(value, key)
    found = _get(value, key)
    if found is not _MISSING:
        return found
    if isinstance(value, list):
        raise EvaluationError(f"index out of bounds: {int(key)}")
    raise EvaluationError(f"no such key: {shown(key)}")


def optional_index(value: Any, key: Any) -> Any:
    """``value[?key]`` and ``value.?key``"""
    if isinstance(value, Optional):
        if not value.present:
            return NONE
        value = value.value
    found = _get(value, key)
    return NONE if found is _MISSING else Optional(True, found)


def checked_key(key: Any) -> Any:
    """A key for a new map. EvaluationError when the value cannot be one."""
    if isinstance(key, (str, int, float)):
        return to_key(key)
    raise EvaluationError(f"unsupported key type: {_kind(key)}")


def shown(value: Any) -> str:
    """A key in a message."""
    value = of_key(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(int(value)) if isinstance(value, int) else str(value)


def contains(element: Any, container: Any) -> bool:
    """``element in container``"""
    if isinstance(container, dict):
        return _can_be_key(element) and (to_key(element) if type(element) is bool else element) in container
    if isinstance(container, Struct):
        return isinstance(element, str) and element in container
    if isinstance(container, list):
        if type(element) is str:
            return element in container
        from edgekube.api.cel.values import equal

        return any(equal(one, element) for one in container)
    raise no_such_overload()
