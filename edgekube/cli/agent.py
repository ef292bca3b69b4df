"""``edgekube agent``: make this machine a node of a cluster whose server is elsewhere.

Enters: settings. Leaves: a running node; exit code 0 after SIGTERM, 1 with one line that says what to do when it cannot run.
Next: daemon.agent.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
from typing import Any

import click

from edgekube.cli.flags import settings_from, with_settings
from edgekube.cli.logs import configure_logging
from edgekube.cli.options import OPTIONS, SERVER_ONLY
from edgekube.loading import loading

log = logging.getLogger("edgekube")


@click.command("agent", help="Make this machine a node of a cluster, until SIGTERM.")
@with_settings(frozenset(option.name for option in OPTIONS) - SERVER_ONLY)
def command(**typed: Any) -> None:
    settings = settings_from(typed)
    if os.geteuid() != 0:
        raise click.ClickException("an agent makes network namespaces and mounts: run it as root (sudo edgekube agent)")
    configure_logging(settings.log_format)
    with loading():
        import trio

        from edgekube.cli.explain import explain
        from edgekube.daemon.agent import run_agent_process
        from edgekube.daemon.refusal import JoinRefused
        from edgekube.pki.clock import starting_clock

    try:
        authorities = settings.agent_pki_dir / "ca.crt"
        clock = starting_clock(settings.data_dir, authorities, may_set="clock" not in settings.disable)
        joined = trio.run(_run, run_agent_process, settings, clock)
    except BaseException as error:  # also ExceptionGroup: what went wrong is one line for people, the rest for the log
        reason = explain(error, JoinRefused)
        if reason is None:
            raise
        log.debug("stopped by", exc_info=error)
        print(f"edgekube: {reason}", file=sys.stderr)
        sys.exit(1)
    if joined:
        # The same process to whoever started it, with the arguments that it has.
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


async def _run(run_agent_process: Any, settings: Any, clock: Any) -> bool:
    joined: bool = await run_agent_process(settings, clock=clock, started=_settle)
    return joined


def _settle() -> None:
    """Everything that was made while starting stays: keep the collector from walking it again and again."""
    gc.collect()
    gc.freeze()
