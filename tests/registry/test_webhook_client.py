"""The webhook client against a real HTTPS server: who is trusted, how Services are followed, what people read when it fails."""

from __future__ import annotations

import base64
import datetime
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from edgekube import limits
from edgekube.api.kinds import ENDPOINTSLICE, SERVICE
from edgekube.api.objects import Object
from edgekube.registry.local import LocalVerbs
from edgekube.registry.state import Registry
from edgekube.registry.webhook_client import WebhookClient
from edgekube.registry.webhook_faults import CallFailed
from edgekube.store.protocol import Key
from tests.registry.hooks import Hooks, allow, serving_hooks
from tests.wire.certificates import Authority

REVIEW = orjson.dumps({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {"uid": "1"}})


@pytest.fixture
def hooks(tmp_path: Path) -> Iterator[Hooks]:
    with serving_hooks(tmp_path, "hook.default.svc") as served:
        served.answers["/"] = allow
        yield served


def everywhere(_: str) -> bool:
    return True


async def why(client: WebhookClient, config: Object, seconds: float = 20) -> str:
    with pytest.raises(CallFailed) as failed:
        await client.call(config, REVIEW, seconds)
    return str(failed.value)


async def put_service(
    registry: Registry, verbs: LocalVerbs, port: int, *, address: str = "127.0.0.1", ready: bool = True
) -> None:
    await verbs.create(SERVICE, "default", {"metadata": {"name": "hook"}, "spec": {"ports": [{"name": "tls", "port": 8443}]}})
    slice_: Object = {
        "metadata": {"name": "hook-1", "labels": {"kubernetes.io/service-name": "hook"}},
        "addressType": "IPv4",
        "ports": [{"name": "tls", "port": port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": ready}}],
    }
    # Nobody may write a loopback address there; what stands in the store all the same is looked at once more.
    await registry.store.create(Key(ENDPOINTSLICE.resource, "default", "hook-1"), lambda _: orjson.dumps(slice_))


def by_service(hooks: Hooks, **more: object) -> Object:
    return {"service": {"name": "hook", "namespace": "default", "port": 8443, **more}, "caBundle": hooks.bundle}


async def test_a_url_is_asked_and_learns_nothing_of_who_asks(registry: Registry, hooks: Hooks) -> None:
    hooks.answers["/mutate/pods"] = allow
    answer = orjson.loads(await WebhookClient(registry).call(hooks.config("/mutate/pods"), REVIEW, 2.5))
    assert answer["response"] == {"uid": "1", "allowed": True}
    [asked] = hooks.asked
    assert asked.path == "/mutate/pods?timeout=3s"
    assert asked.headers["host"] == f"127.0.0.1:{hooks.port}"
    assert asked.headers["content-type"] == "application/json"
    assert "authorization" not in asked.headers


async def test_connections_are_kept_and_a_closed_one_is_replaced(registry: Registry, hooks: Hooks) -> None:
    client = WebhookClient(registry)
    for _ in range(3):
        await client.call(hooks.config(), REVIEW, 10)
    assert len(hooks.connections) == 1
    hooks.answers["/bye"] = (200, {"connection": "close"}, b"{}")
    await client.call(hooks.config("/bye"), REVIEW, 10)
    await client.call(hooks.config(), REVIEW, 10)
    assert len(hooks.connections) == 2


async def test_a_service_leads_to_a_ready_endpoint(registry: Registry, verbs: LocalVerbs, hooks: Hooks) -> None:
    await put_service(registry, verbs, hooks.port)
    hooks.answers["/check"] = allow
    await WebhookClient(registry, reachable=everywhere).call(by_service(hooks, path="/check"), REVIEW, 10)
    [asked] = hooks.asked
    assert (asked.path, asked.headers["host"]) == ("/check?timeout=10s", "hook.default.svc:8443")


async def test_an_endpoint_on_this_machines_loopback_is_not_gone_to(registry: Registry, verbs: LocalVerbs, hooks: Hooks) -> None:
    await put_service(registry, verbs, hooks.port)
    said = await why(WebhookClient(registry), by_service(hooks))
    assert said == 'Post "https://hook.default.svc:8443/?timeout=20s": address not allowed'
    assert hooks.asked == []


async def test_services_that_lead_nowhere_are_named(registry: Registry, verbs: LocalVerbs, hooks: Hooks) -> None:
    client = WebhookClient(registry, reachable=everywhere)
    missing = await why(client, by_service(hooks))
    assert missing == 'Post "https://hook.default.svc:8443/?timeout=20s": service "hook" not found'
    await put_service(registry, verbs, hooks.port, ready=False)
    assert (await why(client, by_service(hooks))).endswith('?timeout=20s": no endpoints available for service "hook"')
    without = by_service(hooks)
    del without["service"]["port"]
    assert (await why(client, without)).endswith('no service port 443 found for service "hook"')


async def test_an_external_name_is_gone_to_and_shows_the_services_certificate(
    registry: Registry, verbs: LocalVerbs, hooks: Hooks
) -> None:
    spec = {"type": "ExternalName", "externalName": "localhost"}
    await verbs.create(SERVICE, "default", {"metadata": {"name": "hook"}, "spec": spec})
    await WebhookClient(registry).call(by_service(hooks, port=hooks.port), REVIEW, 10)
    assert hooks.asked[0].headers["host"] == f"hook.default.svc:{hooks.port}"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda hooks, other: {**hooks.config(), "caBundle": other}, "x509: certificate signed by unknown authority"),
        (lambda hooks, other: {"url": hooks.config()["url"]}, "x509: certificate signed by unknown authority"),
        (lambda hooks, other: hooks.config(host="localhost"), "x509: certificate is not valid for localhost"),
    ],
    ids=["another CA", "no CA", "another name"],
)
async def test_a_server_that_is_another_is_not_told_anything(
    registry: Registry, hooks: Hooks, tmp_path: Path, change: Callable[[Hooks, str], Object], said: str
) -> None:
    other = base64.b64encode(Authority(tmp_path, "another CA").path.read_bytes()).decode()
    assert (await why(WebhookClient(registry), change(hooks, other))).endswith(f"tls: failed to verify certificate: {said}")
    assert hooks.asked == []


