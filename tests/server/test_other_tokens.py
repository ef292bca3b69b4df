"""Bearer tokens that TokenRequest did not give out: bootstrap tokens, tokens in Secrets, an identity provider's. Over TLS."""

from __future__ import annotations

import base64
import datetime
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jwt
import orjson
import pytest
import trio
import trio.testing
import yaml
from cryptography.hazmat.primitives.asymmetric import rsa

from edgekube import limits
from edgekube.admission.authentication.configuration import Jwt, parse_configuration
from edgekube.api import cluster_facts, cluster_info
from edgekube.api.cluster_facts import ClusterFacts
from edgekube.api.kinds import CONFIGMAP, SECRET, SERVICEACCOUNT
from edgekube.api.objects import Object
from edgekube.pki.authority import load_or_create_authority
from edgekube.pki.certificates import ensure, server_subject
from edgekube.pki.legacy_tokens import LegacyAccount
from edgekube.reconcile.cluster_info import keep_cluster_info
from edgekube.server.oidc import Provider, ProviderSettings
from edgekube.server.respond import error_body
from edgekube.wire.protocol import Request, Responder
from edgekube.wire.server import Server, open_listeners
from edgekube.wire.tls import ServerTls
from tests.server.secured import Secured, admin, secured_api

WHOAMI = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Secured]:
    async with secured_api(tmp_path) as running:
        yield running


async def who(api: Secured, token: str) -> Any:
    """The user that the token is, None for nobody."""
    answer = await api.ask(None, "POST", WHOAMI, {}, token=token)
    assert answer.status in (201, 401)
    return answer.json["status"]["userInfo"] if answer.status == 201 else None


def encoded(**texts: str) -> dict[str, str]:
    return {key.replace("_", "-"): base64.b64encode(text.encode()).decode() for key, text in texts.items()}


async def bootstrap_token(api: Secured, name: str, **data: str) -> None:
    good = {"token_id": name, "token_secret": "0123456789abcdef", "usage_bootstrap_authentication": "true"}
    secret: Object = {"metadata": {"name": f"bootstrap-token-{name}"}, "type": "bootstrap.kubernetes.io/token"}
    await api.verbs.create(SECRET, "kube-system", {**secret, "data": encoded(**{**good, **data})})


async def test_a_bootstrap_token(api: Secured) -> None:
    await bootstrap_token(api, "abcdef", auth_extra_groups="system:bootstrappers:fleet", expiration="2999-01-01T00:00:00Z")
    user = await who(api, "abcdef.0123456789abcdef")
    assert user == {
        "username": "system:bootstrap:abcdef",
        "groups": ["system:bootstrappers", "system:bootstrappers:fleet", "system:authenticated"],
    }
    assert await who(api, "abcdef.0123456789abcdee") is None
    assert await who(api, "nobody.0123456789abcdef") is None


@pytest.mark.parametrize(
    "data",
    [
        {"expiration": "2001-01-01T00:00:00Z"},
        {"expiration": "tomorrow"},
        {"usage_bootstrap_authentication": "false"},
        {"auth_extra_groups": "system:masters"},
        {"token_id": "zzzzzz"},
    ],
    ids=["expired", "expires at no time", "for something else", "a group of others", "another id"],
)
async def test_a_bootstrap_token_that_opens_nothing(api: Secured, data: dict[str, str]) -> None:
    await bootstrap_token(api, "abcdef", **data)
    assert await who(api, "abcdef.0123456789abcdef") is None


