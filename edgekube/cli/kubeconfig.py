"""``edgekube kubeconfig``: the administrator's kubeconfig, for this machine or for a laptop.

Enters: the file that the server wrote, another address for it. Leaves: YAML on standard output, or a file of mode 0600.
Holds: nothing but the server's URL is changed; a file is never readable by others, not even while it is written.
Next: kubectl.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from edgekube.cli.flags import settings_from, with_settings
from edgekube.settings import Settings


@click.command("kubeconfig", help="Print the administrator's kubeconfig.")
@click.option("--server", metavar="URL", help="Put this address into it, for use from another machine: https://pi-7:6443.")
@click.option("--out", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Write it there, mode 0600.")
@with_settings(frozenset({"data-dir", "https-port"}))
def command(server: str | None, out: Path | None, **typed: Any) -> None:
    settings = settings_from(typed)
    text = read(settings)
    if server:
        text = with_server(text, server_url(server, settings.https_port))
    if out is None:
        click.echo(text, nl=False)
        return
    try:
        write(out, text)
    except OSError as error:
        raise click.ClickException(f"{out} cannot be written: {error.strerror}") from None
    click.echo(f"written to {out}; use it with: export KUBECONFIG={out.resolve()}", err=True)


def read(settings: Settings) -> str:
    try:
        return settings.kubeconfig.read_text()
    except PermissionError:
        raise click.ClickException("the kubeconfig is the key to the whole cluster, so only root reads it: use sudo") from None
    except OSError as error:
        raise click.ClickException(
            f"{settings.kubeconfig}: {error.strerror}; the server writes it at its first start (edgekube status shows how it is)"
        ) from None


def server_url(text: str, port: int) -> str:
    """https://HOST:PORT from a URL, or from HOST or HOST:PORT alone. Raises click.UsageError."""
    try:
        url = urlsplit(text if "://" in text else f"https://{text}")
        wanted_port = url.port or port
    except ValueError as error:
        raise click.UsageError(f"--server {text}: {error}") from None
    if url.scheme != "https" or not url.hostname or url.path.strip("/") or url.query or url.username:
        raise click.UsageError(f"--server {text}: give https://HOST:PORT, for example https://pi-7.local:{port}")
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    return f"https://{host}:{wanted_port}"


def with_server(text: str, url: str) -> str:
    """The kubeconfig with another address of its one cluster."""
    lines = text.splitlines(keepends=True)
    changed = [f"    server: {url}\n" if line.startswith("    server: ") else line for line in lines]
    if changed == lines and f"    server: {url}\n" not in lines:
        raise click.ClickException("the kubeconfig was changed by hand and has no line 'server:' to replace")
    return "".join(changed)


def write(path: Path, text: str) -> None:
    scratch = path.with_name(f".{path.name}.new")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(file.fileno(), 0o600)
        _give_to_caller_of_sudo(file.fileno(), path)
        file.write(text)
    scratch.replace(path)


def _give_to_caller_of_sudo(descriptor: int, path: Path) -> None:
    """``sudo edgekube kubeconfig --out ~/.kube/config`` is meant for the person, not for root. Only in their own directory."""
    uid, gid = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    if os.geteuid() == 0 and uid.isdecimal() and gid.isdecimal() and path.resolve().parent.stat().st_uid == int(uid):
        os.fchown(descriptor, int(uid), int(gid))
