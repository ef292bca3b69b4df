"""The kernel's packet filter and connection tracking, by their own tools, in this network namespace or another.

Enters: nft's own text; commands of conntrack.
Leaves: nothing; the kernel took the whole script, or NftFailed says what nft said. What the kernel holds, as text.
Holds: one script is one transaction.
Next: network.proxy.
"""

from __future__ import annotations

import logging
import socket
import subprocess
from collections.abc import Sequence

import orjson
import trio

from edgekube.network import nft
from edgekube.network.table_losses import open_news

log = logging.getLogger("edgekube.network")


class Kernel:
    """``enter`` is a command line that runs another one in the namespace that is meant; empty: this one's."""

    def __init__(self, enter: Sequence[str] = ()) -> None:
        self._enter = tuple(enter)

    async def apply(self, script: str) -> None:
        """Raises NftFailed."""
        await nft.apply(script, [*self._enter, "nft"])

    async def has(self, table: str) -> bool:
        try:
            await nft.apply(f"list chain {table} guard", [*self._enter, "nft"])
        except nft.NftFailed:
            return False
        return True

    def news(self) -> socket.socket:
        """Where the kernel tells of tables that are deleted. Raises OSError."""
        return open_news()

    async def clients(self, table: str) -> dict[str, list[tuple[str, int]]]:
        """What the client sets of a table remember: name -> (address, seconds left). Nothing when there is no table."""
        done = await self._run(("nft", "-j", "list", "sets", "table", *table.split()))
        if done.returncode != 0:
            return {}
        found: dict[str, list[tuple[str, int]]] = {}
        for entry in orjson.loads(done.stdout)["nftables"]:
            held = entry.get("set") or {}
            if str(held.get("name")).startswith("clients_"):
                elements = [each["elem"] for each in held.get("elem") or () if isinstance(each, dict) and "elem" in each]
                found[held["name"]] = [(each["val"], int(each["expires"])) for each in elements if each.get("expires")]
        return found

    async def udp_flows(self, family: str, port: int | None) -> list[str]:
        """Lines of conntrack: the tracked UDP flows of a family, or only those that were sent to one port."""
        only = () if port is None else ("--orig-port-dst", str(port))
        done = await self._run(("conntrack", "-L", "-f", family.lower(), "-p", "udp", *only))
        if done.returncode not in (0, 1):
            log.warning("conntrack failed: %s", done.stderr.decode(errors="replace").strip()[:500])
        return done.stdout.decode(errors="replace").splitlines()

    async def forget_flows(self, deletions: Sequence[str]) -> None:
        """Each is one command line of conntrack; what is gone already is fine."""
        done = await self._run(("conntrack", "-R", "-"), "".join(f"{each}\n" for each in deletions))
        if done.returncode not in (0, 1):
            log.warning("conntrack failed: %s", done.stderr.decode(errors="replace").strip()[:500])

    async def _run(self, command: Sequence[str], stdin: str = "") -> subprocess.CompletedProcess[bytes]:
        try:
            return await trio.run_process(
                [*self._enter, *command], stdin=stdin.encode(), check=False, capture_stdout=True, capture_stderr=True
            )
        except OSError as error:  # not installed, or no memory for another process now
            return subprocess.CompletedProcess(list(command), 127, b"", str(error).encode())