async def test_a_token_in_a_secret_lives_as_long_as_secret_and_account(api: Secured) -> None:
    account = await api.verbs.create(SERVICEACCOUNT, "default", {"metadata": {"name": "robot"}})
    token = api.legacy.issue(LegacyAccount("default", "robot", account["metadata"]["uid"], "robot-token"))
    annotations = {"kubernetes.io/service-account.name": "robot"}
    secret: Object = {
        "metadata": {"name": "robot-token", "annotations": annotations},
        "type": "kubernetes.io/service-account-token",
        "data": encoded(token=token),
    }
    assert await who(api, token) is None, "no Secret holds it yet"
    await api.verbs.create(SECRET, "default", secret)
    user = await who(api, token)
    assert user == {
        "username": "system:serviceaccount:default:robot",
        "uid": account["metadata"]["uid"],
        "groups": ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"],
    }
    review = {"spec": {"token": token, "audiences": ["somebody else"]}}
    other = await api.ask(admin(), "POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)
    assert "authenticated" not in other.json["status"]
    await api.verbs.delete(SERVICEACCOUNT, "default", "robot")
    await api.verbs.create(SERVICEACCOUNT, "default", {"metadata": {"name": "robot"}})
    assert await who(api, token) is None, "another account of the same name"


# --- an identity provider


class Idp:
    """Publishes its keys over TLS, and signs."""

    def __init__(self, directory: Path) -> None:
        self._authority = load_or_create_authority(directory, now=datetime.datetime.now(datetime.UTC))
        self.ca_file = directory / "ca.crt"
        subject = server_subject(["127.0.0.1"], "cluster.local")
        self._pair = ensure(self._authority, directory, "idp", subject, now=datetime.datetime.now(datetime.UTC))
        self.keys = {"first": rsa.generate_private_key(public_exponent=65537, key_size=2048)}
        self.url = ""
        self.asked: list[str] = []
        self.issuer = ""  # another name of it

    async def _answer(self, request: Request, responder: Responder) -> None:
        self.asked.append(request.path)
        if request.path == "/.well-known/openid-configuration":
            document: Object = {"issuer": self.issuer or self.url, "jwks_uri": f"{self.url}/keys"}
        else:
            rows = []
            for name, key in self.keys.items():
                row = orjson.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
                rows.append({**row, "kid": name, "use": "sig", "alg": "RS256"})
            document = {"keys": rows}
        await responder.send(200, {"content-type": "application/json"}, orjson.dumps(document))

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        tls = ServerTls(self._pair.certificate, self._pair.key, self.ca_file)
        server = Server(self._answer, tls=tls, error_body=error_body)
        async with trio.open_nursery() as nursery:
            port = (await nursery.start(server.serve, open_listeners(0, "127.0.0.1")))[0]
            self.url = f"https://127.0.0.1:{port}"
            yield
            nursery.cancel_scope.cancel()

    def token(self, key: str = "first", **claims: Any) -> str:
        body = {"iss": self.url, "aud": "edgekube", "sub": "7", "exp": time.time() + 600, **claims}
        return jwt.encode(body, self.keys[key], algorithm="RS256", headers={"kid": key})


def _from_file(idp: Idp, issuer: str) -> Jwt:
    """The same provider under another name, found by a discovery URL."""
    row = {
        "issuer": {
            "url": issuer,
            "discoveryURL": f"{idp.url}/.well-known/openid-configuration",
            "certificateAuthority": idp.ca_file.read_text(),
            "audiences": ["first", "second"],
            "audienceMatchPolicy": "MatchAny",
        },
        "claimValidationRules": [{"expression": "claims.exp - 700.0 < double(claims.exp)"}],
        "claimMappings": {
            "username": {"expression": "'guest:' + claims.name.lowerAscii()"},
            "groups": {"expression": "claims.?roles.orValue([])"},
            "uid": {"claim": "sub"},
            "extra": [{"key": "example.org/from", "valueExpression": "claims.aud.filter(a, a == 'second')"}],
        },
        "userValidationRules": [{"expression": "user.groups.all(group, !group.startsWith('system:'))"}],
    }
    kind = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration"}
    return parse_configuration({**kind, "jwt": [row]}).providers[0]


async def test_users_of_identity_providers(tmp_path: Path) -> None:
    (tmp_path / "idp").mkdir()
    (tmp_path / "cluster").mkdir()
    idp = Idp(tmp_path / "idp")
    async with idp.serving():
        settings = ProviderSettings(
            idp.url,
            "edgekube",
            username_claim="email",
            groups_claim="groups",
            groups_prefix="corp:",
            required_claims=(("tenant", "hall"),),
        )
        flags = Provider(settings.as_jwt(), time.time, ca_file=idp.ca_file)
        other = Provider(_from_file(idp, "https://elsewhere.example"), time.time)
        async with secured_api(tmp_path / "cluster", providers=[flags, other]) as api:
            claims: Any = {"email": "ann@example.com", "email_verified": True, "groups": ["ops"], "tenant": "hall"}
            user = await who(api, idp.token(**claims))
            assert user == {"username": "ann@example.com", "groups": ["corp:ops", "system:authenticated"]}
            assert await who(api, idp.token(**{**claims, "tenant": "other"})) is None
            assert await who(api, idp.token(**{**claims, "email_verified": False})) is None
            assert await who(api, idp.token(**{**claims, "aud": "somebody"})) is None
            assert await who(api, idp.token(**{**claims, "exp": time.time() - 5})) is None
            assert len(idp.asked) == 2, "its keys are asked for once"
            idp.issuer = "https://elsewhere.example"
            visitor = idp.token(iss="https://elsewhere.example", aud=["x", "second"], name="Bo", roles=["a", ""], jti="j")
            assert await who(api, visitor) == {
                "username": "guest:bo",
                "uid": "7",
                "groups": ["a", "system:authenticated"],
                "extra": {"example.org/from": ["second"], "authentication.kubernetes.io/credential-id": ["JTI=j"]},
            }
            assert await who(api, idp.token(iss="https://elsewhere.example", aud="third", name="Bo")) is None
            assert await who(api, idp.token(iss="https://nobody.example", aud="second", name="Bo")) is None
            assert len(idp.asked) == 4
            stranger = jwt.encode({"iss": idp.url, "aud": "edgekube", **claims}, "x" * 32, algorithm="HS256")
            assert await who(api, stranger) is None
            _, body, signature = idp.token(**claims).split(".")
            for odd in (7, ["first"], {"first": 1}, None, True):
                head = base64.urlsafe_b64encode(orjson.dumps({"alg": "RS256", "typ": "JWT", "kid": odd})).decode().rstrip("=")
                assert await who(api, f"{head}.{body}.{signature}") is None, "a kid that is no text"
            assert len(idp.asked) == 4
            idp.keys["second"] = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            assert await who(api, idp.token("second", **claims)) is None, "not again so soon"
            assert len(idp.asked) == 4


async def test_a_provider_with_new_keys_is_asked_again(tmp_path: Path, mock_clock: trio.testing.MockClock) -> None:
    idp = Idp(tmp_path)
    async with idp.serving():
        provider = Provider(ProviderSettings(idp.url, "edgekube").as_jwt(), time.time, ca_file=idp.ca_file)
        first = await provider.user_of(idp.token())
        assert first is not None and first.name == f"{idp.url}#7"
        idp.keys = {"second": rsa.generate_private_key(public_exponent=65537, key_size=2048)}
        mock_clock.jump(limits.OIDC_REFRESH_SECONDS)
        second = await provider.user_of(idp.token("second", jti="j"))
        assert second is not None and second.extra == {"authentication.kubernetes.io/credential-id": ("JTI=j",)}


async def test_the_cluster_tells_strangers_what_it_is_and_signs_it(api: Secured) -> None:
    facts = ClusterFacts(
        "id", "hall", "10.42.0.0/16", "10.43.0.0/16", "10.43.0.10", "cluster.local", "PEM", ("https://1.2.3.4:6443",)
    )
    await api.verbs.create(CONFIGMAP, "kube-system", {"metadata": {"name": cluster_facts.NAME}, "data": facts.as_data()})
    assert (await api.ask(None, "GET", cluster_info.PATH)).status == 403, "no role says that everybody may"
    for right in cluster_info.reading_rights():
        api.roles.put({**right, "kind": "RoleBinding" if "roleRef" in right else "Role"})

    async def told(*keys: str, but: str = "") -> dict[str, str]:
        """The data, once it has these keys and no others, and this value no more."""
        with trio.fail_after(60):
            while True:
                answered = await api.ask(None, "GET", cluster_info.PATH)
                data: dict[str, str] = answered.json["data"] if answered.status == 200 else {}
                if data.keys() == set(keys) and but not in data.values():
                    return data
                await trio.sleep(0.05)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_cluster_info, api.verbs, time.time)
        await told("kubeconfig")
        await bootstrap_token(api, "abcdef", usage_bootstrap_signing="true")
        await bootstrap_token(api, "ghijkl")
        signed = await told("kubeconfig", "jws-kubeconfig-abcdef")
        assert yaml.safe_load(signed["kubeconfig"])["clusters"][0]["cluster"]["server"] == "https://1.2.3.4:6443"
        await api.verbs.patch(CONFIGMAP, "kube-public", "cluster-info", {"data": {"kubeconfig": "mine"}})
        # What people write is signed as it is.
        now = await told("kubeconfig", "jws-kubeconfig-abcdef", but=signed["jws-kubeconfig-abcdef"])
        assert now["kubeconfig"] == "mine"
        await bootstrap_token(api, "mnopqr", usage_bootstrap_signing="true", expiration="2001-01-01T00:00:00Z")
        await api.verbs.delete(SECRET, "kube-system", "bootstrap-token-abcdef")
        await told("kubeconfig")
        with trio.fail_after(60):
            while True:
                if await api.registry.find(SECRET, "kube-system", "bootstrap-token-mnopqr") is None:
                    break
                await trio.sleep(0.05)
        assert (await api.ask(None, "GET", "/api/v1/namespaces/kube-public/configmaps")).status == 401
        nursery.cancel_scope.cancel()
