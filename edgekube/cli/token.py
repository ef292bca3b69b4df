"""``edgekube token``: the tokens that machines join with.

Enters: settings, what a token shall allow. Leaves: the token, shown once; a list without secrets.
Holds: the server stores a salted hash, so a token that was not copied is made anew, never looked up. Next: pki.join_token.
"""

from __future__ import annotations

import re
import time
from typing import Any, Final

import click

from edgekube.api import times
from edgekube.api.join_tokens import NAMESPACE, TYPE, USES_MAX, TokenRecord, as_secret, record_of, secret_name
from edgekube.cli.flags import settings_from, with_settings
from edgekube.cli.reaching import WHERE, ask_api

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_TTL_DEFAULT: Final = "24h"


def lifetime(context: click.Context, parameter: click.Parameter, value: str) -> float | None:
    """Seconds of 30m, 24h, 7d; None for never."""
    if value == "never":
        return None
    match = re.fullmatch(r"([1-9][0-9]{0,5})([smhd])", value)
    if match is None:
        raise click.BadParameter(f"{value!r}: give a time such as 30m, 24h or 7d, or never")
    return float(match[1]) * _UNITS[match[2]]


@click.group("token", help="Tokens that machines join the cluster with. Runs on a server.")
def command() -> None:
    pass


@command.command("create", help="Make a token and print it. It cannot be shown again.")
@click.option(
    "--ttl", callback=lifetime, default=_TTL_DEFAULT, show_default=True, metavar="TIME", help="How long it is good for."
)
@click.option("--uses", type=click.IntRange(1, USES_MAX), default=1, show_default=True, metavar="N", help="How many machines.")
@click.option("--multi-use", is_flag=True, help="Any number of machines, until it expires.")
@click.option("--description", default="", metavar="TEXT", help="What it is for; token list shows it.")
@with_settings(WHERE)
def create(ttl: float | None, uses: int, multi_use: bool, description: str, **typed: Any) -> None:
    from edgekube.api.cluster_facts import NAME, facts_from
    from edgekube.api.kinds import CONFIGMAP, SECRET
    from edgekube.client.remote import RemoteVerbs
    from edgekube.pki.join_token import certificates_of, fingerprint, hash_of, new_salt, new_token

    settings = settings_from(typed)

    async def make(verbs: RemoteVerbs) -> tuple[str, tuple[str, ...]]:
        facts = facts_from((await verbs.get(CONFIGMAP, NAMESPACE, NAME)).get("data") or {})
        token = new_token(fingerprint(certificates_of(facts.authorities)[0]))
        salt = new_salt()
        expires_at = None if ttl is None else time.time() + ttl
        left = None if multi_use else uses
        record = TokenRecord(token.id, salt, hash_of(salt, token.secret), expires_at, left, description)
        await verbs.create(SECRET, NAMESPACE, as_secret(record))
        return token.text, facts.servers

    text, servers = ask_api(settings, make)
    click.echo(text)
    where = " ".join(f"--server {server}" for server in servers)
    click.echo(f"on the new machine, with this token in a file: sudo edgekube agent {where} --token-file FILE", err=True)


@command.command("list", help="List the tokens; never their secrets.")
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
@with_settings(WHERE)
def list_tokens(as_json: bool, **typed: Any) -> None:
    from edgekube.api.kinds import SECRET
    from edgekube.api.verbs import ListOptions
    from edgekube.client.remote import RemoteVerbs

    async def ask(verbs: RemoteVerbs) -> list[TokenRecord]:
        page = await verbs.list(SECRET, NAMESPACE, ListOptions(field_selector=f"type={TYPE}"))
        return [record for secret in page.objects() if (record := record_of(secret)) is not None]

    records = ask_api(settings_from(typed), ask)
    now = time.time()
    if as_json:
        import orjson

        click.echo(orjson.dumps([_shown(record, now) for record in records], option=orjson.OPT_INDENT_2).decode())
        return
    click.echo(render(records, now), nl=False)


def render(records: list[TokenRecord], now: float) -> str:
    """The table that ``token list`` prints."""
    lines = ["ID      EXPIRES   USES       USED  DESCRIPTION"]
    for record in sorted(records, key=lambda each: each.expires_at or float("inf")):
        expires = "never" if record.expires_at is None else "expired"
        if record.expires_at is not None and record.expires_at > now:
            expires = times.age(record.expires_at - now)
        lines.append(f"{record.id}  {expires:<8}  {record.uses():<9}  {len(record.used_by):<4}  {record.description}".rstrip())
    return "\n".join(lines) + "\n" if records else "no tokens; edgekube token create makes one\n"


def _shown(record: TokenRecord, now: float) -> dict[str, Any]:
    return {
        "id": record.id,
        "expires": None if record.expires_at is None else times.rfc3339(record.expires_at),
        "closed": record.closed(now),
        "usesLeft": record.uses_left,
        "usedBy": list(record.used_by),
        "description": record.description,
    }


@command.command("delete", help="Make a token useless at once. Nodes that have joined with it stay.")
@click.argument("token_id", metavar="ID")
@with_settings(WHERE)
def delete(token_id: str, **typed: Any) -> None:
    from edgekube.api.errors import StatusError
    from edgekube.api.kinds import SECRET
    from edgekube.client.remote import RemoteVerbs

    # Whoever pastes the whole token means its id; the secret is not to be repeated.
    token_id = token_id.rpartition("::")[2].partition(".")[0]

    async def ask(verbs: RemoteVerbs) -> None:
        try:
            await verbs.delete(SECRET, NAMESPACE, secret_name(token_id))
        except StatusError as error:
            if error.reason == "NotFound":
                raise click.ClickException(f"there is no token {token_id}: edgekube token list shows them") from None
            raise

    ask_api(settings_from(typed), ask)
    click.echo(f"token {token_id} deleted")
