"""Keep the role index current: list, then watch, the four RBAC kinds.

Enters: Verbs.
Leaves: a RoleIndex that the server's requests are decided by.
Holds: no request is decided before the first list is complete; a dropped watch is resumed, an expired one lists again.
Next: admission.rbac decides.
"""

from __future__ import annotations

import logging
from typing import Final

import orjson
import trio

from edgekube import limits
from edgekube.admission.rbac import RoleIndex
from edgekube.api.errors import StatusError
from edgekube.api.kinds import CLUSTERROLE, CLUSTERROLEBINDING, ROLE, ROLEBINDING, Kind
from edgekube.api.objects import revision_of
from edgekube.api.verbs import BOOKMARK, DELETED, ListOptions, Verbs

log = logging.getLogger("edgekube.server")

RBAC_KINDS: Final = (CLUSTERROLE, ROLE, CLUSTERROLEBINDING, ROLEBINDING)


async def follow_roles(verbs: Verbs, index: RoleIndex, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Runs until cancelled; started once all four kinds have been listed."""
    async with trio.open_nursery() as nursery:
        for kind in RBAC_KINDS:
            await nursery.start(_follow, verbs, index, kind)
        task_status.started()


async def _follow(
    verbs: Verbs, index: RoleIndex, kind: Kind, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    held: dict[tuple[str, str], dict[str, object]] = {}
    listed = False
    while True:
        page = await verbs.list(kind)
        fresh = {}
        for obj in page.objects():
            fresh[obj["metadata"].get("namespace", ""), obj["metadata"]["name"]] = obj
            index.put(obj)
        for key in held.keys() - fresh.keys():
            index.remove(held[key])
        held = {key: _named(obj) for key, obj in fresh.items()}
        if not listed:
            task_status.started()
            listed = True
        await _apply_changes(verbs, index, kind, page.revision, held)


def _named(obj: dict[str, object]) -> dict[str, object]:
    """What remove() needs, without the rules."""
    metadata = obj["metadata"]
    assert isinstance(metadata, dict)
    return {"kind": obj["kind"], "metadata": {k: metadata[k] for k in ("name", "namespace") if k in metadata}}


async def _apply_changes(
    verbs: Verbs, index: RoleIndex, kind: Kind, revision: str, held: dict[tuple[str, str], dict[str, object]]
) -> None:
    """Returns when the history is gone and a new list is due."""
    while True:
        try:
            async with verbs.watch(kind, "", ListOptions(revision=revision)) as events:
                async for event in events:
                    obj = orjson.loads(event.raw)
                    revision = revision_of(obj)
                    if event.type == BOOKMARK:
                        continue
                    key = (obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
                    if event.type == DELETED:
                        index.remove(obj)
                        held.pop(key, None)
                    else:
                        index.put(obj)
                        held[key] = _named(obj)
        except StatusError as error:
            if error.code == 410:
                return
            log.warning("watch of %s failed: %s", kind.plural, error)
            await trio.sleep(limits.ACCESS_RETRY_SECONDS)
