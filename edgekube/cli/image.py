"""``edgekube image``: what images this node has, and how more get there without a registry.

Enters: archives (OCI layout or docker-save, tar or tar.gz). Leaves: images in the node's containerd.
Next: containerd.archive, containerd.demo_image.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from edgekube.cli.flags import settings_from, with_settings
from edgekube.containerd.cri import CriRuntime
from edgekube.containerd.model import RuntimeFailure
from edgekube.settings import Settings

T = TypeVar("T")

_WHERE: Final = frozenset({"run-dir", "data-dir", "containerd-address"})
#: Debian's busybox-static; other distributions put theirs elsewhere.
_BUSYBOX: Final = (Path("/bin/busybox"), Path("/usr/bin/busybox"), Path("/bin/busybox.static"))


@click.group("image", help="The images of this node.")
def command() -> None:
    pass


@command.command("list", help="List the images that this node has.")
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
@with_settings(_WHERE)
def list_images(as_json: bool, **typed: Any) -> None:
    async def ask(runtime: CriRuntime) -> list[dict[str, Any]]:
        return [
            {"name": tag, "sizeBytes": image.size_bytes, "id": image.id}
            for image in await runtime.list_images()
            for tag in image.tags or image.digests
        ]

    images = sorted(_with_runtime(settings_from(typed), ask), key=lambda image: str(image["name"]))
    if as_json:
        import orjson

        click.echo(orjson.dumps(images, option=orjson.OPT_INDENT_2).decode())
        return
    for image in images:
        click.echo(f"{image['sizeBytes'] / 1024 / 1024:8.1f} MiB  {image['name']}")
    if not images:
        click.echo("no images yet; edgekube image demo makes one to try", err=True)


@command.command("import", help="Import image archives: docker save, skopeo, buildah or podman write them.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@with_settings(_WHERE)
def import_files(files: tuple[Path, ...], **typed: Any) -> None:
    settings = settings_from(typed)
    for path in files:
        for name in _import(settings, path):
            click.echo(f"imported {name}")


@command.command("demo", help="Make and import a small web page to try the cluster with; needs no registry.")
@with_settings(_WHERE)
def demo(**typed: Any) -> None:
    from edgekube.containerd.demo_image import write_demo_archive

    settings = settings_from(typed)
    busybox = next((path for path in _BUSYBOX if path.is_file()), None)
    if busybox is None:
        raise click.ClickException("the demo image is made of a static busybox: sudo apt-get install busybox-static")
    with tempfile.TemporaryDirectory(prefix="edgekube-demo-") as scratch:
        archive = Path(scratch) / "demo.tar"
        try:
            write_demo_archive(busybox, archive)
        except (OSError, subprocess.SubprocessError) as error:
            raise click.ClickException(f"cannot make an image of {busybox}: {error}") from None
        for name in _import(settings, archive):
            click.echo(f"imported {name}")


def _import(settings: Settings, path: Path) -> list[str]:
    async def ask(runtime: CriRuntime) -> list[str]:
        return await runtime.import_archive(path)

    return _with_runtime(settings, ask, what=f"{path} was not imported")


def _with_runtime(settings: Settings, ask: Callable[[CriRuntime], Awaitable[T]], *, what: str = "containerd refused") -> T:
    import trio

    from edgekube.containerd.cri import connect

    address = settings.containerd_address or str(settings.containerd_state / "containerd.sock")

    async def run() -> T:
        async with connect(address) as runtime:
            return await ask(runtime)

    try:
        return trio.run(run)
    except RuntimeFailure as failure:
        if failure.code == "UNAVAILABLE":
            raise click.ClickException(
                f"no containerd answers at {address}: run this with sudo, and see edgekube status"
            ) from None
        raise click.ClickException(f"{what}: {failure.message}") from None
    except OSError as error:
        raise click.ClickException(f"{what}: {error}") from None
