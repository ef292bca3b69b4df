"""A program that looks at the LAN until it is killed: a line of JSON, as of ``edgekube discover``, for each picture of it."""

from __future__ import annotations

import json
import logging
import sys

import trio

from edgekube.cli.discover import as_text
from edgekube.discovery.browse import browse
from edgekube.discovery.seen import Seen


async def look() -> None:
    seen = Seen()
    async with browse(seen) as browsing:
        while True:
            print(json.dumps(json.loads(as_text(seen))), flush=True)
            await browsing.changed()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    trio.run(look)
