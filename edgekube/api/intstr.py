"""IntOrString: an absolute number or a percentage of a total.

Enters: maxSurge, maxUnavailable, minAvailable and the like, as manifests write them.
Leaves: a whole number.
Source: apimachinery util/intstr.GetScaledValueFromIntOrPercent.
Next: controllers (rollouts, disruption budgets).
"""

from __future__ import annotations

import re
from typing import Final

_PERCENT: Final = re.compile(r"[+-]?[0-9]+%", re.ASCII)


def resolve(value: int | str, total: int, round_up: bool) -> int:
    """``25%`` of ``total``, rounded up or down; a number is returned as it is. ValueError on other text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str) or not _PERCENT.fullmatch(value):
        raise ValueError("invalid value for IntOrString: invalid type: string is not a percentage")
    scaled = int(value[:-1]) * total
    return -(-scaled // 100) if round_up else scaled // 100
