"""The settings of a node, as flags, variables and keys: named as the kubelet names its own.

Enters: text. Leaves: rows for cli.options; what is wrong when settings do not fit together.
Holds: what the kubelet has and a board has no use for (static CPU and memory managers, topology) is refused by name.
Next: cli.options.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from edgekube.agent.eviction.thresholds import check_signal, thresholds_of
from edgekube.api import quantities
from edgekube.api.durations import seconds_of
from edgekube.cli.option import Option
from edgekube.node_rules import NodeRules, Pairs

_RESERVABLE: Final = ("cpu", "memory", "ephemeral-storage", "pid")
_ENFORCEABLE: Final = ("pods", "system-reserved", "kube-reserved", "none")
_EFFECTS: Final = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_LABEL: Final = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_VALUE: Final = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


def _pairs(text: str) -> Pairs:
    found = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        key, separator, value = part.replace("<", "=", 1).partition("=")
        if not separator or not key.strip():
            raise ValueError("give KEY=VALUE, separated by commas")
        found.append((key.strip(), value.strip()))
    return tuple(found)


def _signals(text: str) -> Pairs:
    pairs = _pairs(text)
    for signal, _ in pairs:
        check_signal(signal)
    return pairs


def _reserved(text: str) -> Pairs:
    pairs = _pairs(text)
    for name, amount in pairs:
        if name not in _RESERVABLE:
            raise ValueError(f"{name} cannot be reserved; {', '.join(_RESERVABLE)} can")
        if quantities.is_negative(amount):
            raise ValueError(f"{name} must not be negative")
    return pairs


def _enforced(text: str) -> str:
    if text not in _ENFORCEABLE:
        raise ValueError(f"what can be enforced are {', '.join(_ENFORCEABLE)}")
    return text


def _enforcements(parts: Any) -> frozenset[str]:
    return frozenset(parts) - {"none"}


def _cgroup(text: str) -> str:
    if not text.startswith("/") or ".." in text:
        raise ValueError("give a path such as /system.slice")
    return text.rstrip("/")


def _number(least: int, most: int) -> Any:
    def parse(text: str) -> int:
        number = int(text) if text.isascii() and text.isdigit() else least - 1
        if not least <= number <= most:
            raise ValueError(f"give a number from {least} to {most}")
        return number

    return parse


def _labels(text: str) -> Pairs:
    pairs = _pairs(text)
    for key, value in pairs:
        if not _LABEL.fullmatch(key) or not _VALUE.fullmatch(value):
            raise ValueError(f"{key}={value} is not a label")
    return pairs


def _taint(text: str) -> tuple[str, str, str]:
    head, colon, effect = text.rpartition(":")
    key, _, value = head.partition("=")
    if not colon or effect not in _EFFECTS or not _LABEL.fullmatch(key) or not _VALUE.fullmatch(value):
        raise ValueError(f"give KEY=VALUE:EFFECT; the effects are {', '.join(_EFFECTS)}")
    return key, value, effect


def _verification(text: str) -> str:
    from edgekube.agent.images.records import POLICIES  # only where the option is given

    if text not in POLICIES:
        raise ValueError(f"the policies are {', '.join(POLICIES)}")
    return text


def _allowlisted(pattern: str) -> str:
    from edgekube.agent.images.records import check_allowlist

    return check_allowlist(pattern)


def _file(text: str) -> Path:
    path = Path(text)
    if not path.is_absolute():
        raise ValueError("give the absolute path of a file")
    return path


def _by_priority(text: str) -> tuple[tuple[int, float], ...]:
    found = []
    for priority, time in _pairs(text):
        if not re.fullmatch(r"-?[0-9]+", priority):
            raise ValueError("give PRIORITY=TIME, separated by commas")
        found.append((int(priority), seconds_of(time)))
    return tuple(sorted(found))


def _only(policy: str, why: str) -> Any:
    def parse(text: str) -> str:
        if text != policy:
            raise ValueError(f"only {policy} is there: {why}")
        return text

    return parse


_WHY_NO_CPUS: Final = "processors are shared by weight and quota, and none is given to one pod alone"

NODE_OPTIONS: Final = (
    Option("kube-reserved", "node.kube_reserved", _reserved, "Kept for edgekube: cpu, memory, …", "KEY=VALUE,…", mapping=True),
    Option("system-reserved", "node.system_reserved", _reserved, "Kept for the system.", "KEY=VALUE,…", mapping=True),
    Option("kube-reserved-cgroup", "node.kube_reserved_cgroup", _cgroup, "Where --kube-reserved is enforced.", "PATH"),
    Option("system-reserved-cgroup", "node.system_reserved_cgroup", _cgroup, "Where --system-reserved is enforced.", "PATH"),
    Option(
        "enforce-node-allocatable",
        "node.enforce_allocatable",
        _enforced,
        "What cgroups enforce (repeatable; default: pods).",
        "NAME",
        multiple=True,
        collect=_enforcements,
    ),
    Option("max-pods", "node.pods_max", _number(1, 1000), "So many pods at most (default: 110).", "NUMBER"),
    Option("node-labels", "node.labels", _labels, "Labels that the node gets when it registers.", "KEY=VALUE,…", mapping=True),
    Option(
        "register-with-taints",
        "node.taints",
        _taint,
        "A taint that the node gets when it registers (repeatable).",
        "KEY=VALUE:EFFECT",
        multiple=True,
        collect=tuple,
    ),
    Option("eviction-hard", "node.eviction_hard", _signals, "Pods end at once below these.", "SIGNAL<AMOUNT,…", mapping=True),
    Option(
        "eviction-soft", "node.eviction_soft", _signals, "Pods end below these, after a time.", "SIGNAL<AMOUNT,…", mapping=True
    ),
    Option(
        "eviction-soft-grace-period",
        "node.eviction_soft_grace",
        _signals,
        "How long a signal may be below its soft threshold.",
        "SIGNAL=TIME,…",
        mapping=True,
    ),
    Option(
        "eviction-minimum-reclaim",
        "node.eviction_minimum_reclaim",
        _signals,
        "So much more than the threshold is freed.",
        "SIGNAL=AMOUNT,…",
        mapping=True,
    ),
    Option(
        "eviction-pressure-transition-period",
        "node.eviction_transition_seconds",
        seconds_of,
        "So long a pressure is told after it was last seen (default: 5m).",
        "TIME",
    ),
    Option(
        "eviction-max-pod-grace-period",
        "node.eviction_grace_seconds_max",
        _number(0, 86_400),
        "Longest grace of a pod that a soft threshold ends, in seconds.",
        "SECONDS",
    ),
    Option("image-gc-high-threshold", "node.image_gc_high_percent", _number(0, 100), "Images go from here on (85).", "PERCENT"),
    Option("image-gc-low-threshold", "node.image_gc_low_percent", _number(0, 100), "… until here (80).", "PERCENT"),
    Option("minimum-image-ttl-duration", "node.image_age_seconds_min", seconds_of, "No younger image goes (2m).", "TIME"),
    Option("maximum-image-ttl-duration", "node.image_age_seconds_max", seconds_of, "Unused so long, an image goes.", "TIME"),
    Option("max-parallel-image-pulls", "node.image_pulls_max", _number(1, 32), "So many pulls at a time (1).", "NUMBER"),
    Option(
        "image-pull-credentials-verification-policy",
        "node.image_verification",
        _verification,
        "Which images that are here ask pods for credentials.",
        "POLICY",
    ),
    Option(
        "preloaded-images-verification-allowlist",
        "node.image_allowlist",
        _allowlisted,
        "Images that ask for none (repeatable).",
        "IMAGE",
        multiple=True,
        collect=tuple,
    ),
    Option("registries-file", "node.registries_file", _file, "Mirrors and credentials of registries.", "FILE"),
    Option(
        "image-credential-provider-config",
        "node.credential_provider_config",
        _file,
        "Programs that give credentials for images.",
        "FILE",
    ),
    Option("image-credential-provider-bin-dir", "node.credential_provider_dir", _file, "Where those programs are.", "DIRECTORY"),
    Option(
        "shutdown-grace-period", "node.shutdown_grace_seconds", seconds_of, "A shutdown waits so long for pods (30s).", "TIME"
    ),
    Option(
        "shutdown-grace-period-critical-pods",
        "node.shutdown_grace_critical_seconds",
        seconds_of,
        "… of that for critical ones (10s).",
        "TIME",
    ),
    Option(
        "shutdown-grace-period-by-pod-priority",
        "node.shutdown_grace_by_priority",
        _by_priority,
        "… or by priority, instead of both.",
        "PRIORITY=TIME,…",
        mapping=True,
    ),
    Option("cpu-manager-policy", "node.cpu_policy", _only("none", _WHY_NO_CPUS), "Only none.", "POLICY"),
    Option("memory-manager-policy", "node.memory_policy", _only("None", "memory has one place here"), "Only None.", "POLICY"),
    Option("topology-manager-policy", "node.topology_policy", _only("none", _WHY_NO_CPUS), "Only none.", "POLICY"),
)


def check_rules(rules: NodeRules) -> None:
    """Raises ValueError when settings do not fit together."""
    thresholds_of(rules)
    if rules.image_gc_low_percent > rules.image_gc_high_percent:
        raise ValueError("--image-gc-low-threshold must not be above --image-gc-high-threshold")
    if rules.image_age_seconds_max and rules.image_age_seconds_max <= rules.image_age_seconds_min:
        raise ValueError("--maximum-image-ttl-duration must be longer than --minimum-image-ttl-duration")
    if rules.shutdown_grace_critical_seconds > rules.shutdown_grace_seconds:
        raise ValueError("--shutdown-grace-period-critical-pods is a part of --shutdown-grace-period and cannot be longer")
    for name, cgroup in (("kube", rules.kube_reserved_cgroup), ("system", rules.system_reserved_cgroup)):
        if f"{name}-reserved" in rules.enforce_allocatable and not cgroup:
            raise ValueError(f"--enforce-node-allocatable={name}-reserved needs --{name}-reserved-cgroup")
