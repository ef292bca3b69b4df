"""Mirrors, certificates and credentials of registries, as one file has them, and what containerd reads of it.

Enters: the text of registries.yaml (the form that k3s has made known).
Leaves: Registries; a hosts.toml for each registry; which credentials go to which host. ValueError names the key that is wrong.
Holds: pure. Credentials are never in hosts.toml: each is given to containerd with a pull, for the one host that it is meant for.
What containerd cannot do (rewrites beyond a prefix) is refused by name.
Source: containerd docs/hosts.md.
Next: agent.images.registries.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import Struct

from edgekube.containerd.model import RegistryAuth

MARK: Final = "# Written by edgekube from its registries file; edits are lost.\n"
_DEFAULT: Final = "_default"  # containerd's name for "*"
_WHOLE: Final = re.compile(r"\^?\(\.[*+]\)\$?")
_PREFIX: Final = re.compile(r"([a-z0-9][a-z0-9._/-]*)/\$1")
_HOST: Final = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::[0-9]+)?|\*")


class Tls(Struct, frozen=True):
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    insecure_skip_verify: bool = False


class Mirror(Struct, frozen=True):
    """Where images of a registry are asked for first; the registry itself comes last, unless it is not to be asked."""

    endpoints: tuple[str, ...] = ()
    fallback: bool = True


@dataclass(frozen=True, slots=True)
class Registries:
    mirrors: Mapping[str, Mirror] = field(default_factory=dict)
    tls: Mapping[str, Tls] = field(default_factory=dict)
    auth: Mapping[str, RegistryAuth] = field(default_factory=dict, repr=False)

    def mirror_of(self, registry: str) -> Mirror | None:
        return self.mirrors.get(registry) or self.mirrors.get("*")

    def credentials(self, registry: str) -> tuple[list[RegistryAuth], list[RegistryAuth]]:
        """Those for its mirrors, in their order, and its own; each for its host alone."""
        mirror = self.mirror_of(registry)
        hosts = [urlsplit(endpoint) for endpoint in mirror.endpoints] if mirror else []
        for_mirrors = [_for(self.auth[url.netloc], f"{url.scheme}://{url.netloc}") for url in hosts if url.netloc in self.auth]
        own = [_for(self.auth[registry], server_of(registry))] if registry in self.auth else []
        return for_mirrors, own


def server_of(registry: str) -> str:
    """``https://registry-1.docker.io`` for docker.io."""
    return "https://registry-1.docker.io" if registry == "docker.io" else f"https://{registry}"


def _for(auth: RegistryAuth, server: str) -> RegistryAuth:
    return RegistryAuth(auth.username, auth.password, server, auth.identity_token, auth.registry_token)


# --- reading


def parse(document: Any) -> Registries:
    """``document``: the loaded YAML. Raises ValueError."""
    if document is None:
        return Registries()
    _keys(document, "", {"mirrors", "configs"})
    mirrors = {_host(name): _mirror(name, body) for name, body in _table(document, "mirrors").items()}
    tls: dict[str, Tls] = {}
    auth: dict[str, RegistryAuth] = {}
    for name, body in _table(document, "configs").items():
        path = f"configs.{name}"
        _keys(body, path, {"auth", "tls"})
        if body.get("tls") is not None:
            tls[_host(name)] = _tls(body["tls"], f"{path}.tls")
        if body.get("auth") is not None:
            auth[_host(name)] = _auth(body["auth"], f"{path}.auth")
    return Registries(mirrors, tls, auth)


def _keys(value: Any, path: str, known: set[str]) -> None:
    if not isinstance(value, dict):
        raise ValueError(f"{path or 'the file'} must be a map with the keys {', '.join(sorted(known))}")
    for key in value:
        if key not in known:
            raise ValueError(f"{path + '.' if path else ''}{key} is unknown; the keys are {', '.join(sorted(known))}")


def _table(document: dict[str, Any], key: str) -> dict[str, Any]:
    table = document.get(key) or {}
    if not isinstance(table, dict):
        raise ValueError(f"{key} must be a map of registries")
    return {str(name): body if body is not None else {} for name, body in table.items()}


def _host(name: str) -> str:
    host = name.removeprefix("https://").removeprefix("http://").rstrip("/")
    if not _HOST.fullmatch(host):
        raise ValueError(f"{name!r} is not the host of a registry, such as docker.io, registry.lan:5000 or *")
    return "docker.io" if host in ("index.docker.io", "registry-1.docker.io") else host


