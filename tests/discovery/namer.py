"""A program that tells names on the LAN until it is killed: ``python -m tests.discovery.namer NAME ADDRESS``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping

import trio

from edgekube.api.lan_names import LanName
from edgekube.discovery.interfaces import reachable
from edgekube.discovery.lan_names import keep_names
from edgekube.discovery.mdns import open_mdns


class Fixed:
    """WantedNames that never change."""

    def __init__(self, name: LanName) -> None:
        self._names = {name.name: name}

    def current(self) -> Mapping[str, LanName]:
        return self._names

    async def changed(self) -> None:
        await trio.sleep_forever()


async def tell(name: LanName) -> None:
    async with open_mdns(reachable()) as mdns:
        await keep_names(mdns, Fixed(name))


def main() -> None:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    trio.run(tell, LanName(sys.argv[1], (sys.argv[2],), 80, False))


if __name__ == "__main__":
    main()
