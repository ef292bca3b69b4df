"""How long the fuzz tries: few examples, the same in each run; with EDGEKUBE_FUZZ=50 fifty times as many, and others."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

_TIMES = int(os.environ.get("EDGEKUBE_FUZZ", "1"))


def effort(examples: int) -> settings:
    return settings(
        max_examples=examples * _TIMES,
        derandomize=_TIMES == 1,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink] if _TIMES > 1 else [Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