def _mirror(name: str, body: Any) -> Mirror:
    path = f"mirrors.{name}"
    _keys(body, path, {"endpoint", "rewrite", "fallback"})
    endpoints = body.get("endpoint") or []
    if isinstance(endpoints, str):
        endpoints = [endpoints]
    if not isinstance(endpoints, list) or not all(isinstance(endpoint, str) for endpoint in endpoints):
        raise ValueError(f"{path}.endpoint must be a list of URLs")
    prefix = _prefix(body.get("rewrite") or {}, path)
    fallback = body.get("fallback", True)
    if not isinstance(fallback, bool):
        raise ValueError(f"{path}.fallback must be true or false")
    return Mirror(tuple(_endpoint(endpoint, prefix, path) for endpoint in endpoints), fallback)


def _prefix(rewrite: Any, path: str) -> str:
    if not isinstance(rewrite, dict):
        raise ValueError(f"{path}.rewrite must be a map")
    found = ""
    for pattern, replacement in rewrite.items():
        match = _PREFIX.fullmatch(str(replacement))
        if len(rewrite) > 1 or not _WHOLE.fullmatch(str(pattern)) or match is None:
            raise ValueError(
                f"{path}.rewrite: containerd puts a prefix before every name and cannot do more: write '(.*)': 'PREFIX/$1', "
                "or an endpoint such as https://mirror.lan/v2/PREFIX"
            )
        found = match[1]
    return found


def _endpoint(text: str, prefix: str, path: str) -> str:
    url = urlsplit(text if "://" in text else f"https://{text}")
    if url.scheme not in ("http", "https") or not url.hostname or url.query or url.username:
        raise ValueError(f"{path}.endpoint: {text!r} is not a URL such as https://mirror.lan:5000")
    place = url.path.rstrip("/")
    if prefix:
        place = f"{place or '/v2'}/{prefix}"
    return f"{url.scheme}://{url.netloc}{place}"


def _tls(body: Any, path: str) -> Tls:
    _keys(body, path, {"ca_file", "cert_file", "key_file", "insecure_skip_verify"})
    files = {key: str(body.get(key) or "") for key in ("ca_file", "cert_file", "key_file")}
    for key, file in files.items():
        if file and not file.startswith("/"):
            raise ValueError(f"{path}.{key} must be the absolute path of a file")
    if bool(files["cert_file"]) != bool(files["key_file"]):
        raise ValueError(f"{path}: cert_file and key_file need each other")
    return Tls(**files, insecure_skip_verify=body.get("insecure_skip_verify") is True)


def _auth(body: Any, path: str) -> RegistryAuth:
    _keys(body, path, {"username", "password", "auth", "identity_token"})
    username, password = str(body.get("username") or ""), str(body.get("password") or "")
    if body.get("auth"):
        try:
            username, colon, password = base64.b64decode(str(body["auth"])).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            colon = ""
        if not colon:
            raise ValueError(f"{path}.auth must be the base64 of USER:PASSWORD")
    token = str(body.get("identity_token") or "")
    if not username and not token:
        raise ValueError(f"{path} needs username and password, auth, or identity_token")
    return RegistryAuth(username, password, "", token)


# --- what containerd reads


def hosts_files(registries: Registries) -> dict[str, str]:
    """Directory name -> hosts.toml."""
    return {
        _DEFAULT if name == "*" else name: _hosts_toml(registries, name)
        for name in sorted(registries.mirrors.keys() | registries.tls.keys())
    }


def _hosts_toml(registries: Registries, name: str) -> str:
    mirror = registries.mirrors.get(name, Mirror())
    lines = [MARK.rstrip()]
    if name != "*":
        alone = mirror.endpoints and not mirror.fallback
        server = mirror.endpoints[0] if alone else server_of(name)
        lines.append(f"server = {_quoted(server)}")
        if alone and urlsplit(server).path:
            lines.append("override_path = true")
        lines += _tls_lines(registries.tls.get(urlsplit(server).netloc if alone else name))
    for endpoint in mirror.endpoints:
        url = urlsplit(endpoint)
        lines += ["", f"[host.{_quoted(endpoint)}]", '  capabilities = ["pull", "resolve"]']
        if url.path:
            lines.append("  override_path = true")
        lines += [f"  {line}" for line in _tls_lines(registries.tls.get(url.netloc))]
    return "\n".join(lines) + "\n"


def _tls_lines(tls: Tls | None) -> list[str]:
    if tls is None:
        return []
    lines = []
    if tls.ca_file:
        lines.append(f"ca = {_quoted(tls.ca_file)}")
    if tls.cert_file:
        lines.append(f"client = [[{_quoted(tls.cert_file)}, {_quoted(tls.key_file)}]]")
    if tls.insecure_skip_verify:
        lines.append("skip_verify = true")
    return lines


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c >= " " and c != "\x7f" else f"\\u{ord(c):04x}" for c in escaped) + '"'
