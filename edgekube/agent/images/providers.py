"""Credentials by programs that an administrator put on the node: the kubelet's credential provider plugins.

Enters: a CredentialProviderConfig, the directory of the programs; a repository that is to be pulled.
Leaves: Credentials for it, those of the more specific place first; none where no program knows the image.
Holds: a program is asked when an image is pulled, never while images are here; what it said is kept as long as it said. One that
fails gives nothing, and the log says why: the pull goes on with what else there is. Every pod of the node may use what they give.
Bound: limits.CREDENTIAL_PROVIDER_*.
Source: Kubernetes documentation, "Configure a kubelet image credential provider"; k8s.io/kubelet pkg/apis/credentialprovider.
Next: agent.images.pulling.
"""

from __future__ import annotations

import logging
import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import orjson
import trio
from msgspec import Struct

from edgekube.agent.images.keyring import Credential, fits
from edgekube.api.durations import seconds_of
from edgekube.containerd.model import RegistryAuth
from edgekube.limits import (
    CREDENTIAL_PROVIDER_ANSWER_BYTES_MAX,
    CREDENTIAL_PROVIDER_ANSWERS_KEPT_MAX,
    CREDENTIAL_PROVIDER_SECONDS_MAX,
)

#: Of what a program says to stderr, the end goes into the log.
_COMPLAINT_BYTES: Final = 500

log = logging.getLogger("edgekube.agent")

_CONFIGS: Final = tuple(f"kubelet.config.k8s.io/{version}" for version in ("v1", "v1beta1", "v1alpha1"))
_VERSIONS: Final = tuple(f"credentialprovider.kubelet.k8s.io/{version}" for version in ("v1", "v1beta1", "v1alpha1"))
_FIELDS: Final = frozenset({"name", "matchImages", "defaultCacheDuration", "apiVersion", "args", "env", "tokenAttributes"})
_KEYS: Final = ("Image", "Registry", "Global")


class Provider(Struct, frozen=True):
    name: str
    match_images: tuple[str, ...]
    cache_seconds: float
    api_version: str
    arguments: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()


def parse(document: Any) -> list[Provider]:
    """Raises ValueError, which names the field."""
    if not isinstance(document, dict) or document.get("kind") != "CredentialProviderConfig":
        raise ValueError("kind: CredentialProviderConfig is wanted")
    if document.get("apiVersion") not in _CONFIGS:
        raise ValueError(f"apiVersion: {document.get('apiVersion')!r} is none of {', '.join(_CONFIGS)}")
    rows = document.get("providers")
    if not isinstance(rows, list) or not rows:
        raise ValueError("providers: at least 1 item in plugins is required")
    found = [_provider(row, f"providers[{number}]") for number, row in enumerate(rows)]
    names = [provider.name for provider in found]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"providers: Duplicate value: {name!r}")
    return found


def _provider(row: Any, where: str) -> Provider:
    if not isinstance(row, dict):
        raise ValueError(f"{where}: a mapping is wanted")
    name = str(row.get("name") or "")
    if not name or name in (".", "..") or "/" in name or " " in name:
        raise ValueError(f"{where}.name: {name!r} is not the name of a program")
    for key in row:
        if key not in _FIELDS:
            raise ValueError(f"{where}.{key}: unknown field")
    for key in ("matchImages", "args", "env"):
        if row.get(key) is not None and not isinstance(row[key], list):
            raise ValueError(f"{where}.{key}: a list is wanted")
    for number, item in enumerate(row.get("env") or ()):
        if not isinstance(item, dict) or not item.get("name"):
            raise ValueError(f"{where}.env[{number}]: name and value are wanted")
    images = row.get("matchImages") or ()
    if not images:
        raise ValueError(f"{where}.matchImages: at least 1 item is required")
    if row.get("defaultCacheDuration") is None:
        raise ValueError(f"{where}.defaultCacheDuration: is required")
    if row.get("apiVersion") not in _VERSIONS:
        raise ValueError(f"{where}.apiVersion: {row.get('apiVersion')!r} is none of {', '.join(_VERSIONS)}")
    if row.get("tokenAttributes") is not None:
        raise ValueError(f"{where}.tokenAttributes: tokens of service accounts are not given to providers by this node")
    return Provider(
        name,
        tuple(str(image) for image in images),
        _seconds(row["defaultCacheDuration"], f"{where}.defaultCacheDuration"),
        str(row["apiVersion"]),
        tuple(str(argument) for argument in row.get("args") or ()),
        tuple((str(item["name"]), str(item.get("value") or "")) for item in row.get("env") or ()),
    )


def _seconds(text: Any, where: str) -> float:
    try:
        seconds = seconds_of(str(text))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    if seconds < 0:
        raise ValueError(f"{where}: must be greater than or equal to 0")
    return seconds


def request(provider: Provider, repository: str) -> bytes:
    return orjson.dumps({"kind": "CredentialProviderRequest", "apiVersion": provider.api_version, "image": repository})


class Answer(Struct, frozen=True):
    #: What the answer holds for: "" everything, a registry, or one repository.
    key: str
    seconds: float
    by_place: tuple[tuple[str, RegistryAuth], ...]


