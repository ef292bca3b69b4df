"""A secured API at which nodes renew their certificates: the doors they need, and the loop that signs."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from edgekube.api import times
from edgekube.api.cluster_facts import ClusterFacts
from edgekube.controllers.certificates import signing
from edgekube.controllers.certificates.rules import EXTENDED_USAGES, KEY_USAGES
from edgekube.pki.authority import Authority
from edgekube.pki.signer import RequestSigner
from edgekube.reconcile.engine import Engine
from edgekube.reconcile.recorder import Recorder
from edgekube.registry.local import LocalVerbs
from edgekube.server.doors import Door, Doors, answer
from edgekube.server.issuing import Issuer
from edgekube.server.node_identities import NodeIdentities
from edgekube.server.renewing import Renewing
from edgekube.wire.protocol import Request, Responder
from tests.server.secured import Secured, secured_api

FACTS = ClusterFacts("id", "lab", "10.42.0.0/16", "10.43.0.0/16", "10.43.0.10", "cluster.local", "CA", ("https://a:6443",))


@asynccontextmanager
async def renewing_api(
    directory: Path,
    *,
    facts: Callable[[], ClusterFacts] = lambda: FACTS,
    authority: Callable[[Secured], Authority] = lambda api: api.authority,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[Secured]:
    """``authority`` signs; ``clock`` is the server's."""

    async def cluster(request: Request, responder: Responder) -> None:
        await answer(request, responder, {"time": times.rfc3339(clock())})

    def doors(verbs: LocalVerbs, nodes: NodeIdentities) -> Doors:
        issuer = Issuer(verbs, lambda user: verbs, nodes, facts, clock)
        renewing = Door("renew", frozenset({"POST"}), Renewing(issuer, nodes).serve)
        return Doors([renewing, Door("cluster", frozenset({"GET"}), cluster)])

    async with secured_api(directory, doors=doors) as api, trio.open_nursery() as nursery:
        controller = signing.controller(RequestSigner(lambda: authority(api), KEY_USAGES, EXTENDED_USAGES))
        await nursery.start(Engine(api.verbs, [controller], recorder=Recorder(api.verbs, host="test"), clock=clock).run)
        yield api
        nursery.cancel_scope.cancel()
