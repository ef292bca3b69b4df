"""Pulls by real containerd from a real registry: pull secrets, mirrors with a password, and who may have what came."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
import trio

from edgekube.agent.images.pulling import Images
from edgekube.agent.images.records import PullRecords
from edgekube.agent.images.registries import NodeRegistries
from edgekube.agent.problems import ImageProblem
from edgekube.containerd.cri import CriRuntime
from tests.agent.images.test_keyring import secret
from tests.containerd.conftest import Place, busybox_archive, place, runtime
from tests.containerd.test_archive import image
from tests.containerd.test_images import MACHINE, push, registry

__all__ = ["busybox_archive", "place", "runtime"]  # fixtures

pytestmark = pytest.mark.root

_HASHED = "pi:$2b$05$abcdefghijklmnopqrstuufNcwg.LhweBejHk0Q4B2Xw5SAczk6Qm"  # bcrypt of raspberry
_BASIC = "Basic " + base64.b64encode(b"pi:raspberry").decode()


async def test_secrets_and_mirrors(runtime: CriRuntime, place: Place, tmp_path: Path) -> None:
    told: list[str] = []

    def tell(kind: str, reason: str, message: str) -> None:
        told.append(message)

    file = tmp_path / "registries.yaml"
    registries = NodeRegistries(file, place.settings.agent_dir / "registries", tell)
    images = Images(runtime, records=PullRecords(tmp_path / "records"), own=registries.credentials)
    async with registry(tmp_path, _HASHED) as host:
        made = image("locked", MACHINE)
        await trio.to_thread.run_sync(push, host, "team/app", made, _BASIC)
        name = f"{host}/team/app:1"
        mine = secret({host: {"username": "pi", "password": "raspberry"}})
        wrong = secret({f"{host}/team": {"username": "pi", "password": "wrong"}}, name="wrong")

        found = await images.ensure("a", name, "IfNotPresent", [wrong, mine], tell)
        assert told[0] == f'Pulling image "{name}"'
        assert told[1].startswith(f'Successfully pulled image "{name}" in ')
        assert f"Image size: {found.size_bytes} bytes." in told[1]
        assert (await images.ensure("b", name, "Never", [mine], tell)).id == found.id
        with pytest.raises(ImageProblem) as refused:
            await images.ensure("c", name, "IfNotPresent", [], tell)
        assert refused.value.reason == "ErrImagePull"
        await runtime.remove_image(found.id)
        images.look_again()

        # The same through a mirror that wants the password, for a registry that does not exist.
        file.write_text(
            f"mirrors: {{factory.invalid: {{endpoint: ['http://{host}'], fallback: false}}}}\n"
            f"configs: {{'{host}': {{auth: {{username: pi, password: raspberry}}}}}}\n"
        )
        mirrored = await images.ensure("d", "factory.invalid/team/app:1", "Always", [], tell)
        assert mirrored.digests == (f"factory.invalid/team/app@{made.manifest}",)
        assert (await images.ensure("e", "factory.invalid/team/app:1", "IfNotPresent", [], tell)).id == mirrored.id
        with pytest.raises(ImageProblem, match=r"not found|NotFound|does not exist"):
            await images.ensure("f", "factory.invalid/no/such:1", "IfNotPresent", [], tell)
        await runtime.remove_image(mirrored.id)

        # A prefix before every name.
        file.write_text(
            f"mirrors: {{prefixed.invalid: {{endpoint: ['http://{host}'], rewrite: {{'(.*)': 'team/$1'}}}}}}\n"
            f"configs: {{'{host}': {{auth: {{username: pi, password: raspberry}}}}}}\n"
        )
        prefixed = await images.ensure("g", "prefixed.invalid/app:1", "Always", [], tell)
        await runtime.remove_image(prefixed.id)
    file.unlink()
    registries.refresh()
    assert not (place.settings.agent_dir / "registries" / "prefixed.invalid").exists()
