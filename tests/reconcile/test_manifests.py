"""Files in the manifests directory become objects, change with them and go with them; a bad file loses nothing."""

import json
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from edgekube import limits
from edgekube.api.errors import StatusError
from edgekube.api.kinds import CONFIGMAP, DEPLOYMENT, NAMESPACE
from edgekube.api.verbs import Verbs
from edgekube.reconcile.manifests import Manifests
from tests.reconcile.conftest import Api

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: web:1}]
"""


class Desk:
    def __init__(self, directory: Path, verbs: Verbs) -> None:
        self.directory = directory
        self.verbs = verbs
        directory.mkdir(exist_ok=True)
        self.manifests = Manifests(directory, verbs)
        self._writes = 0

    async def write(self, name: str, text: str) -> None:
        self._writes += 1
        (self.directory / name).write_text(text + "\n" * self._writes)  # another size, whatever the clock's resolution
        await self.manifests.look()

    async def data(self, name: str, namespace: str = "default") -> Any:
        try:
            return (await self.verbs.get(CONFIGMAP, namespace, name)).get("data")
        except StatusError as error:
            return error.reason


@pytest.fixture
async def desk(tmp_path: Path, api: Api) -> Desk:
    return Desk(tmp_path / "manifests", api.verbs)


def config_map(name: str, **data: str) -> str:
    lines = "".join(f"  {key}: {value}\n" for key, value in data.items())
    return f"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata:\n{lines}"


async def test_a_file_is_applied_changed_and_pruned(desk: Desk) -> None:
    await desk.write("app.yaml", config_map("one", a="x", b="y") + config_map("two", c="z"))
    assert await desk.data("one") == {"a": "x", "b": "y"} and await desk.data("two") == {"c": "z"}
    await desk.write("app.yaml", config_map("one", a="w"))
    assert await desk.data("one") == {"a": "w"} and await desk.data("two") == "NotFound"
    (desk.directory / "app.yaml").unlink()
    await desk.manifests.look()
    assert await desk.data("one") == "NotFound"


async def test_an_unchanged_file_asks_nothing(desk: Desk) -> None:
    await desk.write("app.yaml", config_map("one", a="x"))
    before = await desk.verbs.get(CONFIGMAP, "default", "one")
    await desk.manifests.look()
    again = Desk(desk.directory, desk.verbs)
    await again.manifests.look()
    after = await desk.verbs.get(CONFIGMAP, "default", "one")
    assert before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]


async def test_what_other_people_scale_is_theirs_until_the_manifest_says_otherwise(desk: Desk) -> None:
    await desk.write("web.yaml", WEB.replace("  replicas: 2\n", ""))
    await desk.verbs.patch(DEPLOYMENT, "default", "web", {"spec": {"replicas": 5}})
    await desk.write("web.yaml", WEB.replace("  replicas: 2\n", "").replace("web:1", "web:2"))
    found = await desk.verbs.get(DEPLOYMENT, "default", "web")
    assert found["spec"]["replicas"] == 5 and found["spec"]["template"]["spec"]["containers"][0]["image"] == "web:2"


async def test_files_removed_while_nobody_looked_are_pruned_after_a_restart(desk: Desk) -> None:
    await desk.write("app.yaml", config_map("one", a="x"))
    (desk.directory / "app.yaml").unlink()
    await Desk(desk.directory, desk.verbs).manifests.look()
    assert await desk.data("one") == "NotFound"


async def test_an_object_that_moves_to_another_file_stays(desk: Desk) -> None:
    await desk.write("a.yaml", config_map("one", a="x"))
    uid = (await desk.verbs.get(CONFIGMAP, "default", "one"))["metadata"]["uid"]
    await desk.write("b.yaml", config_map("one", a="x"))
    (desk.directory / "a.yaml").unlink()
    await desk.manifests.look()
    assert (await desk.verbs.get(CONFIGMAP, "default", "one"))["metadata"]["uid"] == uid


@pytest.mark.parametrize(
    "text",
    ["a: [", "just words", "apiVersion: v9\nkind: Nothing\nmetadata: {name: x}", "apiVersion: v1\nkind: ConfigMap", "\x00"],
)
async def test_a_bad_file_keeps_what_it_had_brought(desk: Desk, text: str, caplog: pytest.LogCaptureFixture) -> None:
    await desk.write("app.yaml", config_map("one", a="x"))
    await desk.write("app.yaml", text)
    assert await desk.data("one") == {"a": "x"}
    assert "file=app.yaml not applied" in caplog.text


async def test_a_file_that_could_not_be_applied_is_tried_again(desk: Desk, autojump_clock: MockClock) -> None:
    await desk.write("app.yaml", config_map("one", a="x").replace("{name: one}", "{name: one, namespace: later}"))
    assert await desk.data("one", "later") == "NotFound"
    await desk.verbs.create(NAMESPACE, "", {"metadata": {"name": "later"}})
    await trio.sleep(limits.MANIFEST_RETRY_SECONDS)
    await desk.manifests.look()
    assert await desk.data("one", "later") == {"a": "x"}


async def test_json_and_lists_are_manifests_too_and_other_files_are_not(desk: Desk) -> None:
    items = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "x"}} for name in ("one", "two")]
    await desk.write("app.json", json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    await desk.write("notes.txt", config_map("three", a="x"))
    await desk.write(".hidden.yaml", config_map("four", a="x"))
    assert [await desk.data(name) for name in ("one", "two", "three", "four")] == [{"a": "x"}, {"a": "x"}, "NotFound", "NotFound"]
