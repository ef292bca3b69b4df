"""``edgekube status``: how the cluster on this machine is, also when it is down.

Enters: settings; the service, the API, containerd, files. Leaves: a few lines or JSON.
Holds: exit code 0 when the node is Ready (or the API answers, without an agent), else 1 with what to do next.
Next: cli.surveying.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from edgekube.cli import installation
from edgekube.cli.flags import settings_from, with_settings
from edgekube.cli.surveying import Survey, survey
from edgekube.settings import Settings

#: How often --wait looks.
_LOOK_SECONDS = 0.5
#: The program was begun so often while we waited, and never got anywhere: waiting longer will not help.
_STARTS_MAX = 4


@click.command("status", help="Show how the cluster on this machine is. Exit code 1 if it is not ready.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.option("--wait", "wait_seconds", type=click.IntRange(min=1), metavar="SECONDS", help="Wait until the node is Ready.")
@with_settings()
def command(as_json: bool, wait_seconds: int | None, **typed: Any) -> None:
    settings = settings_from(typed)
    found = _wait(settings, wait_seconds, quiet=as_json) if wait_seconds else survey(settings)
    if as_json:
        import orjson

        click.echo(orjson.dumps(found.as_object(), option=orjson.OPT_INDENT_2).decode())
    else:
        click.echo(render(found, advice(found)), nl=False)
    if not found.ready:
        sys.exit(1)


def _wait(settings: Settings, seconds: int, *, quiet: bool) -> Survey:
    """Tell each step once. Ends early when the service keeps dying."""
    began = time.monotonic()
    starts_before = installation.service().starts
    told = ""
    while True:
        found = survey(settings, sizes=False)
        step = found.step()
        if step != told and not quiet:
            click.echo(f"  {time.monotonic() - began:5.1f} s  {step}")
            told = step
        hopeless = found.service.starts - starts_before >= _STARTS_MAX and not found.api_ready
        if found.ready or hopeless or time.monotonic() - began > seconds:
            return survey(settings)
        time.sleep(_LOOK_SECONDS)


def advice(found: Survey) -> list[str]:
    """What to do next."""
    if found.ready:
        return []
    if not found.service.running and not found.api_ready:
        return [f"start it: {installation.how_to_start()}", "see what this host lacks: sudo edgekube check"]
    return [f"read the log: {installation.how_to_read_the_log()}", "see what this host lacks: sudo edgekube check"]


def render(found: Survey, next_steps: list[str]) -> str:
    rows = [("service", _service(found)), ("API", _api(found)), ("node", _node(found))]
    if found.pods is not None:
        rows.append(("pods", ", ".join(f"{count} {phase}" for phase, count in sorted(found.pods.items())) or "none"))
    rows.append(("containerd", found.containerd or "not running"))
    rows.append(("data", f"{found.data_dir}: {_size(found.data_bytes)}, {_size(found.data_free_bytes)} free"))
    for name, days in sorted(found.certificate_days.items()):
        if days < 30:
            rows.append(("certificate", f"{name} ends in {days} days; a restart of edgekube renews it"))
    if found.certificate_days:
        rows.append(("certificates", f"the first ends in {min(found.certificate_days.values())} days"))
    lines = [f"{name + ':':14}{text}" for name, text in rows]
    if found.last_errors:
        lines += ["", "last warnings and errors of the log:", *(f"  {line}" for line in found.last_errors)]
    if next_steps:
        lines += ["", *(f"-> {step}" for step in next_steps)]
    return "\n".join(lines) + "\n"


def _service(found: Survey) -> str:
    if not found.service.manager:
        return "not installed as a service"
    state = "running" if found.service.running else "stopped"
    return f"{state} ({'systemd' if found.service.manager == 'systemd' else 'background process'})"


def _api(found: Survey) -> str:
    if found.api_version:
        return f"{found.api_version} at {found.api_url}, {'ready' if found.api_ready else 'not ready'}"
    return found.api_problem


def _node(found: Survey) -> str:
    if found.node_ready is None:
        return f"{found.node_name}, " + ("not registered" if found.api_version else "unknown without the API")
    return f"{found.node_name}, " + ("Ready" if found.node_ready else f"not Ready: {found.node_message}")


def _size(count: int) -> str:
    """Bytes as df -h shows them."""
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
