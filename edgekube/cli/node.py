"""``edgekube node``: which machines are nodes, and which are no longer.

Enters: settings, a node's name. Leaves: the Node, its pods and its key, as they shall be.
Holds: what is removed may join again; what is revoked may not, under no name of its own choosing, until it is removed.
Next: api.node_identity; the server acts on the Secret from the moment it is written.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from edgekube.api import times
from edgekube.api.node_identity import NAMESPACE, TYPE, NodeIdentity, as_secret, identity_of, secret_name
from edgekube.cli import node_pairing
from edgekube.cli.flags import settings_from, with_settings
from edgekube.cli.reaching import WHERE, ask_api

if TYPE_CHECKING:
    from edgekube.api.objects import Object
    from edgekube.client.remote import RemoteVerbs


@click.group("node", help="The machines of the cluster. Runs on a server.")
def command() -> None:
    pass


for _command in node_pairing.COMMANDS:
    command.add_command(_command)


@command.command("list", help="List the nodes, by which key they are known and how they came in.")
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
@with_settings(WHERE)
def list_nodes(as_json: bool, **typed: Any) -> None:
    async def ask(verbs: RemoteVerbs) -> list[dict[str, str]]:
        return await _rows(verbs)

    rows = ask_api(settings_from(typed), ask)
    if as_json:
        import orjson

        click.echo(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode())
        return
    click.echo(render(rows), nl=False)


async def _rows(verbs: RemoteVerbs) -> list[dict[str, str]]:
    from edgekube.api.kinds import NODE, SECRET
    from edgekube.api.objects import name_of
    from edgekube.api.verbs import ListOptions

    secrets = await verbs.list(SECRET, NAMESPACE, ListOptions(field_selector=f"type={TYPE}"))
    identities = {found.node_name: found for secret in secrets.objects() if (found := identity_of(secret)) is not None}
    nodes = {name_of(node): node for node in (await verbs.list(NODE)).objects()}
    return [row(name, identities.get(name), nodes.get(name)) for name in sorted({*identities, *nodes})]


def row(name: str, identity: NodeIdentity | None, node: Object | None) -> dict[str, str]:
    """One node as ``node list`` shows it."""
    status = "not registered"
    address = ""
    if node is not None:
        conditions = (node.get("status") or {}).get("conditions") or []
        ready = next((each.get("status") for each in conditions if each.get("type") == "Ready"), None)
        status = {"True": "Ready", "False": "NotReady", "Unknown": "silent"}.get(str(ready), "starting")
        addresses = (node.get("status") or {}).get("addresses") or []
        address = next((str(each.get("address")) for each in addresses if each.get("type") == "InternalIP"), "")
    if identity is not None and identity.revoked:
        status = "revoked"
    return {
        "name": name,
        "status": status,
        "address": address,
        "key": identity.public_key if identity is not None else "",
        "method": identity.method if identity is not None else "",
        "serial": identity.serial if identity is not None else "",
        "revoked": identity.revoked if identity is not None else "",
    }


def render(rows: list[dict[str, str]]) -> str:
    heads = ("NAME", "STATUS", "ADDRESS", "JOINED BY", "SERIAL", "KEY")
    cells = [heads] + [
        (row["name"], row["status"], row["address"], row["method"], row["serial"], row["key"][:16]) for row in rows
    ]
    widths = [max(len(line[i]) for line in cells) for i in range(len(heads))]
    return "".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() + "\n" for line in cells
    )


@command.command("remove", help="Take a node out of the cluster. The machine may join again, as may another one of this name.")
@click.argument("name")
@with_settings(WHERE)
def remove(name: str, **typed: Any) -> None:
    async def ask(verbs: RemoteVerbs) -> bool:
        from edgekube.api.kinds import SECRET

        identity = await _identity(verbs, name)
        if identity is not None:
            await _close_tokens(verbs, identity.public_key)
            # Before the Node: what the machine does from now on is refused, so it cannot register the Node anew.
            await _delete(verbs, SECRET, NAMESPACE, secret_name(name))
        return await _clear(verbs, name) or identity is not None

    if not ask_api(settings_from(typed), ask):
        raise click.ClickException(f"there is no node {name}: edgekube node list shows them")
    click.echo(f"node {name} removed")


@command.command("revoke", help="Refuse a stolen machine from now on: its certificate, its pods' tokens, its return.")
@click.argument("name")
@with_settings(WHERE)
def revoke(name: str, **typed: Any) -> None:
    async def ask(verbs: RemoteVerbs) -> bool:
        identity = await _identity(verbs, name)
        if identity is not None:
            await _revoke(verbs, name)
            await _close_tokens(verbs, identity.public_key)
        return await _clear(verbs, name) or identity is not None

    if not ask_api(settings_from(typed), ask):
        raise click.ClickException(f"there is no node {name}: edgekube node list shows them")
    click.echo(f"node {name} revoked; edgekube node remove {name} lets the name be used again")


async def _identity(verbs: RemoteVerbs, name: str) -> NodeIdentity | None:
    from edgekube.api.errors import StatusError
    from edgekube.api.kinds import SECRET

    try:
        identity = identity_of(await verbs.get(SECRET, NAMESPACE, secret_name(name)))
    except StatusError as error:
        if error.reason != "NotFound":
            raise
        return None
    if identity is not None and identity.method == "server":
        raise click.ClickException(f"{name} is a server's own node: it leaves with the server (edgekube uninstall)")
    return identity


async def _revoke(verbs: RemoteVerbs, name: str) -> None:
    from edgekube.api.errors import StatusError
    from edgekube.api.kinds import SECRET

    while True:
        secret = await verbs.get(SECRET, NAMESPACE, secret_name(name))
        identity = identity_of(secret)
        if identity is None:
            raise click.ClickException(f"the Secret {secret_name(name)} is no node's identity")
        if identity.revoked:
            return
        try:
            await verbs.update(SECRET, as_secret(replace(identity, revoked=times.rfc3339(time.time())), secret))
            return
        except StatusError as error:
            if error.reason != "Conflict":
                raise


async def _close_tokens(verbs: RemoteVerbs, public_key: str) -> None:
    """A token that this key has used admits it once more if an answer was lost: not any longer. Others are named."""
    from edgekube.api import join_tokens
    from edgekube.api.errors import StatusError
    from edgekube.api.kinds import SECRET
    from edgekube.api.verbs import ListOptions

    page = await verbs.list(SECRET, NAMESPACE, ListOptions(field_selector=f"type={join_tokens.TYPE}"))
    for secret in page.objects():
        record = join_tokens.record_of(secret)
        if record is None or record.closed(time.time()) == "expired":
            continue
        if public_key in record.used_by:
            others = tuple(key for key in record.used_by if key != public_key)
            record = replace(record, used_by=others)
            try:
                await verbs.update(SECRET, join_tokens.as_secret(record, secret))
            except StatusError as error:
                if error.reason not in ("Conflict", "NotFound"):
                    raise
                click.echo(f"token {record.id} is being used just now: delete it, if the machine may hold it", err=True)
        if not record.closed(time.time()):
            click.echo(f"token {record.id} lets machines join still; edgekube token delete {record.id} ends that", err=True)


async def _clear(verbs: RemoteVerbs, name: str) -> bool:
    """The Node and its pods, at once: nobody is there to end them in order. Was there a Node?"""
    from edgekube.api.kinds import NODE, POD
    from edgekube.api.objects import name_of, namespace_of
    from edgekube.api.verbs import DeleteOptions, ListOptions

    known = await _delete(verbs, NODE, "", name)
    pods = await verbs.list(POD, "", ListOptions(field_selector=f"spec.nodeName={name}"))
    for pod in pods.objects():
        await _delete(verbs, POD, namespace_of(pod), name_of(pod), DeleteOptions(grace_period_seconds=0))
    return known


async def _delete(verbs: RemoteVerbs, kind: Any, namespace: str, name: str, options: Any = None) -> bool:
    from edgekube.api.errors import StatusError
    from edgekube.api.verbs import DEFAULT_DELETE

    try:
        await verbs.delete(kind, namespace, name, options or DEFAULT_DELETE)
    except StatusError as error:
        if error.reason != "NotFound":
            raise
        return False
    return True
