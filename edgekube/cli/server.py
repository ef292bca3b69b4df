"""``edgekube server``: run the control plane and this machine's node.

Enters: settings. Leaves: a running server; exit code 0 after SIGTERM, 1 with one line that says what to do when it cannot run.
Next: daemon.server.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
from typing import Any

import click

from edgekube import limits
from edgekube.cli.flags import settings_from, with_settings
from edgekube.cli.logs import configure_logging
from edgekube.cli.options import AGENT_ONLY, OPTIONS
from edgekube.loading import loading

log = logging.getLogger("edgekube")


@click.command("server", help="Run the control plane and this machine's node, until SIGTERM.")
@with_settings(frozenset(option.name for option in OPTIONS) - AGENT_ONLY)
def command(**typed: Any) -> None:
    settings = settings_from(typed)
    if os.geteuid() != 0:
        raise click.ClickException("a server makes network namespaces and mounts: run it as root (sudo edgekube server)")
    configure_logging(settings.log_format)
    with loading():
        import trio

        from edgekube.cli.explain import explain
        from edgekube.daemon.auditing import AuditRefused
        from edgekube.daemon.authentication import AuthenticationRefused
        from edgekube.daemon.scheduling import SchedulerConfigRefused
        from edgekube.daemon.server import run_server
        from edgekube.pki.clock import starting_clock
        from edgekube.store.protocol import StoreRefused

    try:
        clock = starting_clock(settings.data_dir, settings.pki_dir / "ca.crt", may_set="clock" not in settings.disable)
        trio.run(_run, run_server, settings, clock)
    except BaseException as error:  # also ExceptionGroup: what went wrong is one line for people, the rest for the log
        reason = explain(error, StoreRefused, AuditRefused, AuthenticationRefused, SchedulerConfigRefused)
        if reason is None:
            raise
        log.debug("stopped by", exc_info=error)
        print(f"edgekube: {reason}", file=sys.stderr)
        sys.exit(1)


async def _run(run_server: Any, settings: Any, clock: Any) -> None:
    await run_server(settings, clock=clock, started=_settle)


def _settle() -> None:
    """Everything that was made while starting stays: keep the collector from walking it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(limits.GC_YOUNG_OBJECTS_MAX)
