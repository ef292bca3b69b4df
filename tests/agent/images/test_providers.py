"""Programs that give credentials for images, as the kubelet runs them."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
import trio

from edgekube.agent.images.providers import CredentialProviders, load

V1 = "credentialprovider.kubelet.k8s.io/v1"
SHOP: dict[str, Any] = {
    "name": "shop",
    "matchImages": ["*.shop.example:5000/tools"],
    "defaultCacheDuration": "1h",
    "apiVersion": V1,
}


def config(place: Path, *rows: dict[str, Any]) -> Path:
    file = place / "providers.yaml"
    document = {"apiVersion": "kubelet.config.k8s.io/v1", "kind": "CredentialProviderConfig", "providers": list(rows)}
    file.write_text(json.dumps(document))
    return file


def program(place: Path, name: str, script: str) -> None:
    (place / name).write_text(f"#!/bin/sh\n{script}\n")
    (place / name).chmod(stat.S_IRWXU)


def response(auth: dict[str, Any], key: str = "Registry", **more: Any) -> str:
    told = {"kind": "CredentialProviderResponse", "apiVersion": V1, "cacheKeyType": key, "auth": auth, **more}
    return f"echo asked >> $0.asked; cat > $0.stdin; echo '{json.dumps(told)}'"


def loaded(place: Path, *rows: dict[str, Any]) -> CredentialProviders:
    found = load(config(place, *rows), place)
    assert found is not None
    return found


def asked(place: Path) -> int:
    return len((place / "shop.asked").read_text().split())


async def users(providers: CredentialProviders, repository: str) -> list[str]:
    return [each.auth.username for each in await providers.credentials(repository)]


async def test_a_program_is_asked_once_for_a_registry(tmp_path: Path) -> None:
    places = {"*.shop.example:5000": {"username": "all", "password": "p"}, "a.shop.example:5000/tools": {"username": "tools"}}
    program(tmp_path, "shop", response(places) + '; [ "$1 $WHERE" = "get here" ]')
    providers = loaded(tmp_path, {**SHOP, "args": ["get"], "env": [{"name": "WHERE", "value": "here"}]})
    assert await users(providers, "docker.io/library/busybox") == []
    assert await users(providers, "a.shop.example:5000/other") == [] and not (tmp_path / "shop.asked").exists()

    found: list[list[str]] = []

    async def ask() -> None:
        found.append(await users(providers, "a.shop.example:5000/tools/saw"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        nursery.start_soon(ask)
    assert found == [["tools", "all"]] * 2 and asked(tmp_path) == 1
    told = json.loads((tmp_path / "shop.stdin").read_text())
    assert told == {"kind": "CredentialProviderRequest", "apiVersion": V1, "image": "a.shop.example:5000/tools/saw"}
    assert await users(providers, "b.shop.example:5000/tools/saw") == ["all"] and asked(tmp_path) == 2


@pytest.mark.parametrize(("key", "more", "times"), [("Image", {}, 2), ("Global", {}, 1), ("Global", {"cacheDuration": "0s"}, 3)])
async def test_answers_are_kept_as_long_as_they_say(key: str, more: dict[str, str], times: int, tmp_path: Path) -> None:
    program(tmp_path, "shop", response({"a.shop.example:5000": {"username": "u"}}, key, **more))
    providers = loaded(tmp_path, SHOP)
    for name in ("saw", "axe", "axe"):
        assert await users(providers, f"a.shop.example:5000/tools/{name}") == ["u"]
    assert asked(tmp_path) == times


@pytest.mark.parametrize(
    "script",
    [
        "exit 3",
        "echo nonsense",
        "echo '[]'",
        f"""echo '{{"kind": "CredentialProviderResponse", "apiVersion": "{V1}"}}'""",
        "kill $$",
    ],
)
async def test_one_that_fails_gives_nothing(script: str, tmp_path: Path) -> None:
    program(tmp_path, "shop", script)
    assert await users(loaded(tmp_path, SHOP), "a.shop.example:5000/tools") == []


async def test_one_that_says_too_much_is_ended_and_not_read_on(tmp_path: Path) -> None:
    program(tmp_path, "shop", "echo $$ > $0.pid; exec cat /dev/zero")
    assert await users(loaded(tmp_path, SHOP), "a.shop.example:5000/tools") == []
    assert not Path(f"/proc/{(tmp_path / 'shop.pid').read_text().strip()}").exists()


async def test_one_that_complains_at_length_still_answers(tmp_path: Path) -> None:
    told = response({"a.shop.example:5000": {"username": "u"}})
    program(tmp_path, "shop", f"head -c 3000000 /dev/zero >&2; {told}")
    assert await users(loaded(tmp_path, SHOP), "a.shop.example:5000/tools") == ["u"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"name": "../sh"}, r"providers\[0\].name: '../sh' is not the name of a program"),
        ({"matchImages": []}, r"providers\[0\].matchImages: at least 1 item is required"),
        ({"matchImages": "*.example.com"}, r"providers\[0\].matchImages: a list is wanted"),
        ({"env": [{"value": "x"}]}, r"providers\[0\].env\[0\]: name and value are wanted"),
        ({"argz": ["-v"]}, r"providers\[0\].argz: unknown field"),
        ({"defaultCacheDuration": None}, r"defaultCacheDuration: is required"),
        ({"defaultCacheDuration": "soon"}, r"providers\[0\].defaultCacheDuration: "),
        ({"apiVersion": "v2"}, r"providers\[0\].apiVersion: 'v2' is none of credentialprovider"),
        ({"tokenAttributes": {}}, r"tokenAttributes: tokens of service accounts are not given"),
        ({"name": "nobody"}, "there is no program .*/nobody"),
    ],
)
def test_a_configuration_that_is_wrong_is_refused(change: dict[str, Any], why: str, tmp_path: Path) -> None:
    program(tmp_path, "shop", "")
    with pytest.raises(ValueError, match=why):
        load(config(tmp_path, {**SHOP, **change}), tmp_path)
    with pytest.raises(ValueError, match="are given together"):
        load(config(tmp_path, SHOP), None)
    with pytest.raises(ValueError, match="Duplicate value: 'shop'"):
        load(config(tmp_path, SHOP, SHOP), tmp_path)
    assert load(None, None) is None
