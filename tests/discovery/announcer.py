"""A program that announces one machine until it is killed: what a test starts inside a namespace.

``python -m tests.discovery.announcer '{"node": "pi-1", …}'`` (fields of Announcement but for the addresses).
"""

from __future__ import annotations

import json
import logging
import signal
import sys

import trio

from edgekube.discovery.announce import announce
from edgekube.discovery.announcement import Announcement


def main() -> None:
    # Whoever started the tests in the background had SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    fields = json.loads(sys.argv[1])
    trio.run(announce, lambda addresses: Announcement(**fields, addresses=addresses))


if __name__ == "__main__":
    main()
