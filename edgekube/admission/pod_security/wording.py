"""How a check says what it found: lists of names, and one or many of them.

Enters: names.
Leaves: text, as upstream writes it.
Holds: pure.
Next: admission.pod_security.baseline, admission.pod_security.restricted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from edgekube.api.objects import Object


class Finding(NamedTuple):
    """What a check forbids: ``reason`` in short, ``detail`` with the names."""

    reason: str
    detail: str


#: From a pod's metadata and spec; None: nothing to object to.
Judge = Callable[[Object, Object], "Finding | None"]


def quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def one_or_many(count: int, one: str, many: str = "") -> str:
    return one if count == 1 else many or f"{one}s"


def named(noun: str, names: Sequence[str]) -> str:
    """``container "a"``, ``containers "a", "b"``."""
    return f"{one_or_many(len(names), noun)} {quoted(names)}"


def containers_of(spec: Object) -> Iterator[Object]:
    """Init containers, containers and ephemeral ones: in each the same is looked at."""
    for group in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(group) or ()


def name_in(container: Object) -> str:
    return str(container.get("name") or "")


def security_of(part: Object) -> Object:
    """securityContext of a pod's spec or of a container."""
    found: Object = part.get("securityContext") or {}
    return found


def setting(part: Object, *path: str) -> Any:
    """A value below securityContext; None where anything on the way is not set."""
    value: Any = security_of(part)
    for key in path:
        value = (value or {}).get(key)
    return value


def setters(spec: Object, is_bad: Callable[[Object], bool]) -> list[str]:
    """Who sets a bad value: ``pod``, and ``container "a"``. Empty: nobody."""
    found = ["pod"] if is_bad(spec) else []
    containers = [name_in(each) for each in containers_of(spec) if is_bad(each)]
    if containers:
        found.append(named("container", containers))
    return found
