"""``edgekube image``: what images this node has, and how more get there and away again without a registry.

Enters: archives (OCI layout or docker-save, tar files, plain or compressed), names. Leaves: images in containerd, archives.
Holds: what a container uses or what is pinned goes only by force, and nothing at all without being named or confirmed.
Next: containerd.archive, containerd.exporting, containerd.demo_image.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from edgekube.cli.flags import settings_from, with_settings
from edgekube.containerd.cri import CriRuntime
from edgekube.containerd.model import Image, RuntimeFailure
from edgekube.containerd.reference import normalize
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
        used = await _used(runtime)
        return [
            {
                "name": name,
                "sizeBytes": image.size_bytes,
                "id": image.id,
                "pinned": image.pinned,
                "inUse": _in_use(image, used),
            }
            for image in await runtime.list_images()
            for name in image.tags or image.digests or (image.id,)
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


@command.command(
    "import", help="Import image archives: docker save, skopeo, buildah, podman and edgekube image export write them."
)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@with_settings(_WHERE)
def import_files(files: tuple[Path, ...], **typed: Any) -> None:
    settings = settings_from(typed)
    for path in files:
        for name in _import(settings, path):
            click.echo(f"imported {name}")


@command.command("export", help="Write images into an archive (OCI layout) that docker, podman and edgekube read.")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--output", "-o", required=True, metavar="FILE", help="The archive; .gz at its end compresses it.")
@with_settings(_WHERE)
def export_images(names: tuple[str, ...], output: str, **typed: Any) -> None:
    import trio

    from edgekube.containerd.exporting import export

    target = Path(output)
    if not target.parent.is_dir():
        raise click.ClickException(f"{target} was not written: there is no directory {target.parent}; make it first")
    full = [_full(name) for name in names]

    async def ask(runtime: CriRuntime) -> None:
        with _bar(target.name) as progress:
            await trio.to_thread.run_sync(
                lambda: export(runtime.rpc, full, target, compress=target.suffix in (".gz", ".tgz"), progress=progress)
            )

    _with_runtime(settings_from(typed), ask, what=f"{target} was not written")
    click.echo(f"exported {', '.join(full)} to {target} ({target.stat().st_size / 1024 / 1024:.1f} MiB)")


@command.command("remove", help="Remove images by name, or by id with all their names.")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--force", is_flag=True, help="Also those that a container uses or that are pinned.")
@with_settings(_WHERE)
def remove_images(names: tuple[str, ...], force: bool, **typed: Any) -> None:
    async def ask(runtime: CriRuntime) -> None:
        used = await _used(runtime)
        for name in names:
            by_id = name.startswith("sha256:")
            reference = name if by_id else _full(name)
            image = await runtime.image_status(reference)
            if image is None:
                raise click.ClickException(f"there is no image {reference} on this node")
            if not force and (image.pinned or _in_use(image, used)):
                why = "pinned: the node itself needs it" if image.pinned else "used by a container"
                raise click.ClickException(f"{reference} is {why}; --force removes it all the same")
            if by_id:
                await runtime.remove_image(reference)
            else:
                await runtime.remove_name(reference)
            click.echo(f"removed {reference}")

    _with_runtime(settings_from(typed), ask)


@command.command("prune", help="Remove all images that no container of this node uses.")
@click.option("--dry-run", is_flag=True, help="Only say which.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@with_settings(_WHERE)
def prune_images(dry_run: bool, yes: bool, **typed: Any) -> None:
    async def look(runtime: CriRuntime) -> list[Image]:
        used = await _used(runtime)
        return [image for image in await runtime.list_images() if not image.pinned and not _in_use(image, used)]

    settings = settings_from(typed)
    unused = sorted(_with_runtime(settings, look), key=lambda image: -image.size_bytes)
    for image in unused:
        click.echo(f"{image.size_bytes / 1024 / 1024:8.1f} MiB  {', '.join(image.tags or image.digests or (image.id,))}")
    if not unused:
        click.echo("every image is used")
    if dry_run or not unused:
        return
    if not yes:
        click.confirm("Remove them? Without a registry they come back only from archives.", abort=True)

    async def remove(runtime: CriRuntime) -> None:
        for image in unused:
            await runtime.remove_image(image.id)

    _with_runtime(settings, remove)
    click.echo(f"removed {len(unused)} images, {sum(image.size_bytes for image in unused) / 1024 / 1024:.1f} MiB")


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


def _full(name: str) -> str:
    try:
        return normalize(name)
    except ValueError as error:
        raise click.ClickException(str(error)) from None


async def _used(runtime: CriRuntime) -> set[str]:
    return {container.image_ref for container in await runtime.list_containers()}


def _in_use(image: Image, used: set[str]) -> bool:
    return not used.isdisjoint((image.id, *image.tags, *image.digests))


@contextmanager
def _bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on the terminal; nothing where there is none."""
    import sys

    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    with click.progressbar(length=1000, label=label, file=sys.stderr, show_eta=True) as bar:
        shown = 0

        def progress(done: int, total: int) -> None:
            nonlocal shown
            now = done * 1000 // max(1, total)
            if now > shown:
                bar.update(now - shown)
                shown = now

        yield progress


def _import(settings: Settings, path: Path) -> list[str]:
    async def ask(runtime: CriRuntime) -> list[str]:
        with _bar(path.name) as progress:
            return await runtime.import_archive(path, progress)

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
