"""Files of static pods: what lies there runs, whatever happens to the directory while it is looked at."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from edgekube.agent.static.keeper import StaticPods, look
from edgekube.agent.static.manifest import ManifestError, static_pod
from edgekube.api.objects import Object, name_of, uid_of
from edgekube.settings import Settings

POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: NAME}\nspec: {containers: [{name: main, image: busybox}]}\n"


class Workers:
    """Who runs, by uid; the API is away, and this node is known to nobody."""

    def __init__(self, directory: Path) -> None:
        self.running: dict[str, Object] = {}

        async def node_object(*, fresh: bool) -> Object:
            await trio.sleep_forever()
            raise AssertionError

        node: Any = SimpleNamespace(settings=Settings(node_name="n1"), node_object=node_object)
        self.keeper = StaticPods(
            directory,
            node,
            begin=lambda pod: self.running.__setitem__(uid_of(pod), pod),
            end=lambda uid: self.running.__delitem__(uid),
            running=lambda name: self.everything().get(name, []),
            told=lambda uid, mirror: None,
        )

    def everything(self) -> dict[tuple[str, str], list[str]]:
        return {("default", name_of(pod)): [uid] for uid, pod in self.running.items()}

    def names(self) -> list[str]:
        return sorted(name_of(pod) for pod in self.running.values())

    def look(self) -> None:
        self.keeper.read()
        self.keeper.end_unwanted(self.everything())


def test_a_directory_that_cannot_be_read_ends_no_pod(tmp_path: Path) -> None:
    directory = tmp_path / "manifests"
    directory.mkdir()
    (directory / "a.yaml").write_text(POD.replace("NAME", "a"))
    (directory / "gone.yaml").symlink_to("nothing")
    workers = Workers(directory)
    workers.look()
    assert workers.names() == ["a-n1"]

    directory.rename(tmp_path / "kept")
    directory.write_text("in its place")
    assert look(directory) is None
    workers.look()
    assert workers.names() == ["a-n1"]

    directory.unlink()
    (tmp_path / "kept").rename(directory)
    (directory / "b.yaml").write_text(POD.replace("NAME", "b"))
    workers.look()
    assert workers.names() == ["a-n1", "b-n1"]
    (directory / "a.yaml").unlink()
    workers.look()
    assert workers.names() == ["b-n1"]


async def test_files_are_followed_while_this_node_is_known_to_nobody(tmp_path: Path, autojump_clock: object) -> None:
    (tmp_path / "a.yaml").write_text(POD.replace("NAME", "a"))
    workers = Workers(tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(workers.keeper.run, workers.everything)
        with trio.fail_after(300):
            while workers.names() != ["a-n1"]:  # noqa: ASYNC110 (files are looked at by the clock)
                await trio.sleep(1)
            (tmp_path / "b.yaml").write_text(POD.replace("NAME", "b"))
            while workers.names() != ["a-n1", "b-n1"]:  # noqa: ASYNC110
                await trio.sleep(1)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("uid", ["../../x", "a/b", ".."])
def test_a_uid_is_no_path(uid: str) -> None:
    raw = POD.replace("NAME", f"a, uid: {uid}").encode()
    with pytest.raises(ManifestError, match="cannot name a directory"):
        static_pod(raw, "/manifests/a.yaml", "n1")
