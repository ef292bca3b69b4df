"""Which CustomResourceDefinitions there are, kept current by the registry's own writes.

Enters: every committed write of a definition (registry.writing), and the stored ones at start.
Leaves: rows for registry.served_kinds; the Definition behind a row; names accepted and conditions set, written back.
Holds: what is served is what is on disk: a write has its effect before it is answered. Names are settled one after another.
Bound: limits.DEFINITIONS_MAX; compressed schemas and no more for a definition that nobody uses; limits.CUSTOM_SCHEMAS_HELD_MAX
compiled ones.
Next: registry.custom.objects.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

import orjson
import trio

from edgekube import limits
from edgekube.api import errors, times
from edgekube.api.custom import naming
from edgekube.api.custom.definition import Definition, definition_of
from edgekube.api.custom.merging import node_of
from edgekube.api.custom.publishing import published
from edgekube.api.custom.schema import Schema, compile_schema
from edgekube.api.kinds import CUSTOMRESOURCEDEFINITION, Kind
from edgekube.api.objects import Object
from edgekube.api.schemas import Node
from edgekube.registry.served_kinds import ServedKinds
from edgekube.store.protocol import Key, KeyMissing, RevisionConflict, Store

if TYPE_CHECKING:
    from edgekube.api.custom.keeping import RuleTree


class Definitions:
    def __init__(self, store: Store, kinds: ServedKinds, clock: Callable[[], float]) -> None:
        self._store = store
        self._kinds = kinds
        self._clock = clock
        #: By name, which is plural.group, which is Kind.resource.
        self._held: dict[str, Definition] = {}
        #: Objects up to this revision may have been written by another schema than the definition has now.
        self._settled_after: dict[str, int] = {}
        self._settling = trio.Lock()
        #: By name, uid, generation and version of the definition.
        self._schemas: OrderedDict[tuple[str, str, int, str], Schema] = OrderedDict()
        self._compiling = trio.CapacityLimiter(1)
        self._rules: OrderedDict[tuple[str, str, int, str], RuleTree] = OrderedDict()
        self._nodes: OrderedDict[tuple[str, str, int, str], Node] = OrderedDict()

    async def load(self) -> None:
        """Once, before the first request."""
        after, revision = None, None
        while True:
            page = await self._store.list(
                CUSTOMRESOURCEDEFINITION.resource, limit=limits.DEFINITIONS_PAGE_ITEMS, after=after, revision=revision
            )
            for record in page.records:
                self._put(orjson.loads(record.value))
            after, revision = page.next_after, page.revision
            if after is None:
                break
        self._publish()
        for name in [each.name for each in self._held.values() if not each.is_settled]:
            await self._settle(name)

    def __len__(self) -> int:
        return len(self._held)

    def may_define(self, kind: Kind) -> None:
        """StatusError Forbidden when there are as many definitions as this server holds."""
        if kind is CUSTOMRESOURCEDEFINITION and len(self._held) >= limits.DEFINITIONS_MAX:
            why = f"this server holds {limits.DEFINITIONS_MAX} definitions, and no more"
            raise errors.forbidden(kind.group, kind.plural, "", why)

    def of(self, kind: Kind) -> Definition | None:
        """The definition behind a custom row; None when it is gone."""
        return self._held.get(kind.resource)

    def schema(self, kind: Kind) -> Schema:
        """The schema of the row's version, compiled when it is first needed and held while it is in use."""
        definition = self._held.get(kind.resource)
        if definition is None or definition.version(kind.version) is None:
            # The definition, or its version, went while the request was on its way.
            raise errors.StatusError("NotFound", "the server could not find the requested resource")
        return self.schema_of_version(definition, kind.version)

    def schema_of_version(self, definition: Definition, name: str) -> Schema:
        key = (definition.name, definition.uid, definition.generation, name)
        made = self._schemas.get(key)
        if made is None:
            version = definition.version(name)
            assert version is not None, "asked only for versions that the definition has"
            made = compile_schema(version.schema_object())
            self._schemas[key] = made
            while len(self._schemas) > limits.CUSTOM_SCHEMAS_HELD_MAX:
                self._schemas.popitem(last=False)
        else:
            self._schemas.move_to_end(key)
        return made

    def node(self, kind: Kind) -> Node:
        """How objects of the kind merge."""
        definition = self._held.get(kind.resource)
        if definition is None or definition.version(kind.version) is None:
            return Node()
        key = (definition.name, definition.uid, definition.generation, kind.version)
        made = self._nodes.get(key)
        if made is None:
            made = self._nodes[key] = node_of(self.schema(kind))
            while len(self._nodes) > limits.CUSTOM_SCHEMAS_HELD_MAX:
                self._nodes.popitem(last=False)
        return made

    async def rules(self, kind: Kind) -> RuleTree | None:
        """The rules that objects of the row's version must keep, compiled when they are first needed: a millisecond each, and so
        in a thread."""
        from edgekube.api.custom.keeping import rule_tree

        definition = self._held.get(kind.resource)
        version = definition.version(kind.version) if definition is not None else None
        if definition is None or version is None:
            return None
        key = (definition.name, definition.uid, definition.generation, kind.version)
        made = self._rules.get(key)
        if made is None:
            made = await trio.to_thread.run_sync(rule_tree, version.schema_object(), limiter=self._compiling)
            if made is None:
                return None
            self._rules[key] = made
            while len(self._rules) > limits.CUSTOM_SCHEMAS_HELD_MAX:
                self._rules.popitem(last=False)
        else:
            self._rules.move_to_end(key)
        return made

    def schema_of(self, kind: Kind) -> Object | None:
        """openAPIV3Schema of the row's version as it is published: what the author wrote, decoded anew; None when it is gone."""
        definition = self._held.get(kind.resource)
        version = definition.version(kind.version) if definition is not None else None
        return published(kind, version.schema_object()) if version is not None else None

    def settled_after(self, kind: Kind) -> int:
        """Records with a later revision than this one fit the schema that the definition has now."""
        return self._settled_after.get(kind.resource, 0)

    def may_create(self, kind: Kind) -> None:
        """Just before an object is stored: nothing comes into a kind that is being emptied, or has gone meanwhile."""
        definition = self._held.get(kind.resource)
        if definition is None:
            raise errors.StatusError("NotFound", "the server could not find the requested resource")
        if definition.terminating:
            why = "create not allowed while custom resource definition is terminating"
            raise errors.StatusError("MethodNotAllowed", why, group=kind.group, kind=kind.plural)

    def wrote(self, kind: Kind, revision: int) -> None:
        """An object was written. If the definition changed on the way, it may not fit, and is mended when it is read."""
        if not kind.custom:
            return
        definition = self._held.get(kind.resource)
        if definition is not None and definition.generation != kind.definition_generation:
            self._settled_after[definition.name] = max(self._settled_after.get(definition.name, 0), revision)

    async def heed(self, crd: Object, *, gone: bool) -> None:
        """A definition was written, or went."""
        name = str(crd["metadata"]["name"])
        if gone:
            self._held.pop(name, None)
            self._settled_after.pop(name, None)
            self._publish()
        else:
            self._put(crd)
            self._publish()
            if not self._held[name].is_settled:
                await self._settle(name)
        for other in [each.name for each in self._held.values() if not each.names_accepted and each.name != name]:
            await self._settle(other)

    def _put(self, crd: Object) -> None:
        old = self._held.get(str(crd["metadata"]["name"]))
        new = definition_of(crd, old)
        if old is not None and new.revision < old.revision:
            return  # told late: a newer state has been heard of
        if old is None or old.uid != new.uid or old.generation != new.generation:
            self._settled_after[new.name] = self._store.submitted_revision()
        self._held[new.name] = new

    def _publish(self) -> None:
        held = self._held.values()
        self._kinds.put_custom(
            (row for each in held for row in each.rows), (each.stored_row for each in held if each.stored_row is not None)
        )

    async def _settle(self, name: str) -> None:
        """Accept the names that are free, and establish what has them all."""
        async with self._settling:
            while (record := await self._store.get(Key(CUSTOMRESOURCEDEFINITION.resource, "", name))) is not None:
                crd: Object = orjson.loads(record.value)
                group = crd["spec"]["group"]
                others = [each for each in self._held.values() if each.group == group and each.name != name]
                resources = frozenset().union(*(each.resource_names for each in others))
                kinds = frozenset().union(*(each.kind_names for each in others))
                if crd["metadata"].get("deletionTimestamp") or not naming.settle(crd, resources, kinds, self._now()):
                    return

                def encode(revision: int, crd: Object = crd) -> bytes:
                    crd["metadata"]["resourceVersion"] = str(revision)
                    return orjson.dumps(crd)

                try:
                    await self._store.update(record.key, encode, expected_revision=record.revision)
                except RevisionConflict:
                    continue
                except KeyMissing:
                    return
                self._put(crd)
                self._publish()
                return

    def _now(self) -> str:
        return times.rfc3339(self._clock())