async def test_a_certificate_whose_time_has_run_out_is_refused(registry: Registry, tmp_path: Path) -> None:
    long_ago = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=9)
    with serving_hooks(tmp_path, begins=long_ago, days=2) as hooks:
        assert (await why(WebhookClient(registry), hooks.config())).endswith("x509: certificate has expired or is not yet valid")


async def test_a_servers_own_certificate_may_be_what_is_trusted(registry: Registry, hooks: Hooks, tmp_path: Path) -> None:
    own = base64.b64encode((tmp_path / "hook.default.svc.crt").read_bytes()).decode()
    await WebhookClient(registry).call({**hooks.config(), "caBundle": own}, REVIEW, 10)
    assert len(hooks.asked) == 1


async def test_what_is_no_certificate_is_said(registry: Registry, hooks: Hooks) -> None:
    config = {**hooks.config(), "caBundle": base64.b64encode(b"nonsense").decode()}
    assert await why(WebhookClient(registry), config) == ("unable to load root certificates: unable to parse bytes as PEM block")


async def test_nobody_listens(registry: Registry, hooks: Hooks) -> None:
    url = "https://127.0.0.1:1/x"
    said = await why(WebhookClient(registry), {"url": url, "caBundle": hooks.bundle})
    assert said == f'Post "{url}?timeout=20s": dial tcp 127.0.0.1:1: connect: connection refused'


async def test_time_runs_out(registry: Registry, hooks: Hooks) -> None:
    config = hooks.config("/slow")
    assert await why(WebhookClient(registry), config, 0.2) == f'Post "{config["url"]}?timeout=1s": context deadline exceeded'


UNHAPPY = {
    'an error on the server ("boom") has prevented the request from succeeding': (500, {"content-type": "text/plain"}, b"boom\n"),
    "the server could not find the requested resource": (404, {}, b""),
    "the server responded with the status code 307 but did not return more information": (307, {"location": "/y"}, b""),
    "the server is currently unable to handle the request": (503, {}, b""),
}


@pytest.mark.parametrize("said", UNHAPPY)
async def test_answers_that_are_none(registry: Registry, hooks: Hooks, said: str) -> None:
    hooks.answers["/x"] = UNHAPPY[said]
    assert await why(WebhookClient(registry), hooks.config("/x")) == said
    assert len(hooks.asked) == 1  # nothing is followed, nothing asked twice


async def test_an_answer_without_end_is_cut_off(registry: Registry, hooks: Hooks) -> None:
    hooks.answers["/x"] = (200, {}, b"x" * (limits.WEBHOOK_RESPONSE_BYTES_MAX + 1))
    assert "larger than" in await why(WebhookClient(registry), hooks.config("/x"))