def answer(provider: Provider, repository: str, raw: bytes) -> Answer:
    """Raises ValueError."""
    told = orjson.loads(raw)
    if not isinstance(told, dict) or told.get("kind") != "CredentialProviderResponse":
        raise ValueError("no CredentialProviderResponse")
    if told.get("apiVersion") != provider.api_version:
        raise ValueError(f"apiVersion {told.get('apiVersion')!r} instead of {provider.api_version!r}")
    kind = told.get("cacheKeyType")
    if kind not in _KEYS:
        raise ValueError(f"cacheKeyType {kind!r} is none of {', '.join(_KEYS)}")
    duration = told.get("cacheDuration")
    return Answer(
        {"Image": repository, "Registry": repository.partition("/")[0], "Global": ""}[kind],
        provider.cache_seconds if duration is None else _seconds(duration, "cacheDuration"),
        tuple(
            (str(place), RegistryAuth(str(auth.get("username") or ""), str(auth.get("password") or "")))
            for place, auth in sorted((told.get("auth") or {}).items(), reverse=True)
        ),
    )


class CredentialProviders:
    def __init__(self, providers: list[Provider], programs: Path) -> None:
        self._providers = providers
        self._programs = programs
        #: (provider, key) -> until when, what.
        self._kept: dict[tuple[str, str], tuple[float, Answer]] = {}
        self._asking = trio.Lock()

    async def credentials(self, repository: str) -> list[Credential]:
        found: list[Credential] = []
        for provider in self._providers:
            if any(fits(pattern, repository) for pattern in provider.match_images):
                async with self._asking:  # pods that start together ask once
                    told = self._known(provider, repository) or await self._ask(provider, repository)
                if told is not None:
                    found += [Credential(auth) for place, auth in told.by_place if fits(place, repository)]
        return found

    def _known(self, provider: Provider, repository: str) -> Answer | None:
        for key in (repository, repository.partition("/")[0], ""):
            until, told = self._kept.get((provider.name, key), (0.0, None))
            if told is not None and trio.current_time() < until:
                return told
        return None

    async def _ask(self, provider: Provider, repository: str) -> Answer | None:
        try:
            told = answer(provider, repository, await self._run(provider, repository))
        except (OSError, ValueError, AttributeError) as error:
            log.warning("credential provider=%s image=%s error=%s", provider.name, repository, error)
            return None
        if told.seconds > 0:
            now = trio.current_time()
            self._kept = {key: row for key, row in self._kept.items() if row[0] > now}
            while len(self._kept) >= CREDENTIAL_PROVIDER_ANSWERS_KEPT_MAX:
                del self._kept[next(iter(self._kept))]
            self._kept[provider.name, told.key] = now + told.seconds, told
        return told

    async def _run(self, provider: Provider, repository: str) -> bytes:
        """What says more than an answer may have is ended, and not read on."""
        process = await trio.lowlevel.open_process(
            [str(self._programs / provider.name), *provider.arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **dict(provider.environment)},
        )
        stdin, stdout, stderr = process.stdin, process.stdout, process.stderr
        assert stdin is not None and stdout is not None and stderr is not None
        told, complaint = bytearray(), bytearray()

        async def ask() -> None:
            with suppress(trio.BrokenResourceError):  # it need not read what it is asked
                async with stdin:
                    await stdin.send_all(request(provider, repository))

        async def hear() -> None:
            async for block in stdout:
                told.extend(block)
                if len(told) > CREDENTIAL_PROVIDER_ANSWER_BYTES_MAX:
                    nursery.cancel_scope.cancel()

        async def complain() -> None:
            async for block in stderr:
                complaint.extend(block)
                del complaint[:-_COMPLAINT_BYTES]

        try:
            with trio.move_on_after(CREDENTIAL_PROVIDER_SECONDS_MAX) as patience:
                async with trio.open_nursery() as nursery:
                    for part in (ask, hear, complain, process.wait):
                        nursery.start_soon(part)
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
                for stream in (stdin, stdout, stderr):
                    await stream.aclose()
        if patience.cancelled_caught:
            raise OSError("no answer in time")
        if len(told) > CREDENTIAL_PROVIDER_ANSWER_BYTES_MAX:
            raise ValueError(f"an answer of more than {CREDENTIAL_PROVIDER_ANSWER_BYTES_MAX} bytes")
        if process.returncode:
            raise OSError(f"exit status {process.returncode}: {complaint.decode(errors='replace').strip()}")
        return bytes(told)


def load(config: Path | None, programs: Path | None) -> CredentialProviders | None:
    """None without a configuration. Raises ValueError, as a kubelet does not start either."""
    if config is None and programs is None:
        return None
    if config is None or programs is None:
        raise ValueError("--image-credential-provider-config and --image-credential-provider-bin-dir are given together")
    import yaml  # there is seldom such a file

    try:
        providers = parse(yaml.safe_load(config.read_text(encoding="utf-8")))
        for provider in providers:
            if not os.access(programs / provider.name, os.X_OK):
                raise ValueError(f"there is no program {programs / provider.name}")
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as error:
        raise ValueError(f"{config}: {error}") from None
    return CredentialProviders(providers, programs)
