"""How far a long pull is, told as events: on a thin line an image takes longer than anybody waits without a word.

Enters: what containerd is fetching.
Leaves: events of reason Pulling with the bytes that are here, at 15 s, 30 s, 60 s … of a pull.
Holds: a pull of a few seconds has none; what containerd does not tell is not invented. Pulls side by side are told together, for
containerd's content has no names.
Bound: one event for each doubling of the time: eight in an hour.
Next: agent.images.pulling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import trio

from edgekube.containerd.model import RuntimeFailure, Write
from edgekube.containerd.protocol import Runtime
from edgekube.limits import IMAGE_PROGRESS_SECONDS

_PARTS = ("layer-", "manifest-", "index-", "config-")


def message(name: str, writes: Iterable[Write], seconds: float) -> str:
    """ "" when nothing is known. ``name``: quoted."""
    parts = [write for write in writes if write.reference.startswith(_PARTS)]
    total = sum(write.total_bytes for write in parts)
    if not total:
        return ""
    here = sum(write.offset_bytes for write in parts)
    layers = sum(1 for write in parts if write.reference.startswith("layer-"))
    return f"Still pulling image {name} after {seconds:.0f}s: {_mib(here)} of {_mib(total)} MiB in {layers} layers under way"


def _mib(amount: int) -> str:
    return f"{amount / (1 << 20):.1f}"


async def tell_progress(runtime: Runtime, name: str, tell: Callable[[str, str, str], None]) -> None:
    """For ever."""
    began = trio.current_time()
    pause_seconds = IMAGE_PROGRESS_SECONDS
    while True:
        await trio.sleep(pause_seconds)
        seconds = trio.current_time() - began
        pause_seconds = seconds
        try:
            text = message(name, await runtime.writes(), seconds)
        except RuntimeFailure:
            continue
        if text:
            tell("Normal", "Pulling", text)
