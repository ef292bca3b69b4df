"""``edgekube uninstall``: undo install.sh and everything that the server made on this machine.

Enters: settings, a yes. Leaves: a machine without edgekube; what was done, line by line.
Holds: only what is ours is touched; doing it twice, or after half of it failed, is fine.
Next: cli.removing.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from edgekube.cli import installation
from edgekube.cli.flags import settings_from, with_settings


@click.command("uninstall", help="Stop and remove edgekube, its pods, and its data from this machine.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--keep-data", is_flag=True, help="Keep state, certificates, images and settings: a later install goes on with them."
)
@with_settings(
    frozenset({"data-dir", "run-dir", "cluster-cidr", "service-cidr", "cluster-dns", "cgroup-parent", "containerd-address"})
)
def command(yes: bool, keep_data: bool, **typed: Any) -> None:
    settings = settings_from(typed)
    if os.geteuid() != 0:
        raise click.ClickException("removing pods, mounts and packet filter rules needs root: sudo edgekube uninstall")
    if not yes:
        kept = "its data stays" if keep_data else f"everything in {settings.data_dir} and {installation.CONFIG_DIR} is deleted"
        click.confirm(f"All pods on this machine end, edgekube is removed, {kept}. Go on?", abort=True)
    from edgekube.cli.removing import StillRunning, remove

    try:
        left = remove(settings, keep_data=keep_data, say=click.echo)
    except StillRunning as error:
        raise click.ClickException(str(error)) from None
    if left:
        click.echo("not everything could be removed:\n" + "\n".join(f"  {line}" for line in left), err=True)
        click.echo("a reboot ends what still holds on; then run edgekube uninstall again", err=True)
        sys.exit(1)
