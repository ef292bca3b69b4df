"""Modules are loaded without the garbage collector.

Enters: nothing.
Leaves: a block in which the collector does not run by itself.
Holds: what modules are made of stays, so each of the collector's dozens of looks at it while they load finds nothing to free:
an eighth of the CPU time of loading a server.
Next: cli.main, cli.server, cli.agent, daemon.server.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
