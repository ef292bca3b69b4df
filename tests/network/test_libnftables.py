"""nft's library in a process of ours, which lives in a network namespace of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.network.rig import Rig

pytestmark = pytest.mark.root

_PROGRAM = """
import trio
from edgekube import limits
from edgekube.network import libnftables, nft

async def main():
    assert libnftables.library() is not None
    await nft.apply("add table ip small\\nadd chain ip small one")
    large = "add table ip large\\n" + "\\n" * limits.NFT_IN_PROCESS_BYTES_MAX
    await nft.apply(large)
    for script in ("add chain ip nowhere one", "add table ip half\\nno such command"):
        try:
            await nft.apply(script)
        except nft.NftFailed as error:
            print(type(error).__name__, "Error" in str(error))

trio.run(main)
"""


def test_small_scripts_and_large_ones_reach_the_kernel_and_refusals_are_told(rig: Rig) -> None:
    done = subprocess.run([*rig.enter("far"), sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout == "NftFailed True\nNftFailed True\n"
    tables = rig.inside("far", ["nft", "list", "tables"]).splitlines()
    assert {"table ip small", "table ip large"} <= set(tables) and "table ip half" not in tables, "all or nothing"
    rig.inside("far", ["nft", "delete table ip small; delete table ip large"])
