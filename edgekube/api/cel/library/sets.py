"""Lists as sets: contains, equivalent, intersects; and maps that grow (transformMap).

Enters: lists; maps.
Leaves: answers; maps.
Source: cel-go ext/sets.go, ext/comprehensions.go, their documentation.
Next: api.cel.environment.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from edgekube.api.cel.access import checked_key, shown
from edgekube.api.cel.errors import EvaluationError, no_such_overload
from edgekube.api.cel.values import hashable

DECLARATIONS: Final = """
list_sets_contains_list sets.contains(list(T), list(T)) -> bool
list_sets_equivalent_list sets.equivalent(list(T), list(T)) -> bool
list_sets_intersects_list sets.intersects(list(T), list(T)) -> bool
@mapInsert_map_map cel.@mapInsert(map(K, V), map(K, V)) -> map(K, V)
@mapInsert_map_key_value cel.@mapInsert(map(K, V), K, V) -> map(K, V)
"""


def _sets(decide: Callable[[set[Any], set[Any]], bool]) -> Callable[[Any, Any], bool]:
    def function(left: Any, right: Any) -> bool:
        if not isinstance(left, list) or not isinstance(right, list):
            raise no_such_overload()
        return decide(set(map(hashable, left)), set(map(hashable, right)))

    return function


def _insert(target: Any, *what: Any) -> dict[Any, Any]:
    if not isinstance(target, dict) or (len(what) == 1 and not isinstance(what[0], dict)):
        raise no_such_overload()
    entries = what[0].items() if len(what) == 1 else [what]
    made = target  # the loop's own, which nobody else sees yet
    for key, value in entries:
        key = checked_key(key) if len(what) == 2 else key
        if key in made:
            raise EvaluationError(f"insert failed: key {shown(key)} already exists")
        made[key] = value
    return made


IMPLEMENTATIONS: Final[dict[str, Callable[..., Any]]] = {
    "sets.contains": _sets(lambda left, right: right <= left),
    "sets.equivalent": _sets(lambda left, right: left == right),
    "sets.intersects": _sets(lambda left, right: bool(left & right)),
    "cel.@mapInsert": _insert,
}
