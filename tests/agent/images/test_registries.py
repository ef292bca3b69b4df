"""The registries file is followed, and what is wrong in it does no harm."""

from __future__ import annotations

import os
from pathlib import Path

from edgekube.agent.images.keyring import Credential
from edgekube.agent.images.registries import NodeRegistries
from edgekube.containerd.model import RegistryAuth

IMAGE = "registry.lan/app:1"
OF_POD = [Credential(RegistryAuth("pod", "p"))]


def write(file: Path, text: str, age_seconds: int) -> None:
    file.write_text(text)
    os.utime(file, (1_000_000 - age_seconds, 1_000_000 - age_seconds))


def test_changes_hold_from_the_next_pull_on(tmp_path: Path) -> None:
    file, hosts, told = tmp_path / "registries.yaml", tmp_path / "registries", []
    by_hand = hosts / "by-hand.lan" / "hosts.toml"
    by_hand.parent.mkdir(parents=True)
    by_hand.write_text("server = 'x'\n")
    registries = NodeRegistries(file, hosts, lambda *event: told.append(event))
    assert registries.credentials(IMAGE, OF_POD) == OF_POD

    write(file, "mirrors: {registry.lan: {endpoint: ['http://m.lan']}}\nconfigs: {m.lan: {auth: {username: a, password: b}}}", 30)
    tried = [(item.auth.username, item.auth.server_address) for item in registries.credentials(IMAGE, OF_POD)]
    assert tried == [("a", "http://m.lan"), ("pod", "https://registry.lan")]
    assert 'host."http://m.lan"' in (hosts / "registry.lan" / "hosts.toml").read_text()
    assert (hosts / "registry.lan").stat().st_mode & 0o077 == 0

    write(file, "mirrors: {registry.lan: {endpoint: ['ftp://m.lan']}}", 20)
    assert len(registries.credentials(IMAGE, OF_POD)) == 2, "what was read last still holds"
    assert told == [("Warning", "InvalidRegistriesFile", told[0][2])]
    assert "'ftp://m.lan' is not a URL" in told[0][2]
    write(file, "a: [", 15)
    assert registries.credentials(IMAGE, [])[0].auth.username == "a"
    assert "not YAML" in told[1][2]

    file.unlink()
    assert registries.credentials(IMAGE, OF_POD) == OF_POD
    assert [path.name for path in hosts.iterdir()] == ["by-hand.lan"]
    assert len(told) == 2
