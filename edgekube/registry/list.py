"""The verb list.

Enters: kind, namespace ("" for all) and the query.
Leaves: a RawList: stored JSON, untouched, with the list's revision and where the next page starts.
Holds: all pages of one list show one revision; an unfiltered list decodes nothing (source: kubernetes.io, "API concepts":
resource versions, chunking).
Next: server.resources splices the bytes together.
"""

from __future__ import annotations

from typing import Final

from edgekube.api import errors
from edgekube.api.kinds import Kind
from edgekube.api.verbs import EVERYTHING, ListOptions, RawList
from edgekube.registry import componentstatus, continuation, reading
from edgekube.registry.faults import CONTINUE_EXPIRED, as_status, too_large_revision
from edgekube.registry.list_options import EXACT, check_list, parse_revision
from edgekube.registry.listing import Selection, select
from edgekube.registry.state import Registry
from edgekube.store.protocol import Compacted, FutureRevision, Key, Page, Record, StoreError

#: How many rows one read of a filtered, limited list takes: small enough not to hold the loop, large enough to be few reads.
_FILTER_CHUNK_ROWS: Final = 500


async def list_objects(
    registry: Registry, kind: Kind, namespace: str = "", options: ListOptions = EVERYTHING, *, revision_match: str = ""
) -> RawList:
    """StatusError Invalid, BadRequest, Expired (the revision is gone) or Timeout (it has not come yet)."""
    selection = select(kind, options.label_selector, options.field_selector)
    if kind.resource == componentstatus.RESOURCE:
        return componentstatus.listing(selection)
    after, revision = _start(registry, kind, options, revision_match)
    try:
        if selection.name is not None and after is None and revision is None:
            return await _named(registry, kind, namespace, selection)
        return await _paged(registry, kind, namespace, selection, options.limit, after, revision)
    except Compacted:
        if options.continue_token and after is not None:
            fresh = continuation.encode(after, continuation.INCONSISTENT)
            raise ExpiredContinue(CONTINUE_EXPIRED, fresh) from None
        raise errors.expired("The resourceVersion for the provided list is too old.") from None
    except FutureRevision:
        raise too_large_revision(revision or 0, registry.store.revision()) from None
    except StoreError as error:
        raise as_status(error, kind, "") from error


class ExpiredContinue(errors.StatusError):
    """410 that carries a token to go on with, inconsistently."""

    def __init__(self, message: str, continue_token: str) -> None:
        super().__init__("Expired", message)
        self.continue_token = continue_token

    def status(self) -> dict[str, object]:
        return {**super().status(), "metadata": {"continue": self.continue_token}}


def _start(registry: Registry, kind: Kind, options: ListOptions, match: str) -> tuple[Key | None, int | None]:
    """Where to begin and at which revision (None: the current one)."""
    check_list(options.revision, match, options.continue_token)
    if options.continue_token:
        if options.revision not in ("", "0"):
            raise errors.bad_request("specifying resource version is not allowed when using continue")
        after, revision = continuation.decode(options.continue_token, kind)
        return after, None if revision == continuation.INCONSISTENT else revision
    asked = parse_revision(options.revision)
    if not asked:
        return None, None
    if match == EXACT or (not match and options.limit > 0):
        return None, asked
    if asked > registry.store.revision():
        raise too_large_revision(asked, registry.store.revision())
    return None, None


async def _named(registry: Registry, kind: Kind, namespace: str, selection: Selection) -> RawList:
    """metadata.name=x reads one row, if the namespace is known."""
    if kind.namespaced and not namespace:
        return await _paged(registry, kind, namespace, selection, 0, None, None)
    key = Key(kind.resource, namespace if kind.namespaced else "", selection.name or "")
    revision = registry.store.revision()
    record = await registry.store.get(key)
    items = await _matching(registry, kind, [record], selection) if record is not None else []
    if record is not None:
        revision = max(revision, record.revision)
    return RawList([raw for _, raw in items], str(revision))


async def _paged(
    registry: Registry, kind: Kind, namespace: str, selection: Selection, limit: int, after: Key | None, revision: int | None
) -> RawList:
    scope = namespace or None
    if selection.everything:
        if not (kind.custom or limit) and after is None and revision is None:
            # A custom object's revision would be needed: it says whether its schema has changed since.
            documents = await registry.store.documents(kind.resource, scope)
            return RawList(await reading.from_storage(registry, kind, documents.values), str(documents.revision))
        page = await registry.store.list(kind.resource, scope, limit=limit, after=after, revision=revision)
        values = await reading.from_records(registry, kind, page.records)
        token = continuation.encode(page.next_after, page.revision) if page.next_after else ""
        return RawList(values, str(page.revision), token, page.remaining if token else None)
    items: list[bytes] = []
    while True:
        chunk = max(limit, _FILTER_CHUNK_ROWS) if limit else 0
        page = await registry.store.list(kind.resource, scope, limit=chunk, after=after, revision=revision, group=selection.group)
        matched = await _matching(registry, kind, page.records, selection)
        if limit and len(items) + len(matched) >= limit:
            return _cut(page, items, matched, limit)
        items += [raw for _, raw in matched]
        if page.next_after is None:
            return RawList(items, str(page.revision))
        after, revision = page.next_after, page.revision


def _cut(page: Page, items: list[bytes], matched: list[tuple[Key, bytes]], limit: int) -> RawList:
    """The page is full: the next one starts behind the last object that was taken."""
    taken = matched[: limit - len(items)]
    items += [raw for _, raw in taken]
    last = taken[-1][0]
    is_end = page.next_after is None and len(taken) == len(matched)
    token = "" if is_end else continuation.encode(last, page.revision)
    return RawList(items, str(page.revision), token)


async def _matching(registry: Registry, kind: Kind, records: list[Record], selection: Selection) -> list[tuple[Key, bytes]]:
    served = await reading.from_records(registry, kind, records)
    pairs = ((record.key, raw) for record, raw in zip(records, served, strict=True))
    return [(key, raw) for key, raw in pairs if selection.matches(key, raw)]
