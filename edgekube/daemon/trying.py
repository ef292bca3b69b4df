"""Try many addresses, most of which may be lies, and take the first that is good.

Enters: addresses, likeliest first; what to try there.
Leaves: the first address where it worked, with what it brought; the last failure when it worked nowhere.
Holds: an address that does not answer holds up the next only for a moment; whoever answers slowly is given up.
Bound: TRY_AT_ONCE_MAX under way, TRY_SECONDS each, TRY_ALL_SECONDS together.
Next: daemon.pairing, daemon.finding.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import trio

from edgekube import limits
from edgekube.client.addresses import Address

T = TypeVar("T")


class NoneWorked(Exception):
    """``__cause__`` is one of the failures, None when nobody answered in time."""


async def first_that_works(addresses: Sequence[Address], attempt: Callable[[Address], Awaitable[T]]) -> tuple[Address, T]:
    """``attempt`` raises what it likes when the address is no good. Raises NoneWorked."""
    good: list[tuple[Address, T]] = []
    failures: list[Exception] = []
    places = trio.CapacityLimiter(limits.TRY_AT_ONCE_MAX)

    async def try_one(address: Address, everything: trio.CancelScope, over: trio.Event) -> None:
        async with places:
            with trio.move_on_after(limits.TRY_SECONDS):
                try:
                    good.append((address, await attempt(address)))
                    everything.cancel()
                except Exception as error:
                    failures.append(error)
        over.set()

    with trio.move_on_after(limits.TRY_ALL_SECONDS) as everything:
        async with trio.open_nursery() as nursery:
            for address in addresses:
                over = trio.Event()
                nursery.start_soon(try_one, address, everything, over)
                with trio.move_on_after(limits.TRY_HEAD_START_SECONDS):
                    await over.wait()
    if good:
        return good[0]
    raise NoneWorked("no address worked") from (failures[-1] if failures else None)
