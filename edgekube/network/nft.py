"""Hand a script to nft, in this network namespace.

Enters: nft's own text.
Leaves: nothing; the kernel took the whole script, or NftFailed says what nft said.
Holds: one script is one transaction. Small ones go through nft's library, in this process; what is large, or meant for another
namespace, through the command (ADR 28).
Next: network.libnftables.
"""

from __future__ import annotations

import subprocess
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import trio

from edgekube import limits
from edgekube.network import libnftables

Apply: TypeAlias = Callable[[str], Awaitable[None]]


class NftFailed(Exception):
    """nft refused a script; nothing of it was applied."""


async def apply(script: str, command: Sequence[str] = ("nft",)) -> None:
    """Raises NftFailed. ``command`` may enter another network namespace first."""
    if tuple(command) == ("nft",) and len(script) <= limits.NFT_IN_PROCESS_BYTES_MAX and (ready := libnftables.library()):
        if said := ready.apply(script):
            raise NftFailed(said[:2000])
        await trio.lowlevel.checkpoint()
        return
    try:
        done = await trio.run_process(
            [*command, "-f", "-"], stdin=script.encode(), check=False, capture_stdout=True, capture_stderr=True
        )
    except OSError as error:  # not installed, or no memory for another process now
        raise NftFailed(f"nft cannot be started: {error}") from error
    if done.returncode != 0:
        raise NftFailed(done.stderr.decode(errors="replace").strip()[:2000])


def remove_table(table: str) -> None:
    """For uninstall, where no event loop runs: what is not there is fine."""
    subprocess.run(["nft", "delete", "table", *table.split()], check=False, capture_output=True)
