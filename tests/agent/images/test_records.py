"""Images that a secret brought are kept from pods that lack it, across restarts and crashes."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from edgekube.agent.images.keyring import Credential, SecretId
from edgekube.agent.images.records import ALLOWLISTED, ALWAYS, NEVER, PRELOADED, PullRecords, check_allowlist, must_verify
from edgekube.containerd.model import Image, RegistryAuth

REPOSITORY = "r.example/app"
ID = "sha256:" + "1" * 64


def of(name: str, content: str = "h1", uid: str = "") -> Credential:
    return Credential(RegistryAuth("u", "p"), SecretId("default", name, uid or name, content))


async def pull(records: PullRecords, credential: Credential | None, repository: str = REPOSITORY) -> None:
    await records.begin(f"{repository}:1")
    await records.succeeded(repository, ID, credential, 0.0)
    records.ended(f"{repository}:1", known=True)


async def test_only_who_proved_it_and_equals(tmp_path: Path) -> None:
    await pull(PullRecords(tmp_path), of("a"))
    records = PullRecords(tmp_path)  # the next process
    assert records.was_pulled(f"{REPOSITORY}:1", ID)
    assert await records.allows(ID, REPOSITORY, [of("a")], 0.0)
    assert await records.allows(ID, REPOSITORY, [of("copy")], 0.0), "another secret with the same content"
    assert await records.allows(ID, REPOSITORY, [of("a", "h2")], 0.0), "the same secret with a new password"
    assert not await records.allows(ID, REPOSITORY, [of("b", "h9")], 0.0)
    assert not await records.allows(ID, REPOSITORY, [of("a", "h9", uid="made anew")], 0.0)
    assert not await records.allows(ID, REPOSITORY, [], 0.0)
    assert not await records.allows(ID, "r.example/other", [of("a")], 0.0), "the same image by another name"
    (file,) = (tmp_path / "pulled").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "password" not in file.read_text()


async def test_renewed_credentials_are_remembered(tmp_path: Path) -> None:
    records = PullRecords(tmp_path)
    await pull(records, of("a"))
    assert await records.allows(ID, REPOSITORY, [of("a", "h2")], 0.0)
    assert await PullRecords(tmp_path).allows(ID, REPOSITORY, [of("copy", "h2")], 0.0)


async def test_pulled_without_credentials_it_is_everybodys(tmp_path: Path) -> None:
    records = PullRecords(tmp_path)
    await pull(records, of("a"))
    await pull(records, None)
    assert await records.allows(ID, REPOSITORY, [], 0.0)
    await pull(records, of("b"))
    assert await PullRecords(tmp_path).allows(ID, REPOSITORY, [], 0.0)


async def test_a_crash_in_the_middle_leaves_an_image_that_asks_for_proof(tmp_path: Path) -> None:
    await PullRecords(tmp_path).begin("app:1")
    records = PullRecords(tmp_path)
    assert records.was_pulled("app:1", ID)
    assert records.intents() == ["app:1"]
    await records.recover([Image(ID, ("docker.io/library/app:1",), (), 1)], {"app:1": "docker.io/library/app:1"}, 0.0)
    assert records.intents() == []
    assert records.was_pulled("app:1", ID)
    assert not await records.allows(ID, "docker.io/library/app", [of("a")], 0.0)


async def test_a_pull_that_was_given_up_is_not_forgotten(tmp_path: Path) -> None:
    records = PullRecords(tmp_path)
    await records.begin("app:1")
    await records.begin("app:1")
    records.ended("app:1", known=True)
    assert records.was_pulled("app:1", ID), "the other goes on"
    records.ended("app:1", known=False)
    assert records.was_pulled("app:1", ID)
    await records.begin("app:1")
    records.ended("app:1", known=True)
    assert not records.was_pulled("app:1", ID)


async def test_records_go_with_their_images_and_broken_ones_ask_for_proof(tmp_path: Path) -> None:
    records = PullRecords(tmp_path)
    await pull(records, None)
    (file,) = (tmp_path / "pulled").iterdir()
    file.write_text("{")
    again = PullRecords(tmp_path)
    assert again.was_pulled("x", ID)
    assert not await again.allows(ID, REPOSITORY, [of("a")], 0.0)
    again.prune([ID])
    assert file.exists()
    again.prune(["sha256:2"])
    assert not file.exists()
    assert not again.was_pulled("x", ID)


def test_policies() -> None:
    def asked(policy: str, *, pulled: bool, repository: str = REPOSITORY) -> bool:
        return must_verify(policy, ("r.example/free/*", "r.example/app"), repository, pulled=pulled)

    assert [asked(policy, pulled=True) for policy in (NEVER, PRELOADED, ALWAYS)] == [False, True, True]
    assert [asked(policy, pulled=False) for policy in (NEVER, PRELOADED, ALWAYS)] == [False, False, True]
    assert not asked(ALLOWLISTED, pulled=True)
    assert not asked(ALLOWLISTED, pulled=True, repository="r.example/free/a/b")
    assert asked(ALLOWLISTED, pulled=False, repository="r.example/apps")


@pytest.mark.parametrize("pattern", ["", "*", "/*", "a*/b", " a", "r.example/app:1", "r.example/*/x/*"])
def test_patterns_that_are_none(pattern: str) -> None:
    with pytest.raises(ValueError, match="give"):
        check_allowlist(pattern)
