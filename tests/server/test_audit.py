"""The audit log, from requests to the file."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import trio

from edgekube import limits
from edgekube.admission.audit_policy import parse_policy
from edgekube.client.kubeconfig import KubeconfigError, load_collector
from edgekube.daemon.auditing import AuditRefused, open_auditing
from edgekube.metrics import Metrics
from edgekube.server.audit_file import AuditFile, Rotation
from edgekube.server.audit_webhook import AuditWebhook
from edgekube.server.auditing import Auditing
from edgekube.settings import Settings
from edgekube.wire.protocol import Request, Responder
from edgekube.wire.server import Server, open_listeners
from tests.server.running import Api, running_api

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "omitManagedFields": True,
    "rules": [
        {"level": "Metadata", "verbs": ["watch"], "omitStages": []},
        {"level": "Metadata", "resources": [{"resources": ["secrets"]}]},
        {"level": "RequestResponse", "verbs": ["create"]},
        {"level": "Request", "verbs": ["patch"]},
        {"level": "Metadata", "users": ["alice", ""]},
    ],
}


class Audited:
    def __init__(self, api: Api, file: AuditFile) -> None:
        self.ask = api.ask
        self.api = api
        self._file = file

    async def events(self) -> list[Any]:
        await self._file.flush()
        path = Path(self._file.path)
        return [orjson.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


@pytest.fixture
async def audited(tmp_path: Path) -> AsyncIterator[Audited]:
    async with _audited(tmp_path) as running:
        yield running


@asynccontextmanager
async def _audited(tmp_path: Path) -> AsyncIterator[Audited]:
    file = AuditFile(str(tmp_path / "audit.log"), Rotation())

    def auditing(registry: Any) -> Auditing:
        return Auditing(parse_policy(POLICY), {"log": file}, registry.metrics)

    async with running_api(tmp_path, auditing=auditing) as api:
        yield Audited(api, file)


async def test_a_creation_with_both_bodies(audited: Audited) -> None:
    answered = await audited.ask("POST", f"{CONFIGMAPS}?fieldManager=me", {"metadata": {"name": "a"}, "data": {"k": "v"}})
    (event,) = await audited.events()
    assert event["auditID"] == answered.headers["audit-id"]
    assert (event["kind"], event["apiVersion"], event["level"]) == ("Event", "audit.k8s.io/v1", "RequestResponse")
    assert (event["stage"], event["verb"], event["requestURI"]) == ("ResponseComplete", "create", f"{CONFIGMAPS}?fieldManager=me")
    assert event["user"]["username"] == "system:admin" or "system:masters" in event["user"]["groups"]
    assert event["objectRef"] == {"resource": "configmaps", "namespace": "default", "apiVersion": "v1"}
    assert event["responseStatus"] == {"metadata": {}, "code": 201}
    assert event["requestObject"]["data"] == event["responseObject"]["data"] == {"k": "v"}
    assert "managedFields" not in event["responseObject"]["metadata"]
    assert event["sourceIPs"] == ["127.0.0.1"]
    assert event["annotations"]["authorization.k8s.io/decision"] == "allow"
    assert event["requestReceivedTimestamp"] <= event["stageTimestamp"]
    mode = stat.S_IMODE(Path(audited._file.path).stat().st_mode)
    assert mode == 0o600


async def test_secrets_are_named_and_not_shown(audited: Audited) -> None:
    secret = {"metadata": {"name": "s"}, "stringData": {"password": "hunter2"}}
    assert (await audited.ask("POST", "/api/v1/namespaces/default/secrets", secret)).status == 201
    (event,) = await audited.events()
    assert event["level"] == "Metadata" and "requestObject" not in event and "responseObject" not in event


async def test_a_patch_and_a_failure(audited: Audited) -> None:
    headers = {"content_type": "application/merge-patch+json"}
    await audited.ask("PATCH", f"{CONFIGMAPS}/none", {"data": {"a": "b"}}, **headers)
    (event,) = await audited.events()
    assert event["requestObject"] == {"data": {"a": "b"}} and "responseObject" not in event
    status = event["responseStatus"]
    assert (status["status"], status["reason"], status["code"]) == ("Failure", "NotFound", 404)
    assert status["details"]["name"] == "none"


async def test_who_was_refused(audited: Audited) -> None:
    await audited.ask("GET", CONFIGMAPS, user="alice")
    await audited.ask("GET", CONFIGMAPS, user="mallory")
    refused, unknown = await audited.events()
    assert refused["user"]["username"] == "alice" and refused["responseStatus"]["code"] == 403
    assert refused["annotations"]["authorization.k8s.io/decision"] == "forbid"
    assert 'User "alice" cannot list' in refused["annotations"]["authorization.k8s.io/reason"]
    assert (unknown["stage"], unknown["responseStatus"]["code"], unknown["user"]) == ("ResponseStarted", 401, {})


async def test_a_watch_has_its_stages(audited: Audited) -> None:
    async with audited.api.watch(f"{CONFIGMAPS}?watch=1&timeoutSeconds=1&resourceVersion=0") as lines:
        while await lines.next() is not None:
            pass
    await audited.ask("GET", CONFIGMAPS)  # level None
    assert [event["stage"] for event in await audited.events()] == ["ResponseStarted", "ResponseComplete"]
    metrics = (await audited.ask("GET", "/metrics")).text
    assert "apiserver_audit_event_total 2" in metrics
    assert 'apiserver_audit_level_total{level="None"}' in metrics


async def test_what_is_large_is_left_out(audited: Audited) -> None:
    body = {"metadata": {"name": "big"}, "data": {"k": "x" * (limits.AUDIT_BODY_BYTES_MAX + 1)}}
    assert (await audited.ask("POST", CONFIGMAPS, body)).status == 201
    (event,) = await audited.events()
    assert event["annotations"]["audit.k8s.io/truncated"] == "true"
    assert "requestObject" not in event and "responseObject" not in event


async def test_files_rotate_and_old_ones_go(tmp_path: Path) -> None:
    now = [1_000_000_000.0]
    file = AuditFile(str(tmp_path / "audit.log"), Rotation(size_megabytes=1, backups=2), clock=lambda: now[0])
    for _ in range(5):
        file.put(b"x" * 700_000 + b"\n")
        await file.flush()
        now[0] += 1
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["audit-2001-09-09T01-46-43.000.log", "audit-2001-09-09T01-46-44.000.log", "audit.log"]


async def test_nobody_waits_for_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "AUDIT_WAITING_BYTES_MAX", 10)
    file = AuditFile(str(tmp_path / "missing" / "audit.log"), Rotation())
    assert file.put(b"12345\n") and not file.put(b"12345\n")
    await file.flush()  # there is no such directory
    assert file.lost == 2


def test_a_policy_with_a_mistake_keeps_the_server_from_starting(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    settings = Settings(node_name="n", data_dir=tmp_path, audit_policy_file=policy)
    policy.write_text("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: All}]\n")
    with pytest.raises(AuditRefused, match=r"policy.yaml: rules\[0\].level"):
        open_auditing(settings, Metrics())
    policy.write_text("a: [")
    with pytest.raises(AuditRefused, match=r"policy[.]yaml"):
        open_auditing(settings, Metrics())
    policy.write_text("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n")
    opened = open_auditing(settings, Metrics())
    assert opened is not None and isinstance(opened[1]["log"], AuditFile)
    assert opened[1]["log"].path == str(tmp_path / "server" / "audit" / "audit.log")
    collector = tmp_path / "collector.yaml"
    collector.write_text(_COLLECTOR.format(url="ftp://a"))
    told = replace(settings, audit_webhook_config_file=collector)
    with pytest.raises(AuditRefused, match=r"collector.yaml: server must be https://HOST"):
        open_auditing(told, Metrics())
    collector.write_text(_COLLECTOR.format(url="https://a/b"))
    opened = open_auditing(told, Metrics())
    assert opened is not None and list(opened[1]) == ["webhook"], "the file only where it is asked for"
    assert open_auditing(Settings(node_name="n", data_dir=tmp_path), Metrics()) is None


_COLLECTOR = """
current-context: it
contexts: [{{name: it, context: {{cluster: it, user: it}}}}]
clusters: [{{name: it, cluster: {{server: "{url}"}}}}]
users: [{{name: it, user: {{token: word}}}}]
"""


async def test_a_collector_gets_events_together_and_again_until_it_takes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("EVENTS_MAX", 2), ("RETRY_SECONDS", 0.01)):
        monkeypatch.setattr(limits, f"AUDIT_WEBHOOK_{name}", value)
    answers, taken = [503, 200, 400], list[Any]()
    got = trio.Event()

    async def collect(request: Request, responder: Responder) -> None:
        body = orjson.loads(await request.body.read(1 << 20))
        assert (request.method, f"{request.path}?{request.query}") == ("POST", "/k8s/audit?x=1")
        assert request.headers["authorization"] == "Bearer word"
        assert (body["kind"], body["apiVersion"]) == ("EventList", "audit.k8s.io/v1")
        taken.append([event["n"] for event in body["items"]])
        if len(taken) == 3:
            got.set()
        await responder.send(answers[len(taken) - 1], {}, b"")

    async with trio.open_nursery() as nursery:
        server = Server(collect, tls=None)
        port = (await nursery.start(server.serve, open_listeners(0, "127.0.0.1")))[0]
        config = tmp_path / "collector.yaml"
        config.write_text(_COLLECTOR.format(url=f"http://127.0.0.1:{port}/k8s/audit?x=1"))
        webhook = AuditWebhook(load_collector(config))
        for n in range(4):
            assert webhook.put(b'{"n":%d}' % n)
        nursery.start_soon(webhook.run)
        with trio.fail_after(60):
            await got.wait()
        nursery.cancel_scope.cancel()
    assert taken == [[0, 1], [0, 1], [2, 3]]


async def test_what_a_collector_has_not_taken_at_the_stop_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "AUDIT_WEBHOOK_EVENTS_MAX", 2)
    asked = trio.Event()

    async def never(request: Request, responder: Responder) -> None:
        asked.set()
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        port = (await nursery.start(Server(never, tls=None).serve, open_listeners(0, "127.0.0.1")))[0]
        config = tmp_path / "collector.yaml"
        config.write_text(_COLLECTOR.format(url=f"http://127.0.0.1:{port}/"))
        webhook = AuditWebhook(load_collector(config))
        for n in range(5):
            assert webhook.put(b'{"n":%d}' % n)
        nursery.start_soon(webhook.run)
        with trio.fail_after(60):
            await asked.wait()
        monkeypatch.setattr(limits, "AUDIT_WEBHOOK_SECONDS", 0.1)
        nursery.cancel_scope.cancel()
    assert webhook.lost == 5
    assert "did not take what was left at the stop events=5" in caplog.text


@pytest.mark.parametrize(
    ("given", "instead", "why"),
    [
        ("token: word", 'client-certificate-data: "QQ=="', "client-certificate and client-key belong together"),
        ('"}}}}]', '", tls-server-name: other}}}}]', "tls-server-name is not supported"),
        ('"}}}}]', '", proxy-url: "http://127.0.0.1:1"}}}}]', "proxy-url is not supported"),
    ],
)
def test_what_of_a_collector_is_not_left_out_in_silence(given: str, instead: str, why: str, tmp_path: Path) -> None:
    config = tmp_path / "collector.yaml"
    assert given in _COLLECTOR
    config.write_text(_COLLECTOR.replace(given, instead, 1).format(url="https://127.0.0.1:1/audit"))
    with pytest.raises(KubeconfigError, match=why):
        load_collector(config)
