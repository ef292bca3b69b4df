"""Which credentials a pull gets, by the rules that the kubelet has."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest

from edgekube.agent.images.keyring import credentials_for, repository_of
from edgekube.api.objects import Object
from edgekube.containerd.model import RegistryAuth


def secret(auths: dict[str, Any], *, old: bool = False, name: str = "s") -> Object:
    document = auths if old else {"auths": auths}
    key, kind = (".dockercfg", "dockercfg") if old else (".dockerconfigjson", "dockerconfigjson")
    data = {key: base64.b64encode(orjson.dumps(document)).decode()}
    return {"metadata": {"name": name, "namespace": "default", "uid": name}, "type": f"kubernetes.io/{kind}", "data": data}


def login(name: str) -> dict[str, str]:
    return {"username": name, "password": "p"}


def users(secrets: list[Object], image: str) -> list[str]:
    return [credential.auth.username for credential in credentials_for(secrets, image)]


def test_the_more_specific_is_tried_first() -> None:
    secrets = [
        secret(
            {
                "registry.example:5000": login("all"),
                "https://registry.example:5000/v2/team": login("team"),
                "other.example": login("other"),
            }
        )
    ]
    assert users(secrets, "registry.example:5000/team/app:1") == ["team", "all"]
    assert users(secrets, "registry.example:5000/else:1") == ["all"]
    assert users(secrets, "registry.example/team/app:1") == []  # another port


def test_secrets_keep_their_order_for_one_place() -> None:
    secrets = [secret({"r.example": login("first")}), secret({"r.example": login("second")}, old=True)]
    assert users(secrets, "r.example/app:1") == ["first", "second"]


@pytest.mark.parametrize(
    ("location", "image", "fits"),
    [
        ("*.example.org", "a.example.org/app:1", True),
        ("*.example.org", "example.org/app:1", False),
        ("*.example.org", "a.b.example.org/app:1", False),
        ("*.*.example.org", "a.b.example.org/app:1", True),
        ("prefix*.example.org", "prefix7.example.org/app:1", True),
        ("*.example.org:8443", "a.example.org/app:1", False),
        ("*.example.org/team", "a.example.org/team/app:1", True),
        ("*.example.org/team", "a.example.org/tea:1", False),
    ],
)
def test_wildcards_stand_for_a_part_of_the_host(location: str, image: str, fits: bool) -> None:
    assert users([secret({location: login("me")})], image) == (["me"] if fits else [])


@pytest.mark.parametrize("location", ["https://index.docker.io/v1/", "index.docker.io", "docker.io", "http://docker.io/v2/"])
def test_docker_hub_has_several_names(location: str) -> None:
    assert users([secret({location: login("me")})], "docker.io/library/busybox:latest") == ["me"]


def test_auth_is_user_and_password_and_beats_both() -> None:
    packed = base64.b64encode(b"me:se:cret").decode().rstrip("=")
    (found,) = credentials_for([secret({"r.example": {**login("not me"), "auth": packed}})], "r.example/app:1")
    assert (found.auth.username, found.auth.password) == ("me", "se:cret")
    assert found.source is not None
    assert (found.source.namespace, found.source.name, found.source.uid) == ("default", "s", "s")


@pytest.mark.parametrize(
    "auths", [{"r.example": {"auth": base64.b64encode(b"nocolon").decode()}}, {"r.example": {"auth": "***"}}, {"r.example": 3}, 7]
)
def test_what_cannot_be_read_is_an_error(auths: Any) -> None:
    with pytest.raises(ValueError, match="pull secret default/s"):
        credentials_for([secret(auths)], "r.example/app:1")


def test_secrets_of_other_types_are_none() -> None:
    other = secret({"r.example": login("me")})
    other["type"] = "Opaque"
    assert credentials_for([other], "r.example/app:1") == []
    assert users([secret({"r.example": login("pod")})], "r.example/app:1") == ["pod"]


def test_repositories() -> None:
    assert repository_of("host:5000/a/b:tag@sha256:" + "0" * 64) == "host:5000/a/b"
    assert repository_of("host:5000/a") == "host:5000/a"


def test_what_a_log_shows_of_credentials_lets_nobody_in() -> None:
    auth = RegistryAuth("pi", "pw-1", "registry.example.org", "identity-2", "registry-3")
    shown = f"{auth!r} {auth}"
    assert "registry.example.org" in shown
    assert not any(secret in shown for secret in ("pw-1", "identity-2", "registry-3"))
