"""Who proved that they may have an image: an image that a secret brought is not given to pods that lack it.

Enters: pulls that began and ended, with whose credentials; pods that find their image present.
Leaves: whether such a pod must prove itself by a pull of its own.
Holds: one small file for each image that was pulled, one for each pull under way; written when somebody pulled, never otherwise.
An image that came as an archive has no record and is everybody's. After a crash in the middle of a pull the image has a record
that nobody fits, so that the next pod proves itself.
Bound: limits.IMAGE_RECORDS_KEPT_MAX records in memory; files are as many as images, pruned with them.
Source: Kubernetes documentation, "Images", "Ensure image pull credential verification"; pkg/kubelet/images/pullmanager.
Next: agent.images.pulling.
"""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import orjson
import trio

from edgekube.agent.checkpoint import write_checkpoint
from edgekube.agent.images.keyring import Credential, SecretId, repository_of
from edgekube.api import times
from edgekube.containerd.model import Image
from edgekube.limits import IMAGE_RECORDS_KEPT_MAX, IMAGE_SECRETS_RECORDED_MAX

log = logging.getLogger("edgekube.agent")

NEVER: Final = "NeverVerify"
PRELOADED: Final = "NeverVerifyPreloadedImages"
ALLOWLISTED: Final = "NeverVerifyAllowlistedImages"
ALWAYS: Final = "AlwaysVerify"
POLICIES: Final = (NEVER, PRELOADED, ALLOWLISTED, ALWAYS)


def check_allowlist(pattern: str) -> str:
    """The pattern; ValueError when it is none: a name without tag and digest, or one that ends in /*."""
    body = pattern.removesuffix("*") if pattern.endswith("/*") else pattern
    if pattern != pattern.strip() or not body or "*" in body or body == "/":
        raise ValueError("give a name without tag, or one that ends in /*")
    if body == pattern and repository_of(pattern) != pattern:
        raise ValueError("give the name without tag and digest")
    return pattern


def must_verify(policy: str, allowlist: Sequence[str], repository: str, *, pulled: bool) -> bool:
    """Whether pods must have credentials for an image that is here. ``pulled``: it came by a pull, not as an archive."""
    if policy == ALLOWLISTED:
        return not any(
            repository.startswith(pattern[:-1]) if pattern.endswith("/*") else repository == pattern for pattern in allowlist
        )
    return policy == ALWAYS or (policy == PRELOADED and pulled)


def merged(record: dict[str, Any], repository: str, credential: Credential | None) -> dict[str, Any] | None:
    """The record with one more proof; None when it says so already. ``credential`` None: pulled without any."""
    known = record["credentialMapping"].get(repository) or {}
    if known.get("nodePodsAccessible"):
        return None
    if credential is None or credential.source is None:
        after: dict[str, Any] = {"nodePodsAccessible": True}
    else:
        row = _row(credential.source)
        secrets = known.get("kubernetesSecrets") or []
        if row in secrets:
            return None
        others = [old for old in secrets if {**old, "credentialHash": ""} != {**row, "credentialHash": ""}]
        after = {"kubernetesSecrets": [*others, row][-IMAGE_SECRETS_RECORDED_MAX:]}
    return {**record, "credentialMapping": {**record["credentialMapping"], repository: after}}


def _row(source: SecretId) -> dict[str, str]:
    return {
        "uid": source.uid,
        "namespace": source.namespace,
        "name": source.name,
        "credentialHash": source.credential_hash,
    }


def proven(record: dict[str, Any], repository: str, credentials: Iterable[Credential]) -> tuple[bool, Credential | None]:
    """Whether these credentials were good for the image before; and the one to remember because it fits only in part."""
    known = record["credentialMapping"].get(repository) or {}
    if known.get("nodePodsAccessible"):
        return True, None
    rows = known.get("kubernetesSecrets") or []
    for credential in credentials:
        if credential.source is None:
            continue
        mine = _row(credential.source)
        for row in rows:
            same_secret = all(row[key] == mine[key] for key in ("uid", "namespace", "name"))
            if row["credentialHash"] == mine["credentialHash"]:
                return True, None if same_secret else credential
            if same_secret:
                return True, credential  # its content was renewed
    return False, None


