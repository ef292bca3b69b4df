"""What every verb needs: the store, the clock, the allocators and who signs tokens.

Enters: an open store and the cluster's choices.
Leaves: a Registry, handed to the verbs.
Holds: nothing decoded is kept; the allocators are derived from the stored services and never written by anybody else.
Next: registry.get … registry.deletecollection, one verb, one file.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import orjson

from edgekube.api import times
from edgekube.api.kinds import KINDS, Kind, KindTable
from edgekube.api.objects import Object
from edgekube.registry.allocation import ServiceAllocator
from edgekube.store.protocol import Key, Store

#: Without vowels and look-alikes, as upstream's generated names (apimachinery util/rand).
_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"


class TokenIssuer(Protocol):
    """Signs service-account tokens (pki.tokens)."""

    #: Also the audience of a token whose request names none.
    issuer: str

    def issue(
        self,
        namespace: str,
        name: str,
        uid: str,
        audiences: Sequence[str],
        expiration_seconds: int,
        bound: Object | None = None,
        node: Object | None = None,
    ) -> tuple[str, float]:
        """The token and when it ends, in seconds since the epoch. ``bound``: the Pod or Secret it dies with; ``node``: the
        Node that the pod runs on."""
        ...


class Registry:
    def __init__(
        self,
        store: Store,
        *,
        service_cidr: str = "10.43.0.0/16",
        node_ports: tuple[int, int] = (30000, 32767),
        token_issuer: TokenIssuer | None = None,
        kinds: KindTable = KINDS,
        clock: Callable[[], float] = time.time,
        draw: random.Random | None = None,
    ) -> None:
        """``clock`` gives seconds since the epoch; ``draw`` makes the suffixes of generated names."""
        self.store = store
        self.kinds = kinds
        self.clock = clock
        self.draw = draw or random.SystemRandom()
        self.token_issuer = token_issuer
        self.services = ServiceAllocator(service_cidr, node_ports, self.draw)

    async def load(self) -> None:
        """Derive the allocators from the stored services. Once, before the first request."""
        page = await self.store.list("services")
        for record in page.records:
            self.services.adopt(orjson.loads(record.value))

    def now(self) -> str:
        """The time as metav1.Time writes it: RFC 3339, UTC, whole seconds."""
        return times.rfc3339(self.clock())

    def suffix(self) -> str:
        return "".join(self.draw.choices(_ALPHABET, k=5))

    async def find(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """The stored object, decoded; None when there is none."""
        record = await self.store.get(Key(kind.resource, namespace, name))
        if record is None:
            return None
        found: Object = orjson.loads(record.value)
        return found

    async def everything(self, kind: Kind, namespace: str | None = None) -> list[Object]:
        """Every stored object of a kind, decoded: for the few kinds that admission looks through."""
        page = await self.store.list(kind.resource, namespace)
        return [orjson.loads(record.value) for record in page.records]
