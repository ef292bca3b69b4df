"""Expressions of policies and match conditions that cost much are computed in a thread, so that others are served meanwhile.

Enters: a function of a policy that takes ``at_once``, and what it takes besides.
Leaves: its result.
Holds: it is pure, so that what was given up half-way can be asked again. Nearly everything is done at once: a thread costs more
than most expressions.
Bound: limits.CEL_THREADS_MAX at a time; the others wait.
Next: admission.policies.evaluation.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

import trio

from edgekube import limits
from edgekube.admission.policies.evaluation import Heavy

T = TypeVar("T")
_THREADS: Final = trio.CapacityLimiter(limits.CEL_THREADS_MAX)


async def patiently(ask: Callable[..., T], *given: Any) -> T:
    try:
        return ask(*given, at_once=True)
    except Heavy:
        return await trio.to_thread.run_sync(partial(ask, *given, at_once=False), limiter=_THREADS)
