"""Print the node's addresses whenever they change. argv: fixed addresses or "", "dual" or "single", seconds to give up."""

import sys

import trio

from edgekube import limits
from edgekube.network.node_addresses import NodeAddresses

FIXED, FAMILIES, limits.ADDRESS_MISSED_SECONDS = sys.argv[1], sys.argv[2], float(sys.argv[3])


async def main() -> None:
    addresses = NodeAddresses(
        fixed=FIXED.split(",") if FIXED else (),
        avoid=("10.42.0.0/16", "10.43.0.0/16"),
        dual_stack=FAMILIES == "dual",
        last_resort="10.43.0.10",
    )
    addresses.look()
    async with trio.open_nursery() as nursery:
        await nursery.start(addresses.run)
        known = addresses.current
        while True:
            print(" ".join(known), flush=True)
            known = await addresses.wait_for_other_than(known)


trio.run(main)
