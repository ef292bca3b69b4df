"""Which nodes there are, by their keys, in memory: what each request of a node is checked against.

Enters: Secrets of type edgekube.io/node-identity, through reconcile.follow.
Leaves: whether a key may speak for a node; a call for each node that may not any longer.
Holds: a node is its key and its name. What was revoked or removed is refused from the moment the Secret says so, on connections
that stand as well as on new ones.
Bound: one entry a node, of limits.NODES_MAX.
Next: server.identity asks; server.issuing writes the Secrets.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import orjson
import trio
from msgspec.structs import replace

from edgekube import limits
from edgekube.api import errors
from edgekube.api.errors import StatusError
from edgekube.api.kinds import SECRET
from edgekube.api.node_identity import NAMESPACE, TYPE, NodeIdentity, as_secret, identity_of, secret_name
from edgekube.api.objects import Object, revision_of
from edgekube.api.verbs import DELETED, ListOptions, Verbs, WatchEvent
from edgekube.reconcile.follow import follow

log = logging.getLogger("edgekube.server")

#: Attempts to change one Secret that somebody else changes at the same time.
_ATTEMPTS_MAX: Final = 5


class NodeIdentities:
    """A reconcile.follow Sink."""

    def __init__(self, verbs: Verbs) -> None:
        self._verbs = verbs
        self._identities: dict[str, NodeIdentity] = {}
        self._listed: dict[str, NodeIdentity] = {}
        #: Revoked keys, and the node that each was revoked with: a machine may have joined under two names.
        self._revoked: dict[str, str] = {}
        self._revision = 0
        self._synced = trio.Event()
        self._moved = trio.Event()
        self._used = trio.Event()
        #: Nodes whose new key has been seen in use, and that key.
        self._replaced: dict[str, str] = {}
        #: Called with the name of a node whose key is refused from now on: what it has open must end.
        self.refused: list[Callable[[str], None]] = []

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled; started once every identity is known."""
        selection = ListOptions(field_selector=f"type={TYPE}")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: follow(self._verbs, SECRET, self, selection, namespace=NAMESPACE))
            nursery.start_soon(self._forget_former_keys)
            await self._synced.wait()
            task_status.started()

    # --- questions

    def get(self, node_name: str) -> NodeIdentity | None:
        return self._identities.get(node_name)

    def count(self) -> int:
        return len(self._identities)

    def revoked_key(self, public_key: str) -> NodeIdentity | None:
        """The revoked node that this key belonged to, whatever name it goes by now."""
        name = self._revoked.get(public_key)
        return self._identities.get(name) if name is not None else None

    def is_revoked(self, identity: NodeIdentity) -> bool:
        """The node itself, or its key under another name."""
        return bool(identity.revoked) or not self._revoked.keys().isdisjoint((identity.public_key, identity.previous_public_key))

    def objection(self, node_name: str, public_key: str) -> str:
        """Why this key may not speak for the node; "" when it may."""
        identity = self._identities.get(node_name)
        if identity is None:
            return f"node {node_name} is not a member of this cluster (any more): it has to join again"
        if identity.revoked:
            return f"node {node_name} was revoked at {identity.revoked}"
        if not identity.has(public_key):
            return f"this is not the key that node {node_name} is known by"
        if public_key in self._revoked:
            return f"the key of node {node_name} was revoked with node {self._revoked[public_key]}"
        return ""

    def in_use(self, node_name: str, public_key: str) -> None:
        """A node has shown this key, and nothing was to be said against it. With the new one in use, the former one can go."""
        identity = self._identities.get(node_name)
        if identity is not None and identity.previous_public_key and public_key == identity.public_key:
            self._replaced[node_name] = public_key
            self._used.set()

    async def _forget_former_keys(self) -> None:
        while True:
            await self._used.wait()
            self._used = trio.Event()
            await trio.sleep(limits.FORMER_KEY_GRACE_SECONDS)
            replaced, self._replaced = self._replaced, {}
            for node_name, public_key in replaced.items():
                try:
                    await self.change(node_name, partial(_known_by, public_key))
                except StatusError as error:  # the next request with the new key tries again
                    log.warning("the former key of node %s is still known: %s", node_name, error.message)

    # --- changes

    async def change(self, node_name: str, make: Callable[[NodeIdentity | None], NodeIdentity]) -> NodeIdentity:
        """Write what ``make`` says of the identity that there is (None: of none), and wait until it holds here, too."""
        for _ in range(_ATTEMPTS_MAX):
            stored = await self._stored(node_name)
            before = identity_of(stored) if stored is not None else None
            wanted = make(before)
            if wanted == before:
                return wanted
            try:
                if stored is None:
                    written = await self._verbs.create(SECRET, NAMESPACE, as_secret(wanted))
                else:
                    written = await self._verbs.update(SECRET, as_secret(wanted, stored))
            except StatusError as error:
                if error.reason in ("AlreadyExists", "Conflict"):
                    continue
                raise
            await self._saw(int(revision_of(written)))
            return wanted
        raise errors.conflict("", "secrets", secret_name(node_name))

    async def _stored(self, node_name: str) -> Object | None:
        try:
            return await self._verbs.get(SECRET, NAMESPACE, secret_name(node_name))
        except StatusError as error:
            if error.reason != "NotFound":
                raise
            return None

    async def _saw(self, revision: int) -> None:
        with trio.move_on_after(limits.VIEW_CATCH_UP_SECONDS):
            while self._revision < revision:
                await self._moved.wait()
            return
        log.warning("the node identities did not catch up with an own write revision=%d", revision)

    # --- Sink

    def begin(self) -> None:
        self._listed = {}

    def add(self, items: Sequence[bytes]) -> None:
        for item in items:
            identity = identity_of(orjson.loads(item))
            if identity is not None:
                self._listed[identity.node_name] = identity

    def finish(self, revision: int) -> None:
        before, self._identities = self._identities, self._listed
        self._note_revoked()
        for node_name, identity in before.items():
            self._tell(identity, self._identities.get(node_name))
        self._synced.set()
        self.progressed(revision)

    def apply(self, event: WatchEvent) -> None:
        secret = orjson.loads(event.raw)
        identity = identity_of(secret)
        if identity is not None:
            before = self._identities.pop(identity.node_name, None)
            if event.type != DELETED:
                self._identities[identity.node_name] = identity
            self._note_revoked()
            if before is not None:
                self._tell(before, None if event.type == DELETED else identity)
        self.progressed(int(revision_of(secret)))

    def progressed(self, revision: int) -> None:
        self._revision = revision
        moved, self._moved = self._moved, trio.Event()
        moved.set()

    def resume_from(self) -> int:
        return self._revision

    def _note_revoked(self) -> None:
        self._revoked = {
            key: identity.node_name
            for identity in self._identities.values()
            if identity.revoked
            for key in (identity.public_key, identity.previous_public_key)
            if key
        }

    def _tell(self, before: NodeIdentity, after: NodeIdentity | None) -> None:
        gone = after is None or (after.revoked and not before.revoked) or not after.has(before.public_key)
        if gone:
            log.info("the key that node %s had until now is refused from now on", before.node_name)
            names = [before.node_name]
            if after is not None and after.revoked:
                names += [other.node_name for other in self._identities.values() if self._shares_a_key(other, before)]
            for name in names:
                for told in self.refused:
                    told(name)

    @staticmethod
    def _shares_a_key(one: NodeIdentity, other: NodeIdentity) -> bool:
        return one.node_name != other.node_name and (one.has(other.public_key) or one.has(other.previous_public_key))


def _known_by(public_key: str, before: NodeIdentity | None) -> NodeIdentity:
    """The identity without a former key, unless the key has been changed once more meanwhile."""
    if before is None:
        raise StatusError("NotFound", "the node was removed meanwhile")
    return replace(before, previous_public_key="") if before.public_key == public_key else before
