"""One probe, over and over: when to ask, and when enough answers agree.

Enters: a probe with its thresholds, a way to ask.
Leaves: a verdict when it turns; the event Unhealthy for each failure.
Holds: a question that could not be asked counts for nothing. The first comes after initialDelaySeconds and a little chance, so
that probes of one deployment do not march in step.
Source: Kubernetes documentation, "Configure Liveness, Readiness and Startup Probes".
Next: probes.ask.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Literal, TypeAlias

import trio

from edgekube.agent.probes.ask import ask
from edgekube.api.objects import Object
from edgekube.containerd.protocol import Runtime

Verdict: TypeAlias = Literal["success", "failure"]

#: The first period is shortened by chance, down to this share.
JITTER_SECONDS_MAX = 1.0
#: What could not be asked is asked again at once, so many times in all (upstream's maxProbeRetries).
TRIES_MAX = 3


class Thresholds:
    """Counts equal answers in a row. Pure."""

    def __init__(self, successes: int, failures: int) -> None:
        self._needed = {"success": successes, "failure": failures}
        self._last: Verdict | None = None
        self._run = 0

    def answer(self, verdict: Verdict) -> Verdict | None:
        """The verdict, once there are enough answers of it in a row; None before."""
        self._run = self._run + 1 if verdict == self._last else 1
        self._last = verdict
        return verdict if self._run >= self._needed[verdict] else None


def _number(probe: Object, name: str, default: int) -> int:
    value = probe.get(name)
    return default if value in (None, 0) else int(value)


async def probe_loop(
    runtime: Runtime,
    kind: str,
    probe: Object,
    container: Object,
    container_id: str,
    address: str,
    turned: Callable[[Verdict], None],
    tell: Callable[[str, str, str], None],
    *,
    age_seconds: float,
    ready: bool,
) -> None:
    """Until cancelled; a startup probe also ends with its verdict."""
    thresholds = Thresholds(_number(probe, "successThreshold", 1), _number(probe, "failureThreshold", 3))
    period_seconds = float(_number(probe, "periodSeconds", 10))
    timeout_seconds = float(_number(probe, "timeoutSeconds", 1))
    delay_seconds = max(0.0, float(probe.get("initialDelaySeconds") or 0) - age_seconds)
    jitter_seconds = random.uniform(0, min(JITTER_SECONDS_MAX, period_seconds / 2)) if age_seconds > period_seconds else 0.0
    await trio.sleep(delay_seconds + jitter_seconds)
    current: Verdict | None = "success" if ready else None
    while True:
        next_at = trio.current_time() + period_seconds
        for _ in range(TRIES_MAX):
            ok, output = await ask(runtime, probe, container, container_id, address, timeout_seconds)
            if ok is not None:
                break
        if ok is None:
            tell("Warning", "Unhealthy", f"{kind.capitalize()} probe errored and resulted in unknown state: {output}")
            await trio.sleep_until(next_at)
            continue
        if not ok:
            tell("Warning", "Unhealthy", f"{kind.capitalize()} probe failed: {output}")
        elif output:
            tell("Warning", "ProbeWarning", f"{kind.capitalize()} probe warning: {output}")
        verdict = thresholds.answer("success" if ok else "failure")
        if verdict is not None and (verdict != current or (verdict == "failure" and kind != "readiness")):
            current = verdict
            turned(verdict)
            if kind == "startup":
                return
        await trio.sleep_until(next_at)
