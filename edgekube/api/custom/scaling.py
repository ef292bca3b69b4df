"""The scale of a custom object: where its replicas and its selector are.

Enters: the three paths of subresources.scale, and an object.
Leaves: an autoscaling/v1 Scale, the object with other replicas, or causes for what is not a number.
Holds: a path names fields and nothing else (``.spec.replicas``); a missing field reads as 0 or "".
Source: kubernetes.io, "CustomResourceDefinitions" (scale subresource); apiextensions pkg/registry/customresource.
Next: registry.subresources.scale.
"""

from __future__ import annotations

from typing import Any, Final

from edgekube.api.errors import Cause
from edgekube.api.objects import Object
from edgekube.api.validation import causes

#: specReplicasPath, statusReplicasPath, labelSelectorPath ("" for none).
Paths = tuple[str, str, str]

_REPLICAS_MAX: Final = 2**31 - 1


def at(obj: Object, path: str) -> Any:
    """The value at ``.spec.replicas``; None when a step is missing. ValueError when one is no object."""
    value: Any = obj
    steps = path.removeprefix(".").split(".")
    for index, step in enumerate(steps):
        if not isinstance(value, dict):
            where = ".".join(steps[:index])
            raise ValueError(
                f".{where} accessor error: {value} is of the type {_go_type(value)}, expected map[string]interface{{}}"
            )
        if step not in value:
            return None
        value = value[step]
    return value


def put(obj: Object, path: str, value: Any) -> None:
    """ValueError when a step is no object."""
    *steps, last = path.removeprefix(".").split(".")
    for step in steps:
        below = obj.setdefault(step, {})
        if not isinstance(below, dict):
            raise ValueError(f"value cannot be set because .{step} is not a map[string]interface{{}}")
        obj = below
    obj[last] = value


def _go_type(value: Any) -> str:
    if value is None:
        return "<nil>"
    if isinstance(value, list):
        return "[]interface {}"
    return {bool: "bool", str: "string", int: "int64", float: "float64"}.get(type(value), "map[string]interface {}")


def _number(obj: Object, path: str) -> tuple[int, str]:
    """The number, and what is wrong with it."""
    try:
        value = at(obj, path)
    except ValueError as error:
        return 0, str(error)
    if value is None:
        return 0, ""
    if type(value) is not int:
        return 0, f"{path} accessor error: {value} is of the type {_go_type(value)}, expected int64"
    if value < 0:
        return value, "should be a non-negative integer"
    return value, f"should be less than or equal to {_REPLICAS_MAX}" if value > _REPLICAS_MAX else ""


def check(paths: Paths, obj: Object, *, status_only: bool) -> list[Cause]:
    out: list[Cause] = []
    for path in (paths[1],) if status_only else paths[:2]:
        value, wrong = _number(obj, path)
        if wrong:
            out.append(causes.invalid(path, value, wrong))
    if paths[2]:
        try:
            selector = at(obj, paths[2])
        except ValueError as error:
            out.append(causes.invalid(paths[2], "", str(error)))
        else:
            if selector is not None and not isinstance(selector, str):
                wrong = f"{paths[2]} accessor error: {selector} is of the type {_go_type(selector)}, expected string"
                out.append(causes.invalid(paths[2], "", wrong))
    return out


def numbers(paths: Paths, obj: Object) -> tuple[int | None, int, str]:
    """Wanted replicas (None: the object does not say), those that there are, and the selector."""
    wanted, there, selector = _read(obj, paths[0]), _read(obj, paths[1]), _read(obj, paths[2]) if paths[2] else None
    return (
        wanted if type(wanted) is int else None,
        there if type(there) is int else 0,
        selector if isinstance(selector, str) else "",
    )


def _read(obj: Object, path: str) -> Any:
    try:
        return at(obj, path)
    except ValueError:
        return None
