"""``edgekube server``: run the control plane and this machine's node.

Enters: settings. Leaves: a running server; exit code 0 after SIGTERM, 1 with one line that says what to do when it cannot run.
Next: daemon.server.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
import time
from typing import Any

import click

from edgekube.cli.flags import settings_from, with_settings
from edgekube.cli.logs import configure_logging

log = logging.getLogger("edgekube")


@click.command("server", help="Run the control plane and this machine's node, until SIGTERM.")
@with_settings()
def command(**typed: Any) -> None:
    settings = settings_from(typed)
    if os.geteuid() != 0:
        raise click.ClickException("a server makes network namespaces and mounts: run it as root (sudo edgekube server)")
    configure_logging(settings.log_format)
    import trio

    from edgekube.cli.explain import explain
    from edgekube.daemon.server import run_server

    try:
        trio.run(_run, run_server, settings)
    except BaseException as error:  # also ExceptionGroup: what went wrong is one line for people, the rest for the log
        reason = explain(error)
        if reason is None:
            raise
        log.debug("stopped by", exc_info=error)
        print(f"edgekube: {reason}", file=sys.stderr)
        sys.exit(1)


async def _run(run_server: Any, settings: Any) -> None:
    await run_server(settings, clock=time.time, started=_settle)


def _settle() -> None:
    """Everything that was made while starting stays: keep the collector from walking it again and again."""
    gc.collect()
    gc.freeze()
