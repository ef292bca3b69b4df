"""Arguments of plugins in a KubeSchedulerConfiguration, held to upstream's bounds.

Enters: parts of the decoded document, with their path.
Leaves: the arguments of each plugin, or ConfigurationError.
Holds: what would do nothing here is refused by name.
Source: pkg/scheduler/apis/config/validation.
Next: scheduler.configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from edgekube.api.objects import Object
from edgekube.scheduler.plugins import nodes, pod_affinity, room, spread

API_VERSION: Final = "kubescheduler.config.k8s.io/v1"
STRATEGIES: Final = ("LeastAllocated", "MostAllocated", "RequestedToCapacityRatio")


class ConfigurationError(ValueError):
    """Where it is wrong, and why."""


def arguments_of(configs: Iterable[Any], path: str) -> dict[str, Object]:
    found: dict[str, Object] = {}
    for index, each in enumerate(configs):
        where = f"{path}[{index}]"
        check_keys(each, ("name", "args"), where)
        name = str(each.get("name") or "")
        if name not in _ARGUMENTS:
            raise ConfigurationError(f'{where}.name: "{name}" takes no arguments here; {", ".join(sorted(_ARGUMENTS))} do')
        if name in found:
            raise ConfigurationError(f'{where}: Duplicate value: "{name}"')
        arguments = dict(each.get("args") or {})
        for key, wanted in (("apiVersion", API_VERSION), ("kind", f"{name}Args")):
            if arguments.pop(key, wanted) != wanted:
                raise ConfigurationError(f"{where}.args.{key}: give {wanted}")
        check_keys(arguments, _ARGUMENTS[name], f"{where}.args")
        _CHECKS[name](arguments, f"{where}.args")
        found[name] = arguments
    return found


_ARGUMENTS: Final[Mapping[str, tuple[str, ...]]] = {
    nodes.AFFINITY: ("addedAffinity",),
    room.FIT: ("ignoredResources", "ignoredResourceGroups", "scoringStrategy"),
    room.BALANCED: ("resources",),
    spread.SPREAD: ("defaultConstraints", "defaultingType"),
    pod_affinity.POD_AFFINITY: ("hardPodAffinityWeight", "ignorePreferredTermsOfExistingPods"),
}


def _check_affinity(arguments: Object, path: str) -> None:
    keys = ("requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution")
    check_keys(arguments.get("addedAffinity") or {}, keys, f"{path}.addedAffinity")


def _check_fit(arguments: Object, path: str) -> None:
    for index, group in enumerate(list_of(arguments.get("ignoredResourceGroups"), f"{path}.ignoredResourceGroups")):
        if "/" in str(group):
            raise ConfigurationError(f"{path}.ignoredResourceGroups[{index}]: resource group name can't contain '/'")
    strategy = arguments.get("scoringStrategy")
    if strategy is None:
        return
    where = f"{path}.scoringStrategy"
    check_keys(strategy, ("type", "resources", "requestedToCapacityRatio"), where)
    kind = strategy.get("type") or STRATEGIES[0]
    if kind not in STRATEGIES:
        raise ConfigurationError(f'{where}.type: Unsupported value: "{kind}": supported values: {", ".join(STRATEGIES)}')
    _check_resources(strategy.get("resources"), f"{where}.resources", 100)
    ratio = strategy.get("requestedToCapacityRatio")
    if (kind == "RequestedToCapacityRatio") != (ratio is not None):
        word = "must be specified when" if ratio is None else "must be nil when type is not RequestedToCapacityRatio; here"
        raise ConfigurationError(f"{where}.requestedToCapacityRatio: {word} type is {kind}")
    if ratio is not None:
        _check_shape(
            list_of(ratio.get("shape"), f"{where}.requestedToCapacityRatio.shape"), f"{where}.requestedToCapacityRatio.shape"
        )


def _check_shape(shape: list[Any], path: str) -> None:
    if not shape:
        raise ConfigurationError(f"{path}: Required value: at least one point must be specified")
    before = -1
    for index, point in enumerate(shape):
        utilization = number_of(point.get("utilization"), f"{path}[{index}].utilization", 0, 100)
        number_of(point.get("score"), f"{path}[{index}].score", 0, 10)
        if utilization <= before:
            raise ConfigurationError(f"{path}[{index}].utilization: values must be sorted in increasing order")
        before = utilization


def _check_balanced(arguments: Object, path: str) -> None:
    _check_resources(arguments.get("resources"), f"{path}.resources", 1)


def _check_resources(resources: Any, path: str, weight_max: int) -> None:
    seen: set[str] = set()
    for index, each in enumerate(list_of(resources, path)):
        check_keys(each, ("name", "weight"), f"{path}[{index}]")
        name = str(each.get("name") or "")
        if not name:
            raise ConfigurationError(f"{path}[{index}].name: Required value")
        if name in seen:
            raise ConfigurationError(f'{path}[{index}].name: Duplicate value: "{name}"')
        seen.add(name)
        number_of(each.get("weight", 1), f"{path}[{index}].weight", 1, weight_max)


def _check_spread(arguments: Object, path: str) -> None:
    listed = list_of(arguments.get("defaultConstraints"), f"{path}.defaultConstraints")
    kind = arguments.get("defaultingType") or "System"
    if kind not in ("System", "List"):
        raise ConfigurationError(f'{path}.defaultingType: Unsupported value: "{kind}": supported values: "System", "List"')
    if kind == "System" and listed:
        raise ConfigurationError(f'{path}.defaultingType: Invalid value: "System": when .defaultConstraints are not empty')
    for index, each in enumerate(listed):
        where = f"{path}.defaultConstraints[{index}]"
        if each.get("labelSelector") is not None:
            raise ConfigurationError(
                f"{where}.labelSelector: constraint must not define a selector, as they deduced for each pod"
            )
        number_of(each.get("maxSkew", 0), f"{where}.maxSkew", 1, 2**31 - 1)
        if not each.get("topologyKey"):
            raise ConfigurationError(f"{where}.topologyKey: Required value: can not be empty")
        if each.get("whenUnsatisfiable") not in ("DoNotSchedule", "ScheduleAnyway"):
            raise ConfigurationError(f'{where}.whenUnsatisfiable: give "DoNotSchedule" or "ScheduleAnyway"')


def _check_pod_affinity(arguments: Object, path: str) -> None:
    number_of(arguments.get("hardPodAffinityWeight", 1), f"{path}.hardPodAffinityWeight", 0, 100)


_CHECKS: Final[Mapping[str, Callable[[Object, str], None]]] = {
    nodes.AFFINITY: _check_affinity,
    room.FIT: _check_fit,
    room.BALANCED: _check_balanced,
    spread.SPREAD: _check_spread,
    pod_affinity.POD_AFFINITY: _check_pod_affinity,
}


def check_keys(value: Any, allowed: tuple[str, ...], path: str) -> None:
    if not isinstance(value, dict):
        raise ConfigurationError(f"{path or 'the file'}: give a mapping")
    for key in value:
        if key not in allowed:
            where = f"{path}.{key}" if path else str(key)
            raise ConfigurationError(f"{where}: unknown here; there are {', '.join(allowed)}")


def list_of(value: Any, path: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise ConfigurationError(f"{path}: give a list")
    return value


def number_of(value: Any, path: str, low: int, high: int) -> int:
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ConfigurationError(f"{path}: Invalid value: {value}: not in valid range [{low}, {high}]")
    return value
