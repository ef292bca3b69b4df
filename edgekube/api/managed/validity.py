"""May this be applied? What a configuration says must be declared, of the right kind, and said once.

Enters: the configuration that somebody applies, and its Site.
Leaves: what is wrong with it, in upstream's words: ``.spec.foo: field not declared in schema``.
Holds: pure; the configuration is not changed.
Bound: limits.STRICT_MESSAGES_MAX.
Source: sigs.k8s.io/structured-merge-diff typed/validate.go.
Next: api.managed.updater.
"""

from __future__ import annotations

from typing import Any

from edgekube import limits
from edgekube.api import go_text
from edgekube.api.managed import elements
from edgekube.api.managed.sites import DEDUCED, KEYED, MAP, OPAQUE, SET, Site


def faults(site: Site, value: Any) -> list[str]:
    found: list[str] = []
    _walk(site, value, "", found)
    return found


def told(found: list[str]) -> str:
    """Several of them in one text."""
    if len(found) == 1:
        return found[0]
    return "\n".join(["errors:", *(f"  {each}" for each in found)])


def _add(found: list[str], path: str, why: str) -> None:
    if len(found) < limits.STRICT_MESSAGES_MAX:
        found.append(f"{path}: {why}" if path else why)


def _walk(site: Site, value: Any, path: str, found: list[str]) -> None:
    relation = site.relation
    if value is None or relation in (DEDUCED, OPAQUE):
        return
    if relation == MAP:
        if type(value) is dict:
            _map(site, value, path, found)
        else:
            _add(found, path, f"expected map, got &{{{go_text.plain(value)}}}")
    elif relation in (KEYED, SET):
        if type(value) is list:
            _list(site, value, path, found)
        else:
            _add(found, path, f"expected list, got &{{{go_text.plain(value)}}}")
    else:
        _scalar(site, value, path, found)


def _map(site: Site, value: dict[str, Any], path: str, found: list[str]) -> None:
    for key, item in value.items():
        inner = site.field(key)
        if inner is None:
            _add(found, f"{path}.{key}", "field not declared in schema")
            return
        if item is not None:
            _walk(inner, item, f"{path}.{key}", found)


def _list(site: Site, value: list[Any], path: str, found: list[str]) -> None:
    seen: set[str] = set()
    for index, item in enumerate(value):
        if site.atomic:
            step = f"{elements.INDEX}{index}"
        else:
            try:
                step = site.step_of(item)
            except ValueError as error:
                _add(found, path, f"element {index}: {error}")
                return
            if step in seen:
                _add(found, path, f"duplicate entries for key {elements.shown(step)}")
            seen.add(step)
        _walk(site.items, item, path + elements.shown(step), found)


def _scalar(site: Site, value: Any, path: str, found: list[str]) -> None:
    node = site.node
    is_number = type(value) in (int, float)
    match node.type:
        case "integer" | "number":
            if not is_number:
                _add(found, path, f"expected numeric (int or float), got {go_text.type_of(value)}")
        case "boolean":
            if type(value) is not bool:
                _add(found, path, f"expected boolean, got &{{{go_text.plain(value)}}}")
        case "string" if node.format in ("", "byte"):
            if type(value) is not str:
                _add(found, path, f"expected string, got &value.valueUnstructured{{Value:{go_text.syntax(value)}}}")
        case _:
            if type(value) not in (int, float, str, bool):
                _add(found, path, f"expected any scalar, got &{{{go_text.plain(value)}}}")
