"""Any history of writes, restarts and power cuts: lists, pages and watches tell the same story as a plain dictionary."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.store.protocol import Compacted, Group, Key, KeyExists, KeyMissing, Record, RevisionConflict
from edgekube.store.sqlite import SqliteStore, open_store
from tests.store.conformance import DURABLE, VOLATILE, document, everything, in_pages, parity, replay
from tests.store.test_sqlite import as_after_a_power_cut, verify

RESOURCES = (DURABLE, VOLATILE)

_key = st.builds(Key, st.sampled_from(RESOURCES), st.sampled_from(["", "a", "b"]), st.sampled_from(["x", "y", "z"]))
_write = st.tuples(st.sampled_from(["create", "update", "delete", "stale"]), _key)
_operation = st.one_of(
    _write,
    st.tuples(st.just("together"), st.lists(_key, min_size=2, max_size=6)),
    st.tuples(st.sampled_from(["flush", "restart", "power cut"]), st.none()),
)


@dataclass
class Model:
    store: SqliteStore
    path: Path
    state: dict[Key, Record] = field(default_factory=dict)
    flushed: dict[Key, Record] = field(default_factory=dict)
    #: (revision, state), of this run of the store.
    history: list[tuple[int, dict[Key, Record]]] = field(default_factory=list)
    revision: int = 0

    def began(self) -> None:
        assert self.store.revision() >= self.revision
        self.revision = self.store.revision()
        self.history = [(self.revision, dict(self.state))]

    def wrote(self, record: Record, *, gone: bool = False) -> None:
        assert record.revision > self.revision, "revisions strictly rise"
        self.revision = record.revision
        if gone:
            del self.state[record.key]
        else:
            self.state[record.key] = record
        self.history.append((self.revision, dict(self.state)))

    async def write(self, verb: str, key: Key) -> None:
        known = self.state.get(key)
        if verb == "create" and known is None:
            self.wrote(await self.store.create(key, document()))
        elif verb == "create":
            with pytest.raises(KeyExists):
                await self.store.create(key, document())
        elif known is None:
            with pytest.raises(KeyMissing):
                await self.store.update(key, document(), expected_revision=1)
        elif verb == "update":
            self.wrote(await self.store.update(key, document(), expected_revision=known.revision))
        elif verb == "delete":
            self.wrote(await self.store.delete(key, document(), expected_revision=known.revision), gone=True)
        else:
            with pytest.raises(RevisionConflict):
                await self.store.update(key, document(), expected_revision=known.revision - 1)

    async def together(self, keys: list[Key]) -> None:
        """Creations at once, durable and volatile: whoever wins, revisions order them."""
        made: list[Record] = []

        async def create(key: Key) -> None:
            try:
                made.append(await self.store.create(key, document()))
            except KeyExists:
                assert key in self.state or keys.count(key) > 1

        async with trio.open_nursery() as nursery:
            for key in keys:
                nursery.start_soon(create, key)
        for record in sorted(made, key=lambda record: record.revision):
            self.wrote(record)

    async def check(self) -> None:
        assert self.store.revision() == self.revision
        for resource in RESOURCES:
            assert await everything(self.store, resource) == of(self.state, resource)
            for revision, then in self.history[-6:]:
                expected = sorted(of(then, resource).values(), key=lambda record: record.key)
                assert (await self.store.list(resource, revision=revision)).records == expected
                assert await in_pages(self.store, resource, 2, revision) == expected
                odd = [record for record in expected if parity(record.value) == "1"]
                assert await in_pages(self.store, resource, 2, revision, Group(parity, "1")) == odd
                replayed = of(then, resource)
                async with self.store.watch(resource, after=revision) as watcher:
                    if revision < self.revision and any(
                        of(then, resource) != of(later, resource) for at, later in self.history if at > revision
                    ):
                        replay(replayed, await watcher.receive())
                    assert replayed == of(self.state, resource), "list + watch is a later list"
                    assert watcher.progress() == self.revision
            if self.history[0][0] > 1:
                with pytest.raises(Compacted):
                    await self.store.list(resource, revision=self.history[0][0] - 1)


def of(state: dict[Key, Record], resource: str) -> dict[Key, Record]:
    return {key: record for key, record in state.items() if key.resource == resource}


async def run(operations: list[tuple[str, object]], directory: Path) -> None:
    path = directory / "0" / "state.db"
    async with AsyncExitStack() as stack:
        model = Model(await stack.enter_async_context(open_store(path, volatile_resources=frozenset({VOLATILE}))), path)
        model.began()
        for number, (verb, argument) in enumerate(operations, 1):
            if isinstance(argument, Key):
                await model.write(verb, argument)
            elif isinstance(argument, list):
                await model.together(argument)
            elif verb == "flush":
                assert await model.store.flush()
                model.flushed = of(model.state, VOLATILE)
            else:
                copy = as_after_a_power_cut(model.path, directory / str(number))
                await stack.aclose()
                if verb == "power cut":  # the copy knows nothing of the goodbye
                    model.path = copy
                    on_disk = await found_after_the_cut(copy, model)
                    model.state = of(model.state, DURABLE) | on_disk
                else:
                    model.flushed = of(model.state, VOLATILE)
                model.store = await stack.enter_async_context(open_store(model.path, volatile_resources=frozenset({VOLATILE})))
                model.began()
                model.flushed = of(model.state, VOLATILE)
            await model.check()
    verify(model.path)


async def found_after_the_cut(path: Path, model: Model) -> dict[Key, Record]:
    """Volatile rows may be older after a cut, but not older than the last flush, and deletions since may have come through."""
    async with open_store(path, volatile_resources=frozenset({VOLATILE})) as store:
        assert await everything(store, DURABLE) == of(model.state, DURABLE), "an acknowledged write is lost"
        found = await everything(store, VOLATILE)
        assert all(model.flushed[key] == record for key, record in found.items())
        assert all(key in found or model.state.get(key) != record for key, record in model.flushed.items())
        assert store.revision() >= model.revision
        return found


@settings(max_examples=30, deadline=None)
@given(st.lists(_operation, max_size=25))
def test_lists_pages_and_watches_tell_the_same_story_over_restarts_and_power_cuts(operations: list[tuple[str, object]]) -> None:
    directory = Path(tempfile.mkdtemp(prefix="edgekube-history-"))
    try:
        trio.run(run, operations, directory)
    finally:
        shutil.rmtree(directory)
