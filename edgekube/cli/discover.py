"""``edgekube discover``: which clusters announce themselves on this LAN.

Enters: how long to listen. Leaves: a table, or JSON. Holds: needs no root, no cluster and no server address; exit code 1 when
nothing was heard. What it prints was said by anybody on the network: it finds addresses and proves nothing.
Next: discovery.browse.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import asdict

if TYPE_CHECKING:
    from edgekube.discovery.announcement import Announcement
    from edgekube.discovery.seen import Seen

_COLUMNS = ("CLUSTER", "ID", "CA", "ROLE", "NODE", "VERSION", "ADDRESS")


@click.command("discover", help="List the clusters and nodes that announce themselves on this LAN (mDNS).")
@click.option("--timeout", metavar="SECONDS", type=click.FloatRange(0.1, 600), default=3.0, help="How long to listen (3).")
@click.option(
    "--settle",
    metavar="SECONDS",
    type=click.FloatRange(0.1, 600),
    default=None,
    help="Stop earlier, once something was heard and nothing new for so long.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(timeout: float, settle: float | None, as_json: bool) -> None:
    import trio

    seen, problem = trio.run(_listen, timeout, settle)
    if as_json:
        click.echo(as_text(seen))
    else:
        click.echo(as_table(seen), nl=False)
    if problem:
        click.echo(f"edgekube: {problem}", err=True)
    if not len(seen):
        if not problem:
            click.echo(
                "edgekube: nothing announced itself. A server does unless it runs with --disable mdns; switches and access "
                "points that isolate their ports keep mDNS (UDP port 5353) from passing.",
                err=True,
            )
        sys.exit(1)


async def _listen(seconds: float, settle_seconds: float | None) -> tuple[Seen, str]:
    import trio

    from edgekube.discovery.browse import browse
    from edgekube.discovery.seen import Seen

    seen = Seen()
    async with browse(seen) as browsing:
        with trio.move_on_after(seconds):
            if settle_seconds is None:
                await trio.sleep_forever()
            await browsing.settled(settle_seconds)
        return seen, browsing.problem


def as_table(seen: Seen) -> str:
    """One line a machine; several clusters stand apart."""
    rows: list[tuple[str, ...]] = [_COLUMNS]
    for _, announcements in sorted(seen.clusters().items()):
        rows += [_row(announcement) for announcement in announcements]
    if len(rows) == 1:
        return ""
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    return "".join("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n" for row in rows)


def _row(announcement: Announcement) -> tuple[str, ...]:
    return (
        announcement.cluster_name,
        announcement.cluster_id[:8],
        announcement.ca[:12],
        announcement.role,
        announcement.node,
        announcement.version,
        ", ".join(_with_port(address, announcement.port) for address in announcement.addresses),
    )


def _with_port(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def as_text(seen: Seen) -> str:
    """JSON: a list of clusters, each with its machines."""
    clusters: list[dict[str, Any]] = []
    for (cluster_id, ca), announcements in sorted(seen.clusters().items()):
        name = announcements[0].cluster_name
        clusters.append({"id": cluster_id, "name": name, "ca": ca, "nodes": [_node(each) for each in announcements]})
    return json.dumps({"clusters": clusters}, indent=2)


def _node(announcement: Announcement) -> dict[str, Any]:
    told = asdict(announcement)
    return {key: told[key] for key in ("node", "role", "version", "addresses", "port")}
