"""Fields that are computed when they are first read: the variables of a policy.

Enters: functions without arguments, by name.
Leaves: their values, each computed once.
Holds: an error is kept as well: who reads the field again gets it again.
Next: api.cel.access.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from edgekube.api.cel.errors import EvaluationError
from edgekube.api.cel.values import Struct


class LazyFields(Struct):
    __slots__ = ("_errors", "_makers", "_values", "type_name")

    def __init__(self, makers: Mapping[str, Callable[[], Any]], type_name: str = "kubernetes.variables") -> None:
        self.type_name = type_name
        self._makers: Final = dict(makers)
        self._values: Final[dict[str, Any]] = {}
        self._errors: Final[dict[str, EvaluationError]] = {}

    def get(self, name: str, default: Any = None) -> Any:
        if name in self._values:
            return self._values[name]
        if name in self._errors:
            raise self._errors[name]
        maker = self._makers.get(name)
        if maker is None:
            return default
        try:
            value = self._values[name] = maker()
        except EvaluationError as error:
            self._errors[name] = error
            raise
        return value

    def __contains__(self, name: object) -> bool:
        return name in self._makers

    def names(self) -> list[str]:
        return list(self._makers)
