"""Images in a real containerd: from archives, from a registry on loopback, kept and collected."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import orjson
import pytest
import trio
import trio.testing

from edgekube.containerd import demo_image, image_store, oci, pause_image
from edgekube.containerd.cri import CriRuntime
from edgekube.containerd.model import RegistryAuth, RuntimeFailure
from edgekube.containerd.oci import Assembled
from tests.containerd.conformance import Pods
from tests.containerd.conftest import Place
from tests.containerd.test_archive import docker_save, image, index_of, layout, row, tar
from tests.lab.images import BUSYBOX, make_demo_archive
from tests.ports import free_port

pytestmark = pytest.mark.root
MACHINE = oci.this_machine()


def tools(note: str) -> Assembled:
    """Busybox as an image of its own: the CRI removes every name of an image at once, and busybox must stay for other tests."""
    layers = [oci.layer(demo_image.toolbox_entries(BUSYBOX)), oci.layer([oci.Entry("note", note.encode())])]
    return oci.assemble(layers, oci.Run(command=["sh"]), MACHINE)


async def test_pause_image_is_pinned_and_there(runtime: CriRuntime) -> None:
    status = await runtime.image_status(pause_image.REFERENCE)
    assert status is not None
    assert status.pinned
    await pause_image.ensure(runtime)
    assert await runtime.image_status(pause_image.REFERENCE) == status


async def test_docker_save_archive_runs(runtime: CriRuntime, place: Place, tmp_path: Path) -> None:
    made = oci.assemble([oci.layer(demo_image.toolbox_entries(BUSYBOX))], oci.Run(command=["sh", "-c", "saved"]), MACHINE)
    archive = tmp_path / "saved.tar"
    archive.write_bytes(tar(docker_save(made, ["edgekube.local/saved:1"])))
    assert await runtime.import_archive(archive) == ["edgekube.local/saved:1"]
    pods = Pods(runtime, place.cgroup, tmp_path / "logs", image="edgekube.local/saved:1")
    status, log = await pods.run("echo", "from docker save")
    assert (status.exit_code, log.split(" ", 3)[3]) == (0, "from docker save\n")


async def test_an_archive_with_only_our_part_of_a_multi_platform_image_runs(
    runtime: CriRuntime, place: Place, tmp_path: Path
) -> None:
    ours, theirs = tools("multi"), image("theirs", "aarch64" if MACHINE == "x86_64" else "x86_64")
    index = index_of(theirs, ours)
    digest = oci.digest_of(index)
    name = {oci.NAME_ANNOTATION: "edgekube.local/multi:1"}
    top: dict[str, object] = {"mediaType": oci.INDEX, "digest": digest, "size": len(index), "annotations": name}
    (tmp_path / "multi.tar").write_bytes(tar(layout([top], ours.blobs, {digest: index})))
    assert await runtime.import_archive(tmp_path / "multi.tar") == ["edgekube.local/multi:1"]
    pods = Pods(runtime, place.cgroup, tmp_path / "logs", image="edgekube.local/multi:1")
    status, _ = await pods.run("true")
    assert (status.exit_code, status.reason) == (0, "Completed")


async def test_a_cancelled_import_leaves_no_image(runtime: CriRuntime, tmp_path: Path) -> None:
    big = oci.assemble([oci.layer([oci.Entry("big", bytes(48 * 1024 * 1024))])], oci.Run(command=["/big"]), MACHINE)
    oci.write_archive(tmp_path / "big.tar", {"edgekube.local/cancelled:1": big})
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runtime.import_archive, tmp_path / "big.tar")
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    assert scope.cancelled_caught
    assert await runtime.image_status("edgekube.local/cancelled:1") is None


async def test_broken_archive_leaves_no_image(runtime: CriRuntime, tmp_path: Path) -> None:
    made = image("damaged", MACHINE)
    layer = max(made.blobs, key=lambda digest: len(made.blobs[digest]))
    blobs = dict(made.blobs) | {layer: made.blobs[layer][:-512] + b"x" * 512}
    archive = tmp_path / "broken.tar"
    archive.write_bytes(tar(layout([row(made, **{oci.NAME_ANNOTATION: "edgekube.local/broken:1"})], blobs)))
    before = set(await runtime.list_images())
    with pytest.raises(RuntimeFailure, match=r"broken\.tar is not a usable image archive.*damaged"):
        await runtime.import_archive(archive)
    assert set(await runtime.list_images()) == before


async def test_a_name_moves_to_the_newer_image(runtime: CriRuntime, tmp_path: Path) -> None:
    seen = []
    for text in ("old", "new"):
        oci.write_archive(tmp_path / "moving.tar", {"edgekube.local/moving:1": image(text, MACHINE)})
        await runtime.import_archive(tmp_path / "moving.tar")
        wanted = orjson.loads(image(text, MACHINE).blobs[image(text, MACHINE).manifest])["config"]["digest"]
        with trio.fail_after(60):
            while (status := await runtime.image_status("edgekube.local/moving:1")) is None or status.id != wanted:
                await trio.lowlevel.checkpoint()
        seen.append(status.id)
    assert seen[0] != seen[1]
    await runtime.remove_image("edgekube.local/moving:1")
    await runtime.remove_image("edgekube.local/moving:1")


async def test_memory_stays_small_for_a_large_archive(runtime: CriRuntime, tmp_path: Path) -> None:
    """64 MB go through in 1 MB pieces."""
    import resource

    big = oci.assemble([oci.layer([oci.Entry("big", bytes(64 * 1024 * 1024))])], oci.Run(command=["/big"]), MACHINE)
    oci.write_archive(tmp_path / "big.tar", {"edgekube.local/big:1": big})
    del big
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    await runtime.import_archive(tmp_path / "big.tar")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024
    await runtime.remove_image("edgekube.local/big:1")


async def test_imported_images_survive_garbage_collection(runtime: CriRuntime, tmp_path: Path) -> None:
    oci.write_archive(tmp_path / "kept.tar", {"edgekube.local/kept:1": image("kept", MACHINE)})
    oci.write_archive(tmp_path / "dropped.tar", {"edgekube.local/dropped:1": image("dropped", MACHINE)})
    for name in ("kept", "dropped"):
        await runtime.import_archive(tmp_path / f"{name}.tar")
    # The CRI removes images synchronously, which runs containerd's garbage collection.
    await runtime.remove_image("edgekube.local/dropped:1")
    await runtime.import_archive(tmp_path / "dropped.tar")
    await runtime.remove_image("edgekube.local/dropped:1")
    for made, there in ((image("kept", MACHINE), True), (image("dropped", MACHINE), False)):
        sizes = await trio.to_thread.run_sync(_sizes, runtime, made)
        assert all((size is not None) == there for size in sizes)


def _sizes(runtime: CriRuntime, made: Assembled) -> list[int | None]:
    with image_store.lease(runtime.rpc) as store:
        return [store.size_bytes(digest) for digest in made.blobs]


async def test_demo_image_serves_a_page(runtime: CriRuntime, place: Place, tmp_path: Path) -> None:
    make_demo_archive(tmp_path / "demo.tar")
    assert await runtime.import_archive(tmp_path / "demo.tar") == [demo_image.DEMO_REFERENCE]
    pods = Pods(runtime, place.cgroup, tmp_path / "logs", image=demo_image.DEMO_REFERENCE)
    port = free_port()
    async with pods.sandbox() as sandbox:
        container = await pods.container(sandbox, env=(("PORT", str(port)), ("COLOR", "green")))
        page = await trio.to_thread.run_sync(_get_when_up, f"http://127.0.0.1:{port}/")
        assert page.startswith("Hello from ")
        assert "COLOR=green\n" in page
        assert await trio.to_thread.run_sync(_get_when_up, f"http://127.0.0.1:{port}/healthz") == "ok\n"
        before = trio.current_time()
        await runtime.stop_container(container, 30)
        assert trio.current_time() - before < 28, "it did not take the whole grace"


def _get_when_up(url: str) -> str:
    import time

    deadline = time.monotonic() + 60
    while True:
        try:
            with urlopen(url, timeout=30) as reply:
                return str(reply.read().decode())
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


# --- a registry


@asynccontextmanager
async def registry(directory: Path, htpasswd: str = "") -> AsyncIterator[str]:
    """Debian's docker-registry on loopback; its host:port."""
    port = free_port()
    config = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(directory / "store")}},
        "http": {"addr": f"127.0.0.1:{port}"},
        "log": {"level": "error", "accesslog": {"disabled": True}},
    }
    if htpasswd:
        (directory / "htpasswd").write_text(htpasswd)
        config["auth"] = {"htpasswd": {"realm": "test", "path": str(directory / "htpasswd")}}
    (directory / "config.yml").write_bytes(orjson.dumps(config))
    binary = shutil.which("docker-registry")
    assert binary is not None, "apt-get install docker-registry"
    process = await trio.to_thread.run_sync(
        lambda: subprocess.Popen(
            [binary, "serve", str(directory / "config.yml")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    )
    try:
        with trio.fail_after(60):
            while True:
                try:
                    stream = await trio.open_tcp_stream("127.0.0.1", port)
                except OSError:
                    await trio.sleep(0.02)
                    continue
                await stream.aclose()
                break
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def push(host: str, name: str, made: Assembled, authorization: str = "") -> None:
    """The distribution API's monolithic upload (distribution-spec, pushing blobs)."""
    headers = {"Authorization": authorization} if authorization else {}

    def send(method: str, url: str, data: bytes | None, kind: str) -> str:
        request = Request(url, data=data, method=method, headers={**headers, "Content-Type": kind})
        with urlopen(request, timeout=60) as reply:
            return str(reply.headers.get("Location", ""))

    for digest, data in made.blobs.items():
        if digest != made.manifest:
            place = send("POST", f"http://{host}/v2/{name}/blobs/uploads/", b"", "application/octet-stream")
            send("PUT", f"{place}&digest={digest}", data, "application/octet-stream")
    send("PUT", f"http://{host}/v2/{name}/manifests/1", made.blobs[made.manifest], oci.MANIFEST)


async def test_pull_from_a_registry_and_run(runtime: CriRuntime, place: Place, tmp_path: Path) -> None:
    made = tools("pulled")
    async with registry(tmp_path) as host:
        await trio.to_thread.run_sync(push, host, "team/tools", made)
        image_id = await runtime.pull_image(f"{host}/team/tools:1")
        status = await runtime.image_status(f"{host}/team/tools:1")
        assert status is not None
        assert status.id == image_id
        assert status.digests == (f"{host}/team/tools@{made.manifest}",)
        pods = Pods(runtime, place.cgroup, tmp_path / "logs", image=f"{host}/team/tools:1")
        ended, _ = await pods.run("true")
        assert ended.image_ref == f"{host}/team/tools@{made.manifest}"
        with pytest.raises(RuntimeFailure) as missing:
            await runtime.pull_image(f"{host}/team/nosuch:1")
        assert missing.value.code == "NOT_FOUND"
        await runtime.remove_image(f"{host}/team/tools:1")


async def test_pull_with_a_password(runtime: CriRuntime, tmp_path: Path) -> None:
    import base64

    hashed = "pi:$2b$05$abcdefghijklmnopqrstuufNcwg.LhweBejHk0Q4B2Xw5SAczk6Qm"  # bcrypt of raspberry
    async with registry(tmp_path, hashed) as host:
        token = "Basic " + base64.b64encode(b"pi:raspberry").decode()
        await trio.to_thread.run_sync(push, host, "secret", image("secret", MACHINE), token)
        for auth in (None, RegistryAuth("pi", "wrong")):
            with pytest.raises(RuntimeFailure, match=r"[Uu]nauthorized|authorization failed|401"):
                await runtime.pull_image(f"{host}/secret:1", auth)
        assert (await runtime.pull_image(f"{host}/secret:1", RegistryAuth("pi", "raspberry"))).startswith("sha256:")
        await runtime.remove_image(f"{host}/secret:1")


async def test_a_mirror_from_hosts_toml(runtime: CriRuntime, place: Place, tmp_path: Path) -> None:
    """registries/<host>/hosts.toml sends pulls of one registry to another (containerd docs/hosts.md), without a restart."""
    async with registry(tmp_path) as host:
        await trio.to_thread.run_sync(push, host, "app", image("mirrored", MACHINE))
        directory = place.settings.agent_dir / "registries" / "registry.factory.invalid"
        directory.mkdir(parents=True)
        (directory / "hosts.toml").write_text(f'[host."http://{host}"]\n  capabilities = ["pull", "resolve"]\n')
        assert (await runtime.pull_image("registry.factory.invalid/app:1")).startswith("sha256:")
        await runtime.remove_image("registry.factory.invalid/app:1")


async def test_an_unreachable_registry_is_an_error(runtime: CriRuntime) -> None:
    with pytest.raises(RuntimeFailure, match="connection refused"):
        await runtime.pull_image(f"127.0.0.1:{free_port()}/app:1")


def test_an_import_outlives_the_moment_at_which_a_wrong_clock_is_set() -> None:
    assert image_store.lease_ends(1_900_000_000.0) == "2030-03-17T18:46:40Z"
    assert image_store.lease_ends(60.0) > "2900", "a board in 1970 learns the time while it imports its images"
