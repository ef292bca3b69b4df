"""A call of a driver that is heard out though nobody waits for it any more: its answer says whether anything is to be undone.

Enters: a call, how long the answer is waited for by who was cancelled.
Leaves: what the call raises.
Holds: a call that was begun ends, or is cancelled once patience has ended.
Source: kubelet's operations on volumes, which the end of a pod does not take back.
Next: agent.csi.staging.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from edgekube.agent.problems import VolumeProblem


async def heard_out(call: Callable[[], Awaitable[None]], patience_seconds: float) -> None:
    """VolumeProblem and OSError are the call's own; others it must not raise."""
    failed: list[VolumeProblem | OSError] = []
    ended = trio.Event()
    shield = trio.CancelScope(shield=True)

    async def to_its_end() -> None:
        with shield:
            try:
                await call()
            except (VolumeProblem, OSError) as failure:
                failed.append(failure)
        ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(to_its_end)
        try:
            await ended.wait()
        finally:
            shield.deadline = trio.current_time() + patience_seconds
    if failed:
        raise failed[0]
