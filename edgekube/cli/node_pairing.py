"""``edgekube node pending``, ``approve``, ``reject``: let machines in that show a code; ``allow`` and its kin: let them in ahead,
by their serial numbers.

Enters: settings, names, codes, serial numbers. Leaves: the server's decision; lists.
Holds: a code is typed from the machine, not copied from the server: codes are listed only for who asks for them.
Next: server.pairing_desk; api.allowed_serials.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, TextIO

import click

from edgekube.api import times
from edgekube.api.allowed_serials import NAME, NAMESPACE, AllowedSerial, as_secret, from_secret, key_of, normal
from edgekube.api.names import dns1123_subdomain
from edgekube.cli.flags import settings_from, with_settings
from edgekube.cli.reaching import WHERE, ask_api

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgekube.client.remote import RemoteVerbs

_PATH: Final = "/edgekube/v1/pairings"


@click.command("pending", help="List the machines that ask to be let in.")
@click.option("--show-codes", is_flag=True, help="Also show the codes, to compare them with those that the machines show.")
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
@with_settings(WHERE)
def pending(show_codes: bool, as_json: bool, **typed: Any) -> None:
    query = "?codes=true" if show_codes else ""
    found = ask_api(settings_from(typed), lambda verbs: verbs.ask("GET", f"{_PATH}/pending{query}"))
    if as_json:
        import orjson

        click.echo(orjson.dumps(found["items"], option=orjson.OPT_INDENT_2).decode())
        return
    click.echo(render_pending(found["items"]), nl=False)


def render_pending(items: list[dict[str, Any]]) -> str:
    if not items:
        return "no machine asks to be let in; on a new one, run: sudo edgekube agent\n"
    with_codes = any("code" in item for item in items)
    rows = [("NAME", "SERIAL", "ADDRESS", "KEY", "AGE", *(["CODE"] if with_codes else []))]
    for item in sorted(items, key=lambda each: (each["name"], each["ageSeconds"])):
        age = times.age(item["ageSeconds"])
        cells = (item["name"], item["serial"] or "-", item["peer"].rpartition(":")[0], item["key"][:16], age)
        rows.append((*cells, *([item.get("code", "")] if with_codes else [])))
    return _table(rows)


@click.command("approve", help="Let a machine in, by the code that it shows (831-402). A wrong code voids the exchange.")
@click.argument("name")
@click.argument("code")
@with_settings(WHERE)
def approve(name: str, code: str, **typed: Any) -> None:
    body = {"name": name, "code": code}
    done = ask_api(settings_from(typed), lambda verbs: verbs.ask("POST", f"{_PATH}/approve", body))
    click.echo(f"node {name} is let in, its key is {done['key'][:16]}…")


@click.command("reject", help="Turn a machine away that asks to be let in. It may ask again.")
@click.argument("name")
@with_settings(WHERE)
def reject(name: str, **typed: Any) -> None:
    ask_api(settings_from(typed), lambda verbs: verbs.ask("POST", f"{_PATH}/reject", {"name": name}))
    click.echo(f"{name} was turned away")


@click.command("allow", help="Let boards with these serial numbers in without a code, each once.")
@click.argument("serials", metavar="SERIAL...", nargs=-1)
@click.option("--file", "file", type=click.File(), metavar="FILE", help="One a line, each with a node name behind it or not.")
@click.option("--name", default="", metavar="NAME", help="The only name that the (one) board may take.")
@with_settings(WHERE)
def allow(serials: tuple[str, ...], file: TextIO | None, name: str, **typed: Any) -> None:
    entries = entries_from(serials, name, file.read() if file is not None else "")

    async def ask(verbs: RemoteVerbs) -> None:
        await _change(verbs, lambda known: {**known, **{key_of(entry.serial): entry for entry in entries}})

    ask_api(settings_from(typed), ask)
    click.echo(f"{len(entries)} allowed; each lets one machine in. edgekube node allowed lists them")


def entries_from(serials: Sequence[str], name: str, text: str) -> list[AllowedSerial]:
    """What was typed and what a file says. Raises a usage error that names the line."""
    since = times.rfc3339(time.time())
    if name and (len(serials) != 1 or text):
        raise click.UsageError("--name goes with one serial number; a file has names of its own")
    if name and dns1123_subdomain(name):
        raise click.UsageError(f"--name {name!r}: give lower-case letters, digits, '-' and '.'")
    entries = [AllowedSerial(serial.strip(), name, since) for serial in serials]
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) > 2 or (len(words) == 2 and dns1123_subdomain(words[1])):
            raise click.UsageError(f"line {number}: expected a serial number and perhaps a node's name, not {line.strip()!r}")
        entries.append(AllowedSerial(words[0], words[1] if len(words) == 2 else "", since))
    if not entries or not all(normal(entry.serial) for entry in entries):
        raise click.UsageError("give serial numbers, or --file with one a line")
    return entries


@click.command("allowed", help="List the serial numbers that are allowed and not used up.")
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
@with_settings(WHERE)
def allowed(as_json: bool, **typed: Any) -> None:
    async def ask(verbs: RemoteVerbs) -> list[AllowedSerial]:
        return list((await _known(verbs))[1].values())

    entries = ask_api(settings_from(typed), ask)
    if as_json:
        import orjson

        rows = [{"serial": entry.serial, "name": entry.node_name, "since": entry.since} for entry in entries]
        click.echo(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode())
        return
    click.echo(render_allowed(entries), nl=False)


def render_allowed(entries: Sequence[AllowedSerial]) -> str:
    if not entries:
        return "no serial numbers are allowed; edgekube node allow adds some\n"
    rows = [("SERIAL", "NAME", "SINCE")]
    rows += [(entry.serial, entry.node_name or "-", entry.since) for entry in sorted(entries, key=lambda each: each.serial)]
    return _table(rows)


@click.command("disallow", help="Take serial numbers off the list. Nodes that joined by them stay.")
@click.argument("serials", metavar="SERIAL...", nargs=-1, required=True)
@with_settings(WHERE)
def disallow(serials: tuple[str, ...], **typed: Any) -> None:
    keys = {key_of(serial) for serial in serials}

    async def ask(verbs: RemoteVerbs) -> int:
        _, known = await _known(verbs)
        await _change(verbs, lambda now: {key: entry for key, entry in now.items() if key not in keys})
        return len(keys & known.keys())

    count = ask_api(settings_from(typed), ask)
    if not count:
        raise click.ClickException("none of these serial numbers was allowed: edgekube node allowed lists them")
    click.echo(f"{count} disallowed")


async def _known(verbs: RemoteVerbs) -> tuple[dict[str, Any] | None, dict[str, AllowedSerial]]:
    from edgekube.api.errors import StatusError
    from edgekube.api.kinds import SECRET

    try:
        secret = await verbs.get(SECRET, NAMESPACE, NAME)
    except StatusError as error:
        if error.reason != "NotFound":
            raise
        return None, {}
    return secret, from_secret(secret)


async def _change(verbs: RemoteVerbs, change: Callable[[dict[str, AllowedSerial]], dict[str, AllowedSerial]]) -> None:
    from edgekube.api.errors import StatusError
    from edgekube.api.kinds import SECRET

    while True:
        before, known = await _known(verbs)
        try:
            secret = as_secret(change(known).values(), before)
        except ValueError as error:
            raise click.ClickException(str(error)) from None
        try:
            if before is None:
                await verbs.create(SECRET, NAMESPACE, secret)
            else:
                await verbs.update(SECRET, secret)
            return
        except StatusError as error:
            if error.reason not in ("Conflict", "AlreadyExists", "NotFound"):
                raise


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "".join("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() + "\n" for row in rows)


COMMANDS: Final = (pending, approve, reject, allow, allowed, disallow)
