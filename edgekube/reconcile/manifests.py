"""Manifests in a directory, applied when they change and pruned when they go: how a board is told what to run without kubectl.

Enters: *.yaml, *.yml and *.json files in settings.manifests_dir.
Leaves: the objects they describe; what a file named before and no longer names is deleted.
Holds: a file that cannot be read or applied keeps everything that it had brought, is said in the log, and is tried again;
what was applied last is kept on the object, what a file brought is kept beside the directory, so both survive a restart.
Bound: limits.MANIFEST_BYTES_MAX a file.
Next: api.three_way computes the change; api.verbs carries it out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

import orjson
import trio

from edgekube import limits
from edgekube.api.errors import StatusError
from edgekube.api.kinds import CUSTOMRESOURCEDEFINITION, KINDS, Kind
from edgekube.api.objects import Object, annotations_of, metadata_of, name_of, namespace_of
from edgekube.api.schemas import Node, definition_of
from edgekube.api.three_way import changes
from edgekube.api.verbs import MERGE_PATCH, STRATEGIC_MERGE_PATCH, DeleteOptions, Verbs
from edgekube.pki.files import PRIVATE, write_durably

log = logging.getLogger("edgekube.manifests")

LAST_APPLIED = "edgekube.io/last-applied"
_SUFFIXES = (".yaml", ".yml", ".json")


FindKind: TypeAlias = Callable[[str, str], Kind | None]


class Reference(NamedTuple):
    """An object that a file brought."""

    api_version: str
    kind: str
    namespace: str
    name: str


class BadManifest(Exception):
    """A file that cannot be applied as it is; the text says why."""


class Manifests:
    def __init__(self, directory: Path, verbs: Verbs, find: FindKind = KINDS.by_kind) -> None:
        """``find``: the kind of an apiVersion and a kind, custom ones included."""
        self._directory = directory
        self._find = find
        self._record_path = directory.with_name("manifests.json")
        self._verbs = verbs
        self._brought: dict[str, list[Reference]] = self._read_record()
        self._done: dict[str, tuple[int, int]] = {}
        self._retry_at: dict[str, float] = {}

    async def run(self) -> None:
        """For ever; looks at the directory every limits.MANIFESTS_LOOK_SECONDS, which costs one scandir."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        while True:
            await self.look()
            await trio.sleep(limits.MANIFESTS_LOOK_SECONDS)

    async def look(self) -> None:
        """Apply what changed, prune what went."""
        present = dict(self._files())
        for name, stamp in present.items():
            if self._done.get(name) != stamp and self._retry_at.get(name, 0.0) <= trio.current_time():
                await self._take(name, stamp)
        for name in [name for name in self._brought if name not in present]:
            await self._prune(name, [])
            self._done.pop(name, None)

    def _files(self) -> Iterator[tuple[str, tuple[int, int]]]:
        try:
            entries = sorted(self._directory.iterdir())
        except OSError as error:
            log.warning("directory=%s cannot be read: %s", self._directory, error)
            return
        for path in entries:
            if path.suffix in _SUFFIXES and not path.name.startswith("."):
                try:
                    status = path.stat()
                except OSError:
                    continue
                yield path.name, (status.st_mtime_ns, status.st_size)

    async def _take(self, name: str, stamp: tuple[int, int]) -> None:
        try:
            objects = await trio.to_thread.run_sync(read_manifest, self._directory / name)
            if not any(_is_definition(obj) for obj in objects):
                for obj in objects:
                    self._placed(obj)  # nothing of a file with a mistake is applied
            references: list[Reference] = []
            for obj in objects:
                references.append(reference_of(self._placed(obj)))
                # Remembered before it is made: what a power cut leaves half applied is still known to be this file's.
                known = self._brought.get(name, [])
                self._remember(name, [*known, *(ref for ref in references if ref not in known)])
                await self._apply(obj)
        except (BadManifest, StatusError, OSError) as error:
            log.error("file=%s not applied, trying again in %d s: %s", name, limits.MANIFEST_RETRY_SECONDS, error)
            self._retry_at[name] = trio.current_time() + limits.MANIFEST_RETRY_SECONDS
            return
        await self._prune(name, references)
        self._done[name] = stamp
        self._retry_at.pop(name, None)
        log.info("file=%s objects=%d applied", name, len(objects))

    async def _apply(self, obj: Object) -> None:
        kind, namespace = self._kind_of(obj), namespace_of(obj)
        applied = orjson.dumps(obj, option=orjson.OPT_SORT_KEYS).decode()
        metadata = metadata_of(obj)
        metadata["annotations"] = {**(metadata.get("annotations") or {}), LAST_APPLIED: applied}
        try:
            current = await self._verbs.get(kind, namespace, name_of(obj))
        except StatusError as error:
            if error.reason != "NotFound":
                raise
            await self._verbs.create(kind, namespace, obj)
            return
        before = annotations_of(current).get(LAST_APPLIED)
        if before == applied:
            # Somebody may have changed the object since: the manifest's own fields are put back all the same.
            before = None
        last: Object = orjson.loads(before) if before else {}
        patch = changes(last, obj, Node() if kind.custom else definition_of(kind))
        patch_type = MERGE_PATCH if kind.custom else STRATEGIC_MERGE_PATCH
        for fixed in ("apiVersion", "kind", "status"):
            patch.pop(fixed, None)
        await self._verbs.patch(kind, namespace, name_of(obj), patch, patch_type=patch_type)

    async def _prune(self, name: str, keep: list[Reference]) -> None:
        remaining = list(keep)
        for reference in self._brought.get(name, []):
            elsewhere = any(reference in others for file, others in self._brought.items() if file != name)
            if reference in keep or elsewhere:
                continue
            kind = self._find(reference.api_version, reference.kind)
            if kind is None:
                continue
            try:
                options = DeleteOptions(propagation_policy="Background")
                await self._verbs.delete(kind, reference.namespace, reference.name, options)
                log.info("file=%s pruned %s %s/%s", name, reference.kind, reference.namespace, reference.name)
            except StatusError as error:
                if error.reason != "NotFound":
                    log.error("file=%s cannot prune %s %s: %s", name, reference.kind, reference.name, error)
                    remaining.append(reference)
        self._remember(name, remaining)

    def _placed(self, obj: Object) -> Object:
        kind = self._kind_of(obj)
        metadata = obj.get("metadata")
        if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
            raise BadManifest(f"a {kind.kind} has no metadata.name")
        if kind.namespaced:
            metadata.setdefault("namespace", "default")
        else:
            metadata.pop("namespace", None)
        return obj

    def _kind_of(self, obj: Object) -> Kind:
        kind = self._find(str(obj.get("apiVersion")), str(obj.get("kind")))
        if kind is None or not kind.stored:
            raise BadManifest(f"{obj.get('apiVersion')} {obj.get('kind')} is not a kind that this server has")
        return kind

    def _remember(self, name: str, references: list[Reference]) -> None:
        if self._brought.get(name, []) == references:
            return
        if references:
            self._brought[name] = references
        else:
            self._brought.pop(name, None)
        record = {file: [list(reference) for reference in held] for file, held in self._brought.items()}
        write_durably(self._record_path, orjson.dumps(record, option=orjson.OPT_INDENT_2), PRIVATE)

    def _read_record(self) -> dict[str, list[Reference]]:
        try:
            record = orjson.loads(self._record_path.read_bytes())
            return {name: [Reference(*reference) for reference in references] for name, references in record.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            log.error("file=%s cannot be read, nothing that was applied before will be pruned: %s", self._record_path, error)
            return {}


def read_manifest(path: Path) -> list[Object]:
    """The objects of a file, Lists taken apart, as they are. Raises BadManifest or OSError."""
    if path.stat().st_size > limits.MANIFEST_BYTES_MAX:
        raise BadManifest(f"the file is larger than {limits.MANIFEST_BYTES_MAX} bytes")
    text = path.read_bytes()
    if path.suffix == ".json":
        try:
            documents = [orjson.loads(text)]
        except ValueError as error:
            raise BadManifest(f"not JSON: {error}") from None
    else:
        import yaml

        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        try:
            documents = list(yaml.load_all(text, loader))
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
            raise BadManifest(f"not YAML: {' '.join(str(error).split())}") from None
    return [obj for document in documents if document is not None for obj in _members(document)]


def _members(document: object) -> list[Object]:
    if not isinstance(document, dict) or not isinstance(document.get("kind"), str):
        raise BadManifest("a document is not a Kubernetes object: it needs apiVersion, kind and metadata.name")
    if document["kind"].endswith("List") and isinstance(document.get("items"), list):
        return [member for item in document["items"] for member in _members(item)]
    return [document]


def _is_definition(obj: Object) -> bool:
    """What comes after it in the file may be of its kind."""
    return obj.get("kind") == CUSTOMRESOURCEDEFINITION.kind


def reference_of(obj: Object) -> Reference:
    return Reference(str(obj["apiVersion"]), str(obj["kind"]), namespace_of(obj), name_of(obj))