class PullRecords:
    """Files below ``directory``. Small: read in place; written by a thread, for they wait for the disk after a pull filled it."""

    def __init__(self, directory: Path) -> None:
        self._pulled = directory / "pulled"
        self._pulling = directory / "pulling"
        self._kept: OrderedDict[str, dict[str, Any] | None] = OrderedDict()
        self._under_way: dict[str, int] = {}
        self._turn = trio.Lock()

    # --- pulls

    async def begin(self, reference: str) -> None:
        """Raises OSError when the intent cannot be written: without it a crash would make the image everybody's."""
        async with self._turn:
            if not self._under_way.get(reference):
                document = {"kind": "ImagePullIntent", "apiVersion": "kubelet.config.k8s.io/v1beta1", "image": reference}
                await self._write(self._pulling / _file_name(reference), document)
            self._under_way[reference] = self._under_way.get(reference, 0) + 1

    def ended(self, reference: str, *, known: bool) -> None:
        """``known``: it failed, or its record is written; else the image may be here, and the intent stays."""
        left = self._under_way.pop(reference, 1) - 1
        if left > 0:
            self._under_way[reference] = left
        elif known:
            (self._pulling / _file_name(reference)).unlink(missing_ok=True)

    async def succeeded(self, repository: str, image_id: str, credential: Credential | None, now: float) -> None:
        """Raises OSError."""
        async with self._turn:
            record = self._record(image_id) or _new(image_id)
            after = merged(record, repository, credential)
            if after is not None:
                await self._put(image_id, after, now)

    async def recover(self, images: Iterable[Image], names: dict[str, str], now: float) -> None:
        """After a start: what was being pulled then and is here now has a record that nobody fits. ``names``: see intents."""
        here = {name: image.id for image in images for name in (*image.tags, *image.digests)}
        for reference, full in names.items():
            if full in here and self._record(here[full]) is None:
                await self._put(here[full], _new(here[full]), now)
            (self._pulling / _file_name(reference)).unlink(missing_ok=True)

    def intents(self) -> list[str]:
        """References that were being pulled when this process began."""
        found = []
        for path in self._pulling.glob("*.json") if self._pulling.is_dir() else ():
            try:
                found.append(str(orjson.loads(path.read_bytes())["image"]))
            except (OSError, ValueError, KeyError, TypeError):
                path.unlink(missing_ok=True)
        return found

    # --- questions

    def was_pulled(self, reference: str, image_id: str) -> bool:
        if self._under_way.get(reference) or self._record(image_id) is not None:
            return True
        return (self._pulling / _file_name(reference)).exists()

    async def allows(self, image_id: str, repository: str, credentials: Iterable[Credential], now: float) -> bool:
        record = self._record(image_id)
        if record is None:
            return False
        allowed, remember = proven(record, repository, credentials)
        if remember is not None:
            try:
                await self.succeeded(repository, image_id, remember, now)
            except OSError as error:
                log.warning("image record not written image=%s error=%s", image_id, error)
        return allowed

    def prune(self, image_ids: Collection[str]) -> None:
        """Records of images that are gone go too."""
        keep = {_file_name(image_id) for image_id in image_ids}
        for path in list(self._pulled.glob("*.json")) if self._pulled.is_dir() else ():
            if path.name not in keep:
                path.unlink(missing_ok=True)
        self._kept.clear()

    # --- files

    def _record(self, image_id: str) -> dict[str, Any] | None:
        if image_id in self._kept:
            self._kept.move_to_end(image_id)
            return self._kept[image_id]
        try:
            found: dict[str, Any] | None = orjson.loads((self._pulled / _file_name(image_id)).read_bytes())
            if not isinstance(found, dict) or not isinstance(found.get("credentialMapping"), dict):
                found = _new(image_id)
        except FileNotFoundError:
            found = None
        except (OSError, ValueError):
            found = _new(image_id)  # it was pulled, by whom is not known any more
        self._keep(image_id, found)
        return found

    def _keep(self, image_id: str, record: dict[str, Any] | None) -> None:
        self._kept[image_id] = record
        self._kept.move_to_end(image_id)
        while len(self._kept) > IMAGE_RECORDS_KEPT_MAX:
            self._kept.popitem(last=False)

    async def _put(self, image_id: str, record: dict[str, Any], now: float) -> None:
        after = {**record, "lastUpdatedTime": times.rfc3339(now)}
        await self._write(self._pulled / _file_name(image_id), after)
        self._keep(image_id, after)

    async def _write(self, path: Path, document: dict[str, Any]) -> None:
        await trio.to_thread.run_sync(_write_durable, path, orjson.dumps(document))


def _write_durable(path: Path, raw: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_checkpoint(path, raw, durable=True)


def _new(image_id: str) -> dict[str, Any]:
    return {
        "kind": "ImagePulledRecord",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "imageRef": image_id,
        "credentialMapping": {},
    }


def _file_name(text: str) -> str:
    return f"sha256-{hashlib.sha256(text.encode()).hexdigest()}.json"
