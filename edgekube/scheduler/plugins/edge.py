"""What data centres do not ask: is the board hot, does it run from a battery, how good is its link?

Enters: labels and annotations of nodes, which whoever knows writes (a DaemonSet with sensors, an administrator).
Leaves: scores from 0 to 100; a node that says nothing is in the middle.
Holds: off unless a profile enables them by name.
Next: scheduler.configuration.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

from edgekube.scheduler.cluster import Cluster, NodeState
from edgekube.scheduler.plugin import SCORE_MAX, LocalScore, Measure
from edgekube.scheduler.pods import PendingPod

TEMPERATURE: Final = "EdgeTemperature"
POWER: Final = "EdgePower"
LINK: Final = "EdgeLink"

#: Degrees Celsius of the CPU, as a number.
CELSIUS_KEY: Final = "edgekube.io/cpu-temperature-celsius"
#: mains, solar or battery.
POWER_KEY: Final = "edgekube.io/power"
#: ethernet, wifi or cellular; or a number of megabits a second.
LINK_KEY: Final = "edgekube.io/link"

#: Boards throttle at 80 to 85 degrees; below 40 cooler is no better.
_COOL_CELSIUS: Final = 40.0
_HOT_CELSIUS: Final = 80.0
_UNKNOWN: Final = SCORE_MAX // 2
_POWERS: Final[Mapping[str, int]] = {"mains": 100, "solar": 40, "battery": 0}
_LINKS: Final[Mapping[str, int]] = {"ethernet": 100, "wifi": 50, "cellular": 0}
#: A link of this many megabits a second, or more, is as good as any.
_LINK_MEGABITS_MAX: Final = 1000.0


def temperature(text: str) -> int:
    celsius = _number(text)
    if celsius is None:
        return _UNKNOWN
    return round(SCORE_MAX * (_HOT_CELSIUS - min(max(celsius, _COOL_CELSIUS), _HOT_CELSIUS)) / (_HOT_CELSIUS - _COOL_CELSIUS))


def power(text: str) -> int:
    return _POWERS.get(text, _UNKNOWN)


def link(text: str) -> int:
    """Megabits count by their order of magnitude."""
    megabits = _number(text)
    if megabits is None:
        return _LINKS.get(text, _UNKNOWN)
    return round(SCORE_MAX * math.log10(min(max(megabits, 1.0), _LINK_MEGABITS_MAX)) / math.log10(_LINK_MEGABITS_MAX))


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _score(name: str, key: str, value: Callable[[str], int]) -> Callable[[int], LocalScore]:
    def prepare(pod: PendingPod, cluster: Cluster) -> Measure:
        def measure(node: NodeState) -> int:
            facts = node.facts
            # A measured value changes often: an annotation does not disturb selectors. It wins over a label.
            return value(facts.annotations.get(key) or facts.labels.get(key) or "")

        return measure

    return lambda weight: LocalScore(name, weight, prepare)


cooler_nodes: Final = _score(TEMPERATURE, CELSIUS_KEY, temperature)
better_power: Final = _score(POWER, POWER_KEY, power)
better_links: Final = _score(LINK, LINK_KEY, link)
