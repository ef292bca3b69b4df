"""What every verb needs: the store, the clock, the allocators and who signs tokens.

Enters: an open store and the cluster's choices.
Leaves: a Registry, handed to the verbs.
Holds: nothing decoded is kept; the allocators are derived from the stored services and never written by anybody else.
Next: registry.get … registry.deletecollection, one verb, one file.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

import orjson

from edgekube.admission.attributes import Authorizer
from edgekube.admission.escalation import Grants
from edgekube.api import schemas, times
from edgekube.api.kinds import SERVICECIDR, Kind
from edgekube.api.objects import Object
from edgekube.api.schemas import Node
from edgekube.metrics import Metrics
from edgekube.registry.alarms import Alarms
from edgekube.registry.allocation import ServiceAllocator
from edgekube.registry.custom.definitions import Definitions
from edgekube.registry.policed import PolicedNamespaces
from edgekube.registry.policies.active import Policies
from edgekube.registry.quota_space import Spaces
from edgekube.registry.served_kinds import ServedKinds
from edgekube.registry.standing import Standing
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
        clock: Callable[[], float] = time.time,
        draw: random.Random | None = None,
    ) -> None:
        """``clock`` gives seconds since the epoch; ``draw`` makes the suffixes of generated names."""
        self.store = store
        #: Built-in and custom kinds; whoever serves asks here.
        self.kinds = ServedKinds()
        self.clock = clock
        #: The second that was written last, and how it is written: objects made in one second say the same.
        self._now = (-1.0, "")
        self.draw = draw or random.SystemRandom()
        self.token_issuer = token_issuer
        #: Asked about roles and bindings that are written; None where nobody but the administrator writes.
        self.grants: Grants | None = None
        #: registry.webhook_client.WebhookClient: made when it is first needed, or by the server, which reaches further.
        self.webhooks: object | None = None
        #: Whom expressions of policies and webhooks ask who may do what.
        self.authorizer: Authorizer | None = None
        #: What admission goes by, as far as somebody configured it.
        self.standing = Standing()
        self.policies = Policies(self.standing)
        #: What this server counts (metrics.Metrics): whoever has a Registry may add families.
        self.metrics = Metrics()
        #: Watches that are being given the state they begin with (registry.initial_state).
        self.initial_readers = 0
        #: When watches look at the clock.
        self.alarms = Alarms()
        self.policed = PolicedNamespaces()
        self.quotas = Spaces()
        self.services = ServiceAllocator(service_cidr, node_ports, self.draw)
        self.custom = Definitions(store, self.kinds, clock)

    async def load(self) -> None:
        """Derive the allocators from the stored services and custom kinds from definitions, read what admission goes by. Once,
        before the first request."""
        await self.follow_service_ranges()
        await self.custom.load()
        await self.standing.load(self.store)
        await self.policed.load(self.store)

    async def follow_service_ranges(self) -> None:
        """Let the allocator know which ServiceCIDRs there are."""
        ranges = await self.store.list(SERVICECIDR.resource)
        services = await self.store.list("services")
        cidrs = [cidr for record in ranges.records for cidr in orjson.loads(record.value)["spec"]["cidrs"]]
        self.services.offer(cidrs, (orjson.loads(record.value) for record in services.records))

    def shape_of(self, kind: Kind) -> Node:
        """How objects of the kind merge: fields, list keys, what is atomic. An empty node: to be deduced from the objects."""
        if kind.custom:
            return self.custom.node(kind)
        return schemas.definition_of(kind)

    def now(self) -> str:
        """The time as metav1.Time writes it: RFC 3339, UTC, whole seconds."""
        second = self.clock() // 1
        if second != self._now[0]:
            self._now = (second, times.rfc3339(second))
        return self._now[1]

    def suffix(self) -> str:
        return "".join(self.draw.choices(_ALPHABET, k=5))

    async def find(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """The stored object, decoded; None when there is none."""
        record = await self.store.get(Key(kind.resource, namespace, name))
        if record is None:
            return None
        found: Object = orjson.loads(record.value)
        return found

    def classes(self, kind: Kind) -> list[Object]:
        """Every object of a kind of classes (registry.standing), in the order of their names. They are kept: nobody may change
        them."""
        return self.standing.made(kind.resource, _decoded)

    async def everything(self, kind: Kind, namespace: str | None = None) -> list[Object]:
        """Every stored object of a kind, decoded: for the few kinds that admission looks through."""
        page = await self.store.list(kind.resource, namespace)
        return [orjson.loads(record.value) for record in page.records]


def _decoded(raws: Iterable[bytes]) -> list[Object]:
    return [orjson.loads(raw) for raw in raws]
