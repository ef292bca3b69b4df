"""Tokens for service accounts, signed by the real issuer and read by the real verifier."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from edgekube.api.errors import StatusError
from edgekube.api.kinds import NODE, POD, SERVICEACCOUNT
from edgekube.api.objects import Object, uid_of
from edgekube.pki.token_keys import TokenKeys
from edgekube.pki.tokens import TokenIssuer, TokenKey, TokenVerifier
from edgekube.registry.local import LocalVerbs
from tests.registry.cluster import ADMIN, default_account, open_registry, pod

NOW = 1_900_000_000.0
ISSUER = "https://kubernetes.default.svc.cluster.local"


@pytest.fixture
def key(tmp_path: Path) -> TokenKey:
    return TokenKey.load_or_create(tmp_path)


@pytest.fixture
async def signing(tmp_path: Path, key: TokenKey) -> AsyncIterator[LocalVerbs]:
    issuer = TokenIssuer(TokenKeys(key), ISSUER, lambda: NOW)
    async with open_registry(tmp_path / "state.db", token_issuer=issuer, clock=lambda: NOW) as registry:
        await default_account(registry)
        yield LocalVerbs(registry, ADMIN)


async def request(verbs: LocalVerbs, **spec: Any) -> Object:
    return await verbs.create(SERVICEACCOUNT, "default", {"spec": spec}, subresource="token", name="default")


async def test_a_token_names_its_account(signing: LocalVerbs, key: TokenKey) -> None:
    answer = await request(signing)
    assert answer["kind"] == "TokenRequest"
    assert answer["spec"] == {"audiences": [ISSUER], "expirationSeconds": 3600}
    assert answer["status"]["expirationTimestamp"] == "2030-03-17T18:46:40Z"
    account = TokenVerifier(TokenKeys(key), ISSUER, lambda: NOW).verify(answer["status"]["token"])
    assert (account.namespace, account.name) == ("default", "default")
    assert account.uid == uid_of(await signing.get(SERVICEACCOUNT, "default", "default"))


async def test_a_token_dies_with_its_pod_and_node(signing: LocalVerbs, key: TokenKey) -> None:
    node = await signing.create(NODE, "", {"metadata": {"name": "pi"}})
    made = await signing.create(POD, "default", pod("p", nodeName="pi"))
    reference = {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": uid_of(made)}
    answer = await request(signing, audiences=["vault"], boundObjectRef=reference)
    account = TokenVerifier(TokenKeys(key), ISSUER, lambda: NOW).verify(answer["status"]["token"], ["vault"])
    assert account.pod == ("p", uid_of(made))
    assert account.node == ("pi", uid_of(node))


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"expirationSeconds": 10}, "Invalid"),
        ({"expirationSeconds": 1 << 33}, "Invalid"),
        ({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "none"}}, "NotFound"),
        ({"boundObjectRef": {"kind": "Deployment", "apiVersion": "apps/v1", "name": "d"}}, "BadRequest"),
    ],
)
async def test_requests_that_are_refused(signing: LocalVerbs, spec: Object, reason: str) -> None:
    with pytest.raises(StatusError) as error:
        await request(signing, **spec)
    assert error.value.reason == reason


@pytest.mark.parametrize(
    ("metadata", "reason", "field"),
    [
        ({"name": "other"}, "Invalid", "metadata.name"),
        ({"namespace": "other"}, "Invalid", "metadata.namespace"),
        ({"uid": "x"}, "Conflict", ""),
    ],
)
async def test_a_body_about_another_account_is_refused(signing: LocalVerbs, metadata: Object, reason: str, field: str) -> None:
    with pytest.raises(StatusError) as error:
        await signing.create(SERVICEACCOUNT, "default", {"metadata": metadata}, subresource="token", name="default")
    assert error.value.reason == reason
    assert not field or [cause.field for cause in error.value.causes] == [field]


async def test_the_answer_names_its_account_and_a_node_that_is_gone_by_name(signing: LocalVerbs, key: TokenKey) -> None:
    made = await signing.create(POD, "default", pod("p", nodeName="gone"))
    answer = await request(signing, boundObjectRef={"kind": "Pod", "apiVersion": "v1", "name": "p"})
    assert answer["metadata"]["uid"] == uid_of(await signing.get(SERVICEACCOUNT, "default", "default"))
    account = TokenVerifier(TokenKeys(key), ISSUER, lambda: NOW).verify(answer["status"]["token"])
    assert account.pod == ("p", uid_of(made)) and account.node == ("gone", "")


async def test_a_pod_that_was_replaced_is_another_pod(signing: LocalVerbs) -> None:
    await signing.create(POD, "default", pod("p"))
    reference = {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": "old"}
    with pytest.raises(StatusError) as error:
        await request(signing, boundObjectRef=reference)
    assert error.value.reason == "Conflict"
