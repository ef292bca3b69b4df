"""A secured API with its join door and the loops that sign, and machines that come to it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio
from cryptography.hazmat.primitives.asymmetric import ec

from edgekube import limits
from edgekube.api.cluster_facts import ClusterFacts
from edgekube.api.join_tokens import NAMESPACE, TokenRecord, as_secret, record_of, secret_name
from edgekube.api.kinds import SECRET
from edgekube.api.verbs import UserInfo
from edgekube.client.joining import Joined, join_with_token
from edgekube.controllers.certificates import approving, signing
from edgekube.controllers.certificates.rules import EXTENDED_USAGES, KEY_USAGES
from edgekube.pki.join_token import JoinToken, fingerprint, hash_of, new_salt, new_token
from edgekube.pki.requests import public_key_hash
from edgekube.pki.signer import RequestSigner
from edgekube.reconcile.engine import Engine
from edgekube.reconcile.recorder import Recorder
from edgekube.registry.local import LocalVerbs
from edgekube.server.allowed_serials import AllowedSerials
from edgekube.server.cluster_facts import KeptFacts
from edgekube.server.doors import Door, Doors
from edgekube.server.issuing import Issuer
from edgekube.server.joining import Joining
from edgekube.server.node_identities import NodeIdentities
from edgekube.server.pairing_desk import PairingDesk
from edgekube.server.pairing_door import METHODS, PairingDoor
from edgekube.server.pairing_door import NAME as PAIRINGS
from edgekube.server.pairings import Pairings
from tests.server.secured import Secured, secured_api


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass
class Machine:
    """A board out of its box."""

    name: str
    serial: str = ""
    key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)

    @property
    def public_key(self) -> str:
        return public_key_hash(self.key.public_key())


class Cluster:
    def __init__(self, secured: Secured, facts: KeptFacts, clock: Clock, pairings: Pairings) -> None:
        self.pairings = pairings
        self.secured = secured
        self.verbs = secured.verbs
        self.nodes = secured.nodes
        self.facts = facts
        self.clock = clock

    async def token(self, *, uses: int | None = 1, ttl_seconds: float | None = 3600) -> JoinToken:
        token = new_token(fingerprint(self.secured.authority.certificate_pem.decode()))
        salt = new_salt()
        expires_at = None if ttl_seconds is None else self.clock() + ttl_seconds
        record = TokenRecord(token.id, salt, hash_of(salt, token.secret), expires_at, uses)
        await self.verbs.create(SECRET, NAMESPACE, as_secret(record))
        return token

    async def record(self, token: JoinToken) -> TokenRecord:
        record = record_of(await self.verbs.get(SECRET, NAMESPACE, secret_name(token.id)))
        assert record is not None
        return record

    async def join(self, machine: Machine, token: JoinToken) -> Joined:
        with trio.fail_after(60):
            address = ("127.0.0.1", self.secured.port)
            return await join_with_token(address, token, machine.name, machine.key, machine.serial)


class Clock:
    """Wall time that a test may move on."""

    def __init__(self) -> None:
        self.ahead_seconds = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_seconds


@asynccontextmanager
async def joinable_cluster(
    directory: Path, *, may_create: Callable[[UserInfo, str], bool] | None = None
) -> AsyncIterator[Cluster]:
    clock = Clock()
    kept: list[KeptFacts] = []
    holder: list[Secured] = []
    pairing: list[PairingDoor] = []

    def facts() -> ClusterFacts:
        pem = (directory / "ca.crt").read_text()
        return ClusterFacts("", "", "10.42.0.0/16", "10.43.0.0/16", "10.43.0.10", "cluster.local", pem, ("https://127.0.0.1:1",))

    def doors(verbs: LocalVerbs, nodes: NodeIdentities) -> Doors:
        kept.append(KeptFacts(verbs, facts, clock))

        def verbs_of(user: UserInfo) -> LocalVerbs:
            return LocalVerbs(holder[0].registry, user)

        issuer = Issuer(verbs, verbs_of, nodes, kept[0].current, clock)
        pairing.append(PairingDoor(issuer, AllowedSerials(verbs), kept[0].current))
        return Doors([
            Door("cluster", frozenset({"GET"}), kept[0].serve),
            Door(PAIRINGS, METHODS, pairing[0].serve, requests_max=limits.PAIRING_REQUESTS_MAX),
            Door("join", frozenset({"POST"}), Joining(verbs, issuer, clock).serve),
        ])  # fmt: skip

    async with (
        secured_api(directory, doors=doors, desks=lambda: PairingDesk(pairing[0]).rows()) as secured,
        trio.open_nursery() as nursery,
    ):
        holder.append(secured)
        await kept[0].prepare()
        controllers: list[Any] = [signing.controller(RequestSigner(lambda: secured.authority, KEY_USAGES, EXTENDED_USAGES))]
        if may_create is not None:
            controllers.append(approving.controller(may_create))
        recorder = Recorder(secured.verbs, host="test")
        await nursery.start(Engine(secured.verbs, controllers, recorder=recorder, clock=clock).run)
        yield Cluster(secured, kept[0], clock, pairing[0].pairings)
        nursery.cancel_scope.cancel()
