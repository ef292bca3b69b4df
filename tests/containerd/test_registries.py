"""The registries file, what containerd reads of it, and who gets which credentials."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import yaml

from edgekube.containerd.registries import MARK, Registries, hosts_files, parse

FILE = """
mirrors:
  docker.io:
    endpoint: [https://mirror.lan:5000, http://old.lan]
  "*":
    endpoint: [https://everything.lan/v2/proxy]
  factory.lan:
    endpoint: mirror.lan:5000
    rewrite: {"^(.*)$": "factory/$1"}
    fallback: false
configs:
  mirror.lan:5000:
    auth: {username: board, password: secret}
    tls: {ca_file: /etc/ca.crt, cert_file: /etc/client.crt, key_file: /etc/client.key}
  docker.io:
    auth: {auth: %s}
  self-signed.lan:
    tls: {insecure_skip_verify: true}
""" % base64.b64encode(b"hub:pass:word").decode()  # noqa: UP031 (braces all over)


@pytest.fixture
def registries() -> Registries:
    return parse(yaml.safe_load(FILE))


def test_what_containerd_reads(registries: Registries) -> None:
    files = hosts_files(registries)
    assert sorted(files) == ["_default", "docker.io", "factory.lan", "mirror.lan:5000", "self-signed.lan"]
    assert files["docker.io"] == (
        MARK + 'server = "https://registry-1.docker.io"\n'
        "\n"
        '[host."https://mirror.lan:5000"]\n'
        '  capabilities = ["pull", "resolve"]\n'
        '  ca = "/etc/ca.crt"\n'
        '  client = [["/etc/client.crt", "/etc/client.key"]]\n'
        "\n"
        '[host."http://old.lan"]\n'
        '  capabilities = ["pull", "resolve"]\n'
    )
    assert files["_default"] == (
        MARK + '\n[host."https://everything.lan/v2/proxy"]\n  capabilities = ["pull", "resolve"]\n  override_path = true\n'
    )
    assert files["factory.lan"].startswith(
        MARK + 'server = "https://mirror.lan:5000/v2/factory"\noverride_path = true\nca = "/etc/ca.crt"\n'
    )
    assert files["self-signed.lan"] == MARK + 'server = "https://self-signed.lan"\nskip_verify = true\n'
    assert not any("secret" in text or "hub" in text for text in files.values())


def test_each_password_goes_to_one_host(registries: Registries) -> None:
    mirrors, own = registries.credentials("docker.io")
    assert [(auth.username, auth.server_address) for auth in mirrors] == [("board", "https://mirror.lan:5000")]
    assert [(auth.username, auth.password, auth.server_address) for auth in own] == [
        ("hub", "pass:word", "https://registry-1.docker.io")
    ]
    assert registries.credentials("quay.io") == ([], [])
    assert "secret" not in repr(registries)


def test_toml_is_read_as_it_was_meant(registries: Registries) -> None:
    import tomllib

    for text in hosts_files(registries).values():
        tomllib.loads(text)


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ([], "the file must be a map with the keys configs, mirrors"),
        ({"mirror": {}}, "mirror is unknown; the keys are configs, mirrors"),
        ({"mirrors": []}, None),
        ({"mirrors": {"a b": {}}}, "'a b' is not the host of a registry"),
        ({"mirrors": {"r.lan": {"endpoints": []}}}, "mirrors.r.lan.endpoints is unknown; the keys are endpoint"),
        ({"mirrors": {"r.lan": {"endpoint": [7]}}}, "mirrors.r.lan.endpoint must be a list of URLs"),
        ({"mirrors": {"r.lan": {"endpoint": ["ftp://x"]}}}, "'ftp://x' is not a URL"),
        ({"mirrors": {"r.lan": {"rewrite": {"^a/(.*)": "b/$1"}}}}, "containerd puts a prefix before every name"),
        ({"mirrors": {"r.lan": {"fallback": "no"}}}, "must be true or false"),
        ({"configs": {"r.lan": {"auth": {}}}}, "configs.r.lan.auth needs username and password"),
        ({"configs": {"r.lan": {"auth": {"auth": "x"}}}}, "must be the base64 of USER:PASSWORD"),
        ({"configs": {"r.lan": {"tls": {"ca_file": "ca.crt"}}}}, "must be the absolute path of a file"),
        ({"configs": {"r.lan": {"tls": {"cert_file": "/c"}}}}, "cert_file and key_file need each other"),
    ],
)
def test_what_is_wrong_is_named(document: Any, complaint: str | None) -> None:
    if complaint is None:
        assert parse(document) == Registries()
        return
    with pytest.raises(ValueError, match=complaint.replace("[", r"\[")):
        parse(document)


def test_an_empty_file_says_nothing() -> None:
    assert parse(None) == Registries()
    assert hosts_files(Registries()) == {}
