"""``edgekube certificate``: what certificates the cluster has, and how they are replaced.

Enters: settings, a command. Leaves: tables and sentences; JSON for programs.
Holds: the running server does it, and decides whether it may be done now. Next: server.certificates.
"""

from __future__ import annotations

import time
from typing import Any

import click

from edgekube.api import times
from edgekube.api.node_trust import short
from edgekube.api.objects import Object
from edgekube.cli.flags import settings_from, with_settings
from edgekube.cli.reaching import WHERE, ask_api
from edgekube.client.remote import RemoteVerbs
from edgekube.settings import Settings

_PATH = "/edgekube/v1/certificates"


@click.group("certificate", help="The cluster's certificates and keys. Runs on a server.")
def command() -> None:
    pass


@command.command("list", help="List authorities, certificates and token keys, and when they expire.")
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
@with_settings(WHERE)
def list_certificates(as_json: bool, **typed: Any) -> None:
    report = _ask(settings_from(typed))
    if as_json:
        import orjson

        click.echo(orjson.dumps(report, option=orjson.OPT_INDENT_2).decode())
        return
    click.echo(render(report, time.time()), nl=False)


@command.command(
    "rotate", help="Replace the server's own certificates now. They are renewed by themselves long before they expire."
)
@with_settings(WHERE)
def rotate(**typed: Any) -> None:
    click.echo(_ask(settings_from(typed), "rotate")["done"])


@command.command("rotate-ca", help="Replace the cluster's authority, with an overlap in which both are trusted.")
@click.option("--status", is_flag=True, help="Say how far it is, and change nothing.")
@click.option("--finish", is_flag=True, help="Drop the old authority, once every node holds a certificate of the new one.")
@click.option("--force", is_flag=True, help="With --finish: drop it although nodes still need it; they have to join anew.")
@with_settings(WHERE)
def rotate_ca(status: bool, finish: bool, force: bool, **typed: Any) -> None:
    if force and not finish:
        raise click.UsageError("--force goes with --finish")
    if status and finish:
        raise click.UsageError("give --status or --finish, not both")
    action = "" if status else "finish-ca" if finish else "rotate-ca"
    report = _ask(settings_from(typed), action, force=force)
    if report["done"]:
        click.echo(report["done"])
    click.echo(render_rotation(report), nl=False)


@command.command("rotate-service-account-key", help="Sign tokens with a new key. Those of the old one are still believed.")
@click.option("--finish", is_flag=True, help="Refuse the tokens of all former keys from now on.")
@with_settings(WHERE)
def rotate_service_account_key(finish: bool, **typed: Any) -> None:
    action = "finish-service-account-key" if finish else "rotate-service-account-key"
    click.echo(_ask(settings_from(typed), action)["done"])


def _ask(settings: Settings, action: str = "", *, force: bool = False) -> Object:
    async def ask(verbs: RemoteVerbs) -> Object:
        if not action:
            return await verbs.ask("GET", _PATH)
        return await verbs.ask("POST", _PATH, {"action": action, "force": force})

    return ask_api(settings, ask)


def render(report: Object, now: float) -> str:
    """The table that ``certificate list`` prints."""
    rows = [("KIND", "NAME", "AUTHORITY", "EXPIRES", "IN")]
    for each in report["authorities"]:
        role = "signs" if each["signs"] else "is trusted"
        rows.append(("authority", short(each["fingerprint"]), role, *_expiry(each["notAfter"], now)))
    for kind, leaves in (("server", report["certificates"]), ("node", report["nodes"])):
        rows += [(kind, each["name"], short(each["authority"]) or "unknown", *_expiry(each["notAfter"], now)) for each in leaves]
    for each in report["tokenKeys"]:
        told = "signs" if each["signs"] else f"retired {each['retired']}"
        rows.append(("token key", each["id"][:16], told, "-", "-"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "".join("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() + "\n" for row in rows)


def _expiry(not_after: str, now: float) -> tuple[str, str]:
    if not not_after:
        return "unknown", "-"
    left = times.parse(not_after) - now
    return not_after, times.age(left) if left > 0 else "expired"


def render_rotation(report: Object) -> str:
    """Where a change of the authority is, and what to do next."""
    if report["phase"] == "settled":
        only = short(report["authorities"][0]["fingerprint"])
        return f"one authority: {only}\n"
    old, new = (short(each["fingerprint"]) for each in report["authorities"])
    lines = [f"begun {report['began']}: {old} is being replaced by {new}, both are trusted"]
    if report["phase"] == "trusting":
        waiting = ", ".join(report["waitingFor"])
        lines.append(f"{new} signs as soon as these nodes trust it: {waiting}" if waiting else f"{new} signs in a moment")
        return "\n".join(lines) + "\n"
    lines.append(f"{new} signs")
    if report["holdingOld"]:
        lines.append(f"nodes that still need {old}: {', '.join(report['holdingOld'])}")
    else:
        lines.append(f"no node needs {old} any more")
    lines.append("restart programs that read the CA only when they start (kubectl rollout restart), give people new kubeconfigs,")
    lines.append("then: edgekube certificate rotate-ca --finish")
    return "\n".join(lines) + "\n"
