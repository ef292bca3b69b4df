"""Profiles as people write them: a KubeSchedulerConfiguration of kubescheduler.config.k8s.io/v1.

Enters: the decoded document.
Leaves: Profile values, one for each schedulerName.
Holds: a field, a plugin or an argument that would do nothing here is refused by name, so that nobody believes it; values are held
to upstream's bounds.
Source: kubernetes.io/docs/reference/config-api/kube-scheduler-config.v1.
Next: scheduler.profiles, daemon.scheduling.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct, field
from msgspec.structs import replace

from edgekube.api.objects import Object
from edgekube.scheduler.arguments import API_VERSION, STRATEGIES, ConfigurationError, arguments_of, check_keys, list_of, number_of
from edgekube.scheduler.plugin import Filter, LocalScore, WideScore
from edgekube.scheduler.plugins import edge, nodes, pod_affinity, room, spread
from edgekube.scheduler.pods import SCHEDULER_NAME
from edgekube.scheduler.profiles import Profile, default_filters, default_scores

KIND: Final = "KubeSchedulerConfiguration"
PREEMPTION: Final = "DefaultPreemption"

#: Parts of upstream's that are always there and cannot be left out.
_FIXED: Final = ("SchedulingGates", "PrioritySort", "DefaultBinder")
_FILTERS: Final[Mapping[str, Filter]] = {each.name: each for each in default_filters()}
#: With upstream's weights; 0: only where a profile names it.
_SCORES: Final[Mapping[str, LocalScore | WideScore]] = {
    each.name: each for each in (*default_scores(), edge.cooler_nodes(0), edge.better_power(0), edge.better_links(0))
}
_WEIGHT_MAX: Final = 100


def profiles_of(document: Any) -> tuple[Profile, ...]:
    check_keys(document, ("apiVersion", "kind", "profiles"), "")
    if document.get("apiVersion") != API_VERSION or document.get("kind") != KIND:
        raise ConfigurationError(f"give apiVersion: {API_VERSION} and kind: {KIND}")
    found = []
    names: set[str] = set()
    listed = list_of(document.get("profiles"), "profiles") or [{}]
    for index, each in enumerate(listed):
        path = f"profiles[{index}]"
        check_keys(each, ("schedulerName", "plugins", "pluginConfig"), path)
        name = each.get("schedulerName") or (SCHEDULER_NAME if len(listed) == 1 else "")
        if not name:
            raise ConfigurationError(f"{path}.schedulerName: Required value")
        if name in names:
            raise ConfigurationError(f'{path}.schedulerName: Duplicate value: "{name}"')
        names.add(name)
        found.append(_profile(str(name), each, path))
    return tuple(found)


# --- which rules


class _Enabled(Struct):
    filters: dict[str, None] = field(default_factory=lambda: dict.fromkeys(_FILTERS))
    weights: dict[str, int] = field(default_factory=lambda: {name: each.weight for name, each in _SCORES.items() if each.weight})
    preempts: bool = True


def _profile(name: str, profile: Object, path: str) -> Profile:
    enabled = _Enabled()
    plugins = profile.get("plugins") or {}
    check_keys(plugins, ("multiPoint", "filter", "score", "postFilter", "preFilter", "preScore"), f"{path}.plugins")
    for point in ("multiPoint", "preFilter", "filter", "postFilter", "preScore", "score"):
        if plugins.get(point):
            _apply(enabled, point, plugins[point], f"{path}.plugins.{point}")
    arguments = arguments_of(list_of(profile.get("pluginConfig"), f"{path}.pluginConfig"), f"{path}.pluginConfig")
    defaults = _spread_defaults(arguments)
    return Profile(
        name=name,
        filters=tuple(_filter(each, arguments, defaults) for each in _FILTERS if each in enabled.filters),
        scores=tuple(_score(each, weight, arguments, defaults) for each, weight in enabled.weights.items()),
        preempts=enabled.preempts,
        spread_defaults=defaults,
    )


def _apply(enabled: _Enabled, point: str, change: Any, path: str) -> None:
    check_keys(change, ("enabled", "disabled"), path)
    filters = point in ("multiPoint", "filter", "preFilter")
    scores = point in ("multiPoint", "score", "preScore")
    evicts = point in ("multiPoint", "postFilter")
    for index, each in enumerate(list_of(change.get("disabled"), f"{path}.disabled")):
        name = str(each.get("name") or "")
        if name != "*":
            _check_name(name, f"{path}.disabled[{index}].name")
        if filters:
            enabled.filters = {one: None for one in enabled.filters if name not in ("*", one)}
        if scores:
            enabled.weights = {one: weight for one, weight in enabled.weights.items() if name not in ("*", one)}
        if evicts and name in ("*", PREEMPTION):
            enabled.preempts = False
    for index, each in enumerate(list_of(change.get("enabled"), f"{path}.enabled")):
        where = f"{path}.enabled[{index}]"
        check_keys(each, ("name", "weight"), where)
        name = str(each.get("name") or "")
        _check_name(name, f"{where}.name")
        weight = number_of(each.get("weight"), f"{where}.weight", 0, _WEIGHT_MAX)
        if filters and name in _FILTERS:
            enabled.filters[name] = None
        if scores and name in _SCORES:
            enabled.weights[name] = weight or enabled.weights.get(name) or _SCORES[name].weight or 1
        if evicts and name == PREEMPTION:
            enabled.preempts = True


def _check_name(name: str, path: str) -> None:
    if name not in _FILTERS and name not in _SCORES and name != PREEMPTION and name not in _FIXED:
        raise ConfigurationError(
            f'{path}: there is no plugin "{name}"; there are {", ".join(sorted({*_FILTERS, *_SCORES, PREEMPTION}))}'
        )


# --- rules, with them


def _spread_defaults(arguments: Mapping[str, Object]) -> spread.Defaults:
    given = arguments.get(spread.SPREAD) or {}
    if given.get("defaultingType") == "List":
        return spread.Defaults(tuple(given.get("defaultConstraints") or ()))
    return spread.SYSTEM_DEFAULTS


def _filter(name: str, arguments: Mapping[str, Object], defaults: spread.Defaults) -> Filter:
    if name == nodes.AFFINITY:
        return Filter(name, nodes.node_affinity((arguments.get(name) or {}).get("addedAffinity")), local=True)
    if name == room.FIT:
        given = arguments.get(name) or {}
        ignored, groups = given.get("ignoredResources") or (), given.get("ignoredResourceGroups") or ()
        return Filter(name, room.fit(frozenset(ignored), frozenset(groups)), local=True)
    if name == spread.SPREAD:
        return spread.spread_filter(defaults)
    return _FILTERS[name]


def _score(name: str, weight: int, arguments: Mapping[str, Object], defaults: spread.Defaults) -> LocalScore | WideScore:
    given = arguments.get(name) or {}
    if name == nodes.AFFINITY:
        return nodes.preferred_nodes(weight, given.get("addedAffinity"))
    if name == room.FIT:
        return _fit_score(weight, given.get("scoringStrategy") or {})
    if name == room.BALANCED:
        return room.balanced(weight, _resources(given.get("resources")))
    if name == spread.SPREAD:
        return spread.spread_score(weight, defaults)
    if name == pod_affinity.POD_AFFINITY:
        own_only = bool(given.get("ignorePreferredTermsOfExistingPods"))
        return pod_affinity.near_preferred(weight, int(given.get("hardPodAffinityWeight", 1)), own_only)
    return replace(_SCORES[name], weight=weight)


def _fit_score(weight: int, strategy: Object) -> LocalScore:
    resources = _resources(strategy.get("resources"))
    kind = strategy.get("type") or STRATEGIES[0]
    if kind == "MostAllocated":
        return room.by_allocation(weight, resources, room.most_allocated)
    if kind == "RequestedToCapacityRatio":
        points = [
            (int(each.get("utilization") or 0), int(each.get("score") or 0))
            for each in strategy["requestedToCapacityRatio"]["shape"]
        ]
        return room.by_allocation(weight, resources, room.by_ratio(points), skip_zeros=True)
    return room.by_allocation(weight, resources, room.least_allocated)


def _resources(listed: list[Object] | None) -> Mapping[str, int]:
    return {str(each["name"]): int(each.get("weight") or 1) for each in listed} if listed else room.CPU_AND_MEMORY
