"""Which credentials a pull may use: those of the pod's pull secrets that fit the image, most specific first.

Enters: secrets (kubernetes.io/dockerconfigjson, dockercfg) in the pod's order, an image's name.
Leaves: Credentials to try one after the other.
Holds: pure; a host may have wildcards, part by part (``*.example.org``), a path must begin the image's path. A secret that cannot
be read is an error (ValueError), as a pull without it may bring another image.
Source: Kubernetes documentation, "Images", "Interpretation of config.json"; pkg/credentialprovider.
Next: agent.images.pulling, agent.images.records.
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
import hashlib
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

import orjson
from msgspec import Struct

from edgekube.agent.env import secret_data
from edgekube.api.objects import Object, name_of, namespace_of, uid_of
from edgekube.containerd.model import RegistryAuth

_JSON: Final = (".dockerconfigjson", "kubernetes.io/dockerconfigjson")
_OLD: Final = (".dockercfg", "kubernetes.io/dockercfg")
DEFAULT_REGISTRY_KEY: Final = "index.docker.io"


class SecretId(Struct, frozen=True):
    """Whose credentials they were; the hash is of user name, password and address of mail."""

    namespace: str
    name: str
    uid: str
    credential_hash: str


class Credential(Struct, frozen=True):
    auth: RegistryAuth
    #: None: the node's own, which every pod of the node may use.
    source: SecretId | None = None


def repository_of(full_name: str) -> str:
    """``docker.io/library/busybox`` of ``docker.io/library/busybox:1@sha256:…``."""
    name = full_name.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def credentials_for(secrets: Iterable[Object], full_name: str) -> list[Credential]:
    """``full_name``: normalised (containerd.reference). Raises ValueError."""
    keyring: dict[str, list[Credential]] = {}
    for secret in secrets:
        for location, entry in _entries(secret).items():
            key = _key(location)
            if key:
                keyring.setdefault(key, []).append(_credential(secret, entry))
    repository = repository_of(full_name)
    found = [credential for key in sorted(keyring, reverse=True) if fits(key, repository) for credential in keyring[key]]
    if not found and repository.split("/", 1)[0] in ("docker.io", DEFAULT_REGISTRY_KEY):
        found = keyring.get(DEFAULT_REGISTRY_KEY, [])
    return found


def _entries(secret: Object) -> dict[str, Object]:
    data, kind = secret_data(secret), secret.get("type")
    try:
        if data.get(_JSON[0]) and kind in (_JSON[1], None):
            found = orjson.loads(data[_JSON[0]]).get("auths") or {}
        elif data.get(_OLD[0]) and kind in (_OLD[1], None):
            found = orjson.loads(data[_OLD[0]])
        else:
            return {}
        return {str(location): dict(entry) for location, entry in found.items()}
    except (ValueError, AttributeError, TypeError):
        raise ValueError(f"pull secret {namespace_of(secret)}/{name_of(secret)} is not a readable docker configuration") from None


def _credential(secret: Object, entry: Object) -> Credential:
    username, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if entry.get("auth"):
        try:
            text = str(entry["auth"])
            username, colon, password = base64.b64decode(text + "=" * (-len(text) % 4)).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            colon = ""
        if not colon:
            raise ValueError(
                f"pull secret {namespace_of(secret)}/{name_of(secret)}: unable to parse auth field, "
                "must be formatted as base64(username:password)"
            )
    hashed = orjson.dumps({"username": username, "password": password, "email": entry.get("email") or ""})
    source = SecretId(namespace_of(secret), name_of(secret), uid_of(secret), hashlib.sha256(hashed).hexdigest())
    return Credential(RegistryAuth(username, password, "", str(entry.get("identitytoken") or "")), source)


def _key(location: str) -> str:
    """Host and path; /v1/ and /v2/ count as the host alone. "" when it is no location."""
    value = location if location.startswith(("https://", "http://")) else f"https://{location}"
    try:
        parsed = urlsplit(value)
    except ValueError:
        return ""
    path = parsed.path[3:] if parsed.path.startswith(("/v1/", "/v2/")) else parsed.path
    return parsed.netloc if path in ("", "/") else parsed.netloc + path


def fits(key: str, repository: str) -> bool:
    host, _, path = key.partition("/")
    image_host, _, image_path = repository.partition("/")
    name, port = _split_port(host)
    image_name, image_port = _split_port(image_host)
    parts, image_parts = name.split("."), image_name.split(".")
    return (
        port == image_port
        and len(parts) == len(image_parts)
        and image_path.startswith(path)
        and all(fnmatch.fnmatchcase(image_part, part) for part, image_part in zip(parts, image_parts, strict=True))
    )


def _split_port(host: str) -> tuple[str, str]:
    name, colon, port = host.rpartition(":")
    return (name, port) if colon and port.isdigit() else (host, "")
