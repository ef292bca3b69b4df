"""Another API server behind this one: a real listener with TLS that believes the front proxy's certificate alone."""

from __future__ import annotations

import base64
import datetime
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
import trio

from edgekube import limits
from edgekube.api import api_services
from edgekube.api.errors import StatusError
from edgekube.api.kinds import APISERVICE, SERVICE
from edgekube.api.objects import Object
from edgekube.api.openapi.merging import Merging, part_of
from edgekube.api.verbs import UserInfo
from edgekube.pki.authority import Subject, load_or_create_authority
from edgekube.pki.certificates import ensure, front_proxy_subject, subject_of
from edgekube.reconcile.emptying import NamespaceEmptier
from edgekube.registry.state import Registry
from edgekube.server.aggregation import judging
from edgekube.server.aggregation.aggregator import Aggregator
from edgekube.server.aggregation.content import deletable
from edgekube.server.aggregation.forwarding import identity_headers, is_plain, passed_on
from edgekube.server.aggregation.own import missing, outlived
from edgekube.server.aggregation.published import aggregated_resources
from edgekube.server.aggregation.trust import NAME, publish_trust, trust_data
from edgekube.server.metrics_api.source import InternalMetrics
from edgekube.wire.protocol import Request, Responder
from edgekube.wire.server import Server, open_listeners
from edgekube.wire.tls import ServerTls
from edgekube.wire.validity import SystemClock
from tests.server.running import Answer, Api, running_api

NOW = datetime.datetime.now(datetime.UTC)
RESOURCES = {
    "kind": "APIResourceList",
    "apiVersion": "v1",
    "groupVersion": "wardle.example.com/v1alpha1",
    "resources": [
        {"name": "flunders", "singularName": "flunder", "namespaced": True, "kind": "Flunder",
         "verbs": ["delete", "get", "list", "watch"],
         "shortNames": ["fl"]},
        {"name": "flunders/status", "singularName": "", "namespaced": True, "kind": "Flunder", "verbs": ["get"]},
    ],
}  # fmt: skip


FLUNDER = "com.example.wardle.v1alpha1.Flunder"
OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_FLUNDERS = "/apis/wardle.example.com/v1alpha1/namespaces/{namespace}/flunders"
DOCUMENT_2: Any = {
    "swagger": "2.0",
    "info": {"title": "wardle", "version": "1"},
    "paths": {
        "/version/": {"get": {"responses": {"200": {"description": "OK"}}}},
        _FLUNDERS: {
            "get": {
                "description": "list them",
                "operationId": "listFlunders",
                "parameters": [{"$ref": "#/parameters/limit-1"}],
                "responses": {"200": {"description": "OK", "schema": {"$ref": f"#/definitions/{FLUNDER}"}}},
            }
        },
    },
    "definitions": {
        FLUNDER: {
            "type": "object",
            "description": "A kind of fish.",
            "properties": {
                "metadata": {"$ref": f"#/definitions/{OBJECT_META}"},
                "spec": {"$ref": "#/definitions/com.example.wardle.v1alpha1.FlunderSpec"},
            },
            "x-kubernetes-group-version-kind": [{"group": "wardle.example.com", "version": "v1alpha1", "kind": "Flunder"}],
        },
        "com.example.wardle.v1alpha1.FlunderSpec": {"type": "object", "properties": {"size": {"type": "string"}}},
        OBJECT_META: {"type": "object", "description": "as wardle has it"},
        "com.example.other.Unasked": {"type": "object"},
    },
    "parameters": {"limit-1": {"name": "limit", "in": "query", "type": "integer", "uniqueItems": True}},
}


class Wardle:
    """Answers as an aggregated API server does, and keeps what it was asked."""

    def __init__(self) -> None:
        self.healthy = True
        self.flunders = ["a", "b", "c"]
        self.document_url = "/openapi/v3/apis/wardle.example.com/v1alpha1?hash=ABC"
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        #: Of the server in front.
        self.aggregator: Aggregator | None = None

    async def handle(self, request: Request, responder: Responder) -> None:
        headers = dict(request.headers)
        assert request.peer_certificate is not None, "only the front proxy may speak"
        from cryptography import x509

        assert subject_of(x509.load_der_x509_certificate(request.peer_certificate))[0] == "front-proxy-client"
        body = await request.body.read(1 << 20)
        target = request.path + (f"?{request.query}" if request.query else "")
        self.seen.append((request.method, target, headers))
        if request.path == "/apis/wardle.example.com/v1alpha1":
            await self._send(responder, 200 if self.healthy else 500, RESOURCES)
        elif request.path == "/openapi/v3" and self.document_url:
            await self._send(
                responder, 200, {"paths": {"apis/wardle.example.com/v1alpha1": {"serverRelativeURL": self.document_url}}}
            )
        elif request.path == "/openapi/v2":
            if headers.get("if-none-match") == '"E1"':
                await responder.send(304, {"etag": '"E1"'})
                return
            await responder.send(200, {"content-type": "application/json", "etag": '"E1"'}, orjson.dumps(DOCUMENT_2))
        elif request.path.startswith("/openapi/v3/"):
            await self._send(responder, 200, {"openapi": "3.0.0", "paths": {}})
        elif request.path.startswith(KEPT):
            await self._kept(responder, request.method, request.path.removeprefix(KEPT).lstrip("/"), request.query)
        elif request.path.endswith("/flunders/slow"):
            await trio.sleep_forever()
        elif "watch" in request.query:
            await responder.start(200, {"content-type": "application/json"})
            await responder.write(b'{"type":"ADDED","object":{}}\n')
            await responder.write(b'{"type":"DELETED","object":{}}\n')
            await responder.end()
        else:
            await self._send(responder, 201 if request.method == "POST" else 200, {"said": body.decode()})

    async def _kept(self, responder: Responder, method: str, name: str, query: str) -> None:
        """Flunders that are listed one at a time, and deleted one by one."""
        if method == "DELETE":
            self.flunders.remove(name)
            await self._send(responder, 200, {"kind": "Status", "status": "Success"})
            return
        at = int(query.partition("continue=")[2] or 0)
        items = [{"metadata": {"name": each, "finalizers": ["example.com/hold"]}} for each in self.flunders[at : at + 1]]
        metadata = {"continue": str(at + 1)} if at + 1 < len(self.flunders) else {}
        await self._send(responder, 200, {"kind": "FlunderList", "metadata": metadata, "items": items})

    async def _send(self, responder: Responder, status: int, body: Any) -> None:
        await responder.send(status, {"content-type": "application/json"}, orjson.dumps(body))

    def last(self) -> tuple[str, str, dict[str, str]]:
        return next(each for each in reversed(self.seen) if each[2]["x-remote-user"] != "system:kube-aggregator")


@asynccontextmanager
async def with_wardle(tmp_path: Path) -> AsyncIterator[tuple[Api, Wardle, Callable[..., Object]]]:
    """``api_service(**spec)`` is the object that names it."""
    proxy = load_or_create_authority(tmp_path, now=NOW, stem="front-proxy-ca")
    front = ensure(proxy, tmp_path, "front-proxy-client", front_proxy_subject(), now=NOW)
    own = load_or_create_authority(tmp_path, now=NOW, stem="wardle-ca")
    pair = ensure(own, tmp_path, "wardle", Subject("wardle", (), "server", ("api.wardle.svc",)), now=NOW)
    wardle = Wardle()
    server = Server(wardle.handle, tls=ServerTls(pair.certificate, pair.key, tmp_path / "front-proxy-ca.crt"))

    def aggregator(registry: Registry) -> Aggregator:
        from edgekube.registry.local import LocalVerbs
        from tests.registry.cluster import ADMIN

        verbs = LocalVerbs(registry, ADMIN)
        paths = (str(front.certificate), str(front.key))
        besides = [("metrics.k8s.io", "v1beta1")]
        found = Aggregator(registry, verbs, lambda: paths, SystemClock(), reachable=lambda _: True, besides=besides)
        wardle.aggregator = found
        return found

    def api_service(**spec: Any) -> Object:
        chosen = {
            "group": "wardle.example.com",
            "version": "v1alpha1",
            "groupPriorityMinimum": 2000,
            "versionPriority": 200,
            "service": {"namespace": "wardle", "name": "api", "port": port},
            "caBundle": base64.b64encode(own.certificate_pem).decode(),
        } | spec
        chosen = {key: value for key, value in chosen.items() if value is not None}
        return {"metadata": {"name": "v1alpha1.wardle.example.com"}, "spec": chosen}

    async with trio.open_nursery() as nursery:
        port = (await nursery.start(server.serve, open_listeners(0, "127.0.0.1")))[0]
        async with running_api(tmp_path, aggregator=aggregator, reachable=lambda _: True) as api:
            await api.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "wardle"}})
            await api.verbs.create(SERVICE, "wardle", {
                "metadata": {"name": "api", "namespace": "wardle"},
                "spec": {"type": "ExternalName", "externalName": "localhost"},
            })  # fmt: skip
            yield api, wardle, api_service
        nursery.cancel_scope.cancel()


async def condition(api: Api, name: str, wanted: Callable[[Any], bool]) -> Any:
    """Of the APIService, once it is as wanted."""

    def found(answer: Answer) -> Any:
        status = (answer.json.get("status") or {}) if answer.status == 200 else {}
        return next(iter(status.get("conditions") or ()), None)

    def as_wanted(answer: Answer) -> bool:
        return (seen := found(answer)) is not None and wanted(seen)

    return found(await until(api, f"/apis/apiregistration.k8s.io/v1/apiservices/{name}", as_wanted))


async def until(api: Api, path: str, wanted: Callable[[Answer], bool], *, accept: str = "") -> Answer:
    with trio.fail_after(60):
        while True:
            answer = await api.ask("GET", path, accept=accept)
            if wanted(answer):
                return answer
            await trio.sleep(0.02)


PATH = "/apis/wardle.example.com/v1alpha1/namespaces/default/flunders"
KEPT = "/apis/wardle.example.com/v1alpha1/namespaces/shop/flunders"


async def test_requests_reach_the_server_in_the_users_name(tmp_path: Path) -> None:
    async with with_wardle(tmp_path) as (api, wardle, api_service):
        assert (await api.ask("GET", PATH)).status == 404
        await api.ask("POST", "/apis/apiregistration.k8s.io/v1/apiservices", api_service())
        passed = await condition(api, "v1alpha1.wardle.example.com", lambda c: c["status"] == "True")
        assert (passed["reason"], passed["message"]) == ("Passed", "all checks passed")

        made = await api.ask(
            "POST", f"{PATH}?fieldManager=x", b'{"a": 1}', x_remote_user="mallory", x_remote_group="system:masters"
        )
        assert (made.status, made.json) == (201, {"said": '{"a": 1}'})
        method, target, headers = wardle.last()
        assert (method, target) == ("POST", f"{PATH}?fieldManager=x")
        assert headers["x-remote-user"] == "admin" and "mallory" not in headers.values() and "authorization" not in headers
        assert "system:authenticated" in headers["x-remote-group"].split(", ")

        refused = await api.ask("GET", PATH, user="alice")
        assert refused.status == 403 and refused.json["reason"] == "Forbidden", "roles hold before anything is passed on"

        asked = len(wardle.seen)
        ambiguous = await api.ask("GET", f"{PATH}/x%2Fstatus")
        assert (ambiguous.status, ambiguous.json["reason"]) == (400, "BadRequest"), "here a name, there a subresource"
        assert [each for each in wardle.seen[asked:] if "x%2Fstatus" in each[1]] == []

        async with api.watch(f"{PATH}?watch=1") as lines:
            assert [(await lines.next())["type"], (await lines.next())["type"], await lines.next()] == ["ADDED", "DELETED", None]


async def test_discovery_tells_of_it(tmp_path: Path) -> None:
    async with with_wardle(tmp_path) as (api, _, api_service):
        await api.ask("POST", "/apis/apiregistration.k8s.io/v1/apiservices", api_service())
        await condition(api, "v1alpha1.wardle.example.com", lambda c: c["status"] == "True")
        accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

        def entry(answer: Answer) -> Any:
            return next(item for item in answer.json["items"] if item["metadata"]["name"] == "wardle.example.com")

        answer = await until(api, "/apis", lambda answer: entry(answer)["versions"][0]["freshness"] == "Current", accept=accept)
        found = entry(answer)
        (resource,) = found["versions"][0]["resources"]
        assert resource["resource"] == "flunders" and resource["subresources"][0]["subresource"] == "status"
        old = (await api.ask("GET", "/apis")).json["groups"]
        names = [group["name"] for group in old]
        assert names.index("wardle.example.com") > names.index("apps")
        assert (await api.ask("GET", "/apis/wardle.example.com")).json["preferredVersion"]["version"] == "v1alpha1"
        assert (await api.ask("GET", "/apis/wardle.example.com/v1alpha1")).json == RESOURCES
        await api.ask("DELETE", "/apis/apiregistration.k8s.io/v1/apiservices/v1alpha1.wardle.example.com")
        await until(api, PATH, lambda answer: answer.status == 404)
        assert "wardle.example.com" not in (await api.ask("GET", "/apis")).text


async def test_a_namespace_takes_along_what_another_server_keeps_in_it(tmp_path: Path) -> None:
    async with with_wardle(tmp_path) as (api, wardle, api_service), trio.open_nursery() as nursery:
        assert wardle.aggregator is not None
        wardle.healthy = False
        name = "v1alpha1.wardle.example.com"
        await api.ask("POST", "/apis/apiregistration.k8s.io/v1/apiservices", api_service())
        await condition(api, name, lambda c: c["status"] == "False")
        emptier = NamespaceEmptier(api.verbs, api.registry.kinds.stored_rows, wardle.aggregator.contents)
        nursery.start_soon(emptier.run)
        await api.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "shop"}})
        await api.ask("DELETE", "/api/v1/namespaces/shop")

        def told(answer: Answer) -> dict[str, Any]:
            return {each["type"]: each for each in answer.json["status"].get("conditions") or ()}

        held = told(await until(api, "/api/v1/namespaces/shop", lambda answer: bool(told(answer))))
        assert held["NamespaceDeletionDiscoveryFailure"]["message"] == (
            "Discovery failed for some groups, 1 failing: unable to retrieve the complete list of server APIs: "
            "wardle.example.com/v1alpha1: stale GroupVersion discovery: wardle.example.com/v1alpha1"
        )
        assert wardle.flunders == ["a", "b", "c"]
        wardle.healthy = True
        await condition(api, name, lambda c: c["status"] == "True")
        await until(api, "/api/v1/namespaces/shop", lambda answer: answer.status == 404)
        assert not wardle.flunders
        deletions = [headers["x-remote-user"] for method, target, headers in wardle.seen if method == "DELETE"]
        assert deletions == ["system:kube-controller-manager"] * 3
        nursery.cancel_scope.cancel()


def test_what_is_deletable_is_found_in_the_preferred_version() -> None:
    def resource(name: str, scope: str = "Namespaced", verbs: tuple[str, ...] = ("delete", "list")) -> Object:
        return {"resource": name, "scope": scope, "verbs": list(verbs)}

    told = {
        ("b.io", "v2"): {"freshness": "Current", "resources": [resource("x"), resource("y", "Cluster")]},
        ("b.io", "v1"): {"freshness": "Current", "resources": [resource("x"), resource("z"), resource("r", verbs=("get",))]},
        ("c.io", "v1"): {"freshness": "Stale", "resources": [resource("x")]},
    }
    found, undiscovered = deletable(
        [("apps", ["v1"]), ("b.io", ["v2", "v1"]), ("c.io", ["v1"])], lambda *group_version: told.get(group_version)
    )
    assert [(each.version, each.group_resource) for each in found] == [("v2", "x.b.io"), ("v1", "z.b.io")]
    assert undiscovered == {"c.io/v1": "stale GroupVersion discovery: c.io/v1"}


async def test_a_request_ends_when_its_time_is_up(tmp_path: Path) -> None:
    async with with_wardle(tmp_path) as (api, _, api_service):
        await api.ask("POST", "/apis/apiregistration.k8s.io/v1/apiservices", api_service())
        await condition(api, "v1alpha1.wardle.example.com", lambda c: c["status"] == "True")
        late = await api.ask("GET", f"{PATH}/slow?timeout=200ms")
        assert (late.status, late.json["reason"]) == (504, "Timeout")
        assert late.json["message"] == "Timeout: request did not complete within the allotted timeout"


async def test_its_openapi_document_is_found_and_asked_of_it(tmp_path: Path) -> None:
    async with with_wardle(tmp_path) as (api, wardle, api_service):
        await api.ask("POST", "/apis/apiregistration.k8s.io/v1/apiservices", api_service())
        await condition(api, "v1alpha1.wardle.example.com", lambda c: c["status"] == "True")
        key = "apis/wardle.example.com/v1alpha1"
        index = await until(api, "/openapi/v3", lambda answer: key in answer.json["paths"])
        assert index.json["paths"][key] == {"serverRelativeURL": wardle.document_url} and "api/v1" in index.json["paths"]
        document = await until(api, wardle.document_url, lambda answer: answer.status == 200)  # 503 until it counts as available
        assert document.json["openapi"] == "3.0.0"
        assert wardle.last()[:2] == ("GET", wardle.document_url)
        await api.ask("DELETE", "/apis/apiregistration.k8s.io/v1/apiservices/v1alpha1.wardle.example.com")
        await until(api, "/openapi/v3", lambda answer: key not in answer.json["paths"])


async def test_its_document_of_version_2_is_part_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with with_wardle(tmp_path) as (api, wardle, api_service):
        await api.ask("POST", "/apis/apiregistration.k8s.io/v1/apiservices", api_service())
        await until(api, PATH, lambda answer: answer.status == 200)
        whole = await api.ask("GET", "/openapi/v2")
        assert whole.json["paths"][_FLUNDERS]["get"]["parameters"] == [DOCUMENT_2["parameters"]["limit-1"]]
        types = whole.json["definitions"]
        assert types[FLUNDER] == DOCUMENT_2["definitions"][FLUNDER] and "com.example.wardle.v1alpha1.FlunderSpec" in types
        assert "com.example.other.Unasked" not in types
        assert whole.json["paths"]["/version/"]["get"]["operationId"] == "getCodeVersion", "ours, not wardle's"
        assert types[OBJECT_META]["description"] != "as wardle has it", "ours"
        again = await api.ask("GET", "/openapi/v2", if_none_match=whole.headers["etag"])
        assert again.status == 304

        def asked() -> list[str]:
            return [headers.get("if-none-match", "") for _, target, headers in wardle.seen if target == "/openapi/v2"]

        assert asked() == [""], "not again so soon"
        monkeypatch.setattr(limits, "AGGREGATED_DOCUMENT_SECONDS", 0.0)
        accept = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
        spoken = await api.ask("GET", "/openapi/v2", accept=accept)
        assert spoken.status == 200 and b"A kind of fish." in spoken.body
        assert asked() == ["", '"E1"']
        wardle.healthy = False
        assert wardle.aggregator is not None
        await api.ask("DELETE", "/apis/apiregistration.k8s.io/v1/apiservices/v1alpha1.wardle.example.com")
        without = await until(api, "/openapi/v2", lambda answer: FLUNDER not in answer.json["definitions"])
        assert without.headers["etag"] != whole.headers["etag"]


def test_two_types_of_one_name() -> None:
    def document(text: str, group: str) -> Any:
        path = {"get": {"responses": {"200": {"description": "OK", "schema": {"$ref": "#/definitions/a.Same"}}}}}
        types = {"a.Same": {"type": "object", "properties": {"b": {"$ref": "#/definitions/a.B"}}}, "a.B": {"description": text}}
        return {"swagger": "2.0", "paths": {f"/apis/{group}/v1/things": path}, "definitions": types}

    merging = Merging(lambda name: False)
    first = merging.add(part_of(document("x", "one.io"), {("one.io", "v1")}))
    assert first.types.keys() == {"a.Same", "a.B"}
    other = document("y", "two.io")
    other["definitions"]["a.Same"]["description"] = "another"
    second = merging.add(part_of(other, {("two.io", "v1")}))
    assert second.types.keys() == {"a.Same_v2", "a.B_v2"}
    assert second.types["a.Same_v2"]["properties"] == {"b": {"$ref": "#/definitions/a.B_v2"}}
    answer = second.paths["/apis/two.io/v1/things"]["get"]["responses"]["200"]
    assert answer["schema"] == {"$ref": "#/definitions/a.Same_v2"}
    assert merging.add(part_of(document("x", "three.io"), {("three.io", "v1")})).types == {}, "it is there already"


@pytest.mark.parametrize(
    "document",
    [
        None,
        {"openapi": "3.0.0", "paths": {}},
        {"swagger": "2.0"},
        {"swagger": "2.0", "paths": {"/apis/a.io/v1/x": {"get": {"parameters": [{"$ref": "#/parameters/gone"}]}}}},
        {"swagger": "2.0", "paths": {"/apis/a.io/v1/x": {"get": {"responses": 7}}}},
        {"swagger": "2.0", "paths": {}, "definitions": {"A": {"x-kubernetes-group-version-kind": 7}}},
        {"swagger": "2.0", "paths": {"/apis/a.io/v1/x": {"get": {"description": 7, "responses": {}}}}},
    ],
)
def test_a_document_that_cannot_be_told_is_refused_as_a_whole(document: Any) -> None:
    with pytest.raises(ValueError, match="document"):
        part_of(document, {("a.io", "v1")})


async def test_a_document_that_is_elsewhere_is_no_document(tmp_path: Path) -> None:
    async with with_wardle(tmp_path) as (api, wardle, api_service):
        wardle.document_url = "https://elsewhere.example.com/openapi/v3/apis/wardle.example.com/v1alpha1"
        await api.ask("POST", "/apis/apiregistration.k8s.io/v1/apiservices", api_service())
        await condition(api, "v1alpha1.wardle.example.com", lambda c: c["status"] == "True")
        assert "apis/wardle.example.com/v1alpha1" not in (await api.ask("GET", "/openapi/v3")).json["paths"]


async def test_a_server_that_fails_is_not_available(tmp_path: Path) -> None:
    async with with_wardle(tmp_path) as (api, wardle, api_service):
        wardle.healthy = False
        await api.ask("POST", "/apis/apiregistration.k8s.io/v1/apiservices", api_service())
        failed = await condition(api, "v1alpha1.wardle.example.com", lambda c: c["status"] == "False")
        assert failed["reason"] == "FailedDiscoveryCheck" and "bad status from https://api.wardle.svc:" in failed["message"]
        answer = await api.ask("GET", PATH)
        assert (answer.status, answer.text) == (503, "service unavailable\n")
        wardle.healthy = True
        await condition(api, "v1alpha1.wardle.example.com", lambda c: c["status"] == "True")
        assert (await api.ask("GET", PATH)).status == 200


async def test_a_stranger_in_its_place_is_not_believed(tmp_path: Path) -> None:
    async with with_wardle(tmp_path) as (api, wardle, api_service):
        other = load_or_create_authority(tmp_path, now=NOW, stem="other-ca")
        bundle = base64.b64encode(other.certificate_pem).decode()
        await api.ask("POST", "/apis/apiregistration.k8s.io/v1/apiservices", api_service(caBundle=bundle))
        failed = await condition(api, "v1alpha1.wardle.example.com", lambda c: c["status"] == "False")
        assert "certificate verify failed" in failed["message"] and not wardle.seen
        insecure = {"spec": {"caBundle": None, "insecureSkipTLSVerify": True}}
        await api.verbs.patch(APISERVICE, "", "v1alpha1.wardle.example.com", insecure)
        await condition(api, "v1alpha1.wardle.example.com", lambda c: c["status"] == "True")


async def test_what_is_served_here_has_apiservices_of_its_own(tmp_path: Path) -> None:
    async with with_wardle(tmp_path) as (api, _, _):
        local = await condition(api, "v1.apps", lambda c: c["status"] == "True")
        assert (local["reason"], local["message"]) == ("Local", "Local APIServices are always available")
        core = await api.verbs.get(APISERVICE, "", "v1.")
        assert core["spec"] == {"version": "v1", "groupPriorityMinimum": 18000, "versionPriority": 1}


async def test_metrics_are_asked_of_whoever_serves_them(tmp_path: Path) -> None:
    async with with_wardle(tmp_path) as (api, wardle, api_service):
        assert wardle.aggregator is not None
        source = InternalMetrics(wardle.aggregator, None)
        path = "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods?labelSelector=app%3Dweb"
        name = "v1beta1.metrics.k8s.io"
        await condition(api, name, lambda c: c["reason"] == "Local")
        with pytest.raises(StatusError) as error:
            await source.read(path)
        assert (error.value.code, error.value.message) == (404, "")
        # Somebody installs metrics-server: kubectl apply puts its Service into the APIService that is there.
        spec = {"group": "metrics.k8s.io", "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100}
        await api.verbs.patch(APISERVICE, "", name, {"spec": api_service(**spec)["spec"]})
        await condition(api, name, lambda c: c["reason"] == "Passed" and c["status"] == "True")
        await until(api, "/apis/metrics.k8s.io/v1beta1", lambda answer: answer.status == 200)
        assert source.versions_of("metrics.k8s.io") == ["v1beta1"]
        assert await source.read(path) == {"said": ""}
        method, target, headers = wardle.last()
        assert (method, target) == ("GET", path)
        assert headers["x-remote-user"] == "system:serviceaccount:kube-system:horizontal-pod-autoscaler"
        # And takes it away again.
        await api.verbs.delete(APISERVICE, "", name)
        await condition(api, name, lambda c: c["reason"] == "Local")
        assert source.versions_of("metrics.k8s.io") == []


def test_a_proxys_headers() -> None:
    user = UserInfo("jane", "u-1", ("a", "b"), {"example.com/Scopes": ("x", "y")})
    assert identity_headers(user) == {
        "X-Remote-User": "jane",
        "X-Remote-Uid": "u-1",
        "X-Remote-Group": ("a", "b"),
        "X-Remote-Extra-example.com%2Fscopes": ("x", "y"),
    }
    assert identity_headers(UserInfo("Jürgen", "", ("Łódź",))) == {
        "X-Remote-User": "Jürgen".encode().decode("latin-1"),
        "X-Remote-Group": ("Łódź".encode().decode("latin-1"),),
    }, "octets of UTF-8"
    sent = {"accept": "a", "authorization": "b", "x-remote-extra-y": "c", "impersonate-user": "d", "connection": "e"}
    assert passed_on(sent) == {"accept": "a"}


@pytest.mark.parametrize(
    ("path", "plain"),
    [
        ("/apis/g/v1/namespaces/ns/flunders/a", True),
        ("/apis/g/v1/flunders/", True),
        ("/apis/g/v1/flunders/a%3Ab;c", True),
        ("/apis/g/v1/flunders/a%252Fstatus", True),
        ("/apis/g/v1/flunders/a%2Fstatus", False),
        ("/apis/g/v1/flunders/a%2f", False),
        ("/apis/g/v1/flunders/../secrets/a", False),
        ("/apis/g/v1/flunders/%2E%2e/secrets/a", False),
        ("/apis/g/v1/./flunders", False),
        ("/apis/g/v1/namespaces//flunders", False),
    ],
)
def test_a_path_that_can_be_read_in_two_ways(path: str, plain: bool) -> None:
    assert is_plain(path) is plain


REMOTE = api_services.Remote("ns", "s", 443)
NAMED = {"spec": {"type": "ClusterIP", "ports": [{"name": "https", "port": 443}]}}
SLICE = {"endpoints": [{"addresses": ["192.0.2.1"]}], "ports": [{"name": "https", "port": 8443}]}


@pytest.mark.parametrize(
    ("service", "slices", "reason"),
    [
        (None, [], "ServiceNotFound"),
        ({"spec": {"ports": [{"port": 80}]}}, [], "ServicePortError"),
        (NAMED, [], "EndpointsNotFound"),
        (NAMED, [{**SLICE, "ports": []}], "MissingEndpoints"),
        (NAMED, [{**SLICE, "endpoints": [{"addresses": ["192.0.2.1"], "conditions": {"ready": False}}]}], "MissingEndpoints"),
        (NAMED, [SLICE], None),
        ({"spec": {"type": "ExternalName"}}, [], None),
    ],
)
def test_what_is_seen_before_looking(service: Object | None, slices: list[Object], reason: str | None) -> None:
    found = judging.before_looking(REMOTE, service, slices)
    assert (found and found["reason"]) == reason


def test_the_transition_time_moves_with_the_status_alone() -> None:
    first = judging.changed_status({}, judging.PASSED, "t1")
    assert first is not None and first["conditions"][0]["lastTransitionTime"] == "t1"
    seen = {"status": first}
    assert judging.changed_status(seen, judging.PASSED, "t2") is None
    failed = judging.changed_status(seen, judging.failed_look("x"), "t2")
    assert failed is not None and failed["conditions"][0]["lastTransitionTime"] == "t2"
    again = judging.changed_status({"status": failed}, judging.failed_look("y"), "t3")
    assert again is not None and again["conditions"][0]["lastTransitionTime"] == "t2"


def test_own_apiservices_come_and_go_with_what_is_served() -> None:
    made = missing([("", "v1"), ("example.com", "v1"), ("example.com", "v1")], {}, starting=True)
    assert [each["metadata"]["name"] for each in made] == ["v1.", "v1.example.com"]
    there = api_services.named(made)
    assert missing([("", "v1"), ("example.com", "v1")], {}, starting=False) == made[1:], (
        "built-in ones are made at the start alone"
    )
    assert outlived([("", "v1")], there) == ["v1.example.com"]
    assert not outlived([("", "v1")], {"v1.example.com": {"metadata": {"name": "v1.example.com"}}}), "people's own stay"
    made[1]["spec"]["service"] = {"namespace": "kube-system", "name": "other"}
    assert not outlived([("", "v1")], api_services.named(made)), "nor is one taken away that has become people's"


def test_groups_are_told_by_priority() -> None:
    remote = {"spec": {"group": "b.io", "version": "v1", "groupPriorityMinimum": 17850, "versionPriority": 1}}
    served = [
        ("apps", "v1"),
        ("", "v1"),
        ("b.io", "v1"),
        ("c.io", "v1beta1"),
        ("c.io", "v1"),
        ("autoscaling", "v1"),
        ("autoscaling", "v2"),
    ]
    assert api_services.sorted_versions(served, {"v1.b.io": remote}) == [
        ("", ["v1"]), ("b.io", ["v1"]), ("apps", ["v1"]), ("autoscaling", ["v2", "v1"]), ("c.io", ["v1", "v1beta1"]),
    ]  # fmt: skip


def test_a_list_of_resources_in_the_aggregated_form() -> None:
    assert aggregated_resources("g", "v1", {"resources": [{"name": "pods/x", "kind": "X", "group": "h", "verbs": []}]}) == [
        {
            "resource": "pods",
            "scope": "Namespaced",
            "singularResource": "",
            "verbs": [],
            "subresources": [{"subresource": "x", "responseKind": {"group": "h", "version": "v1", "kind": "X"}, "verbs": []}],
        }
    ]


async def test_whom_other_servers_may_believe_is_told(tmp_path: Path) -> None:
    async with running_api(tmp_path) as api:
        await api.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "kube-system"}})
        await publish_trust(api.verbs, trust_data("A", "B", "front-proxy-client"))
        await publish_trust(api.verbs, trust_data("A2", "B", "front-proxy-client"))
        told = (await api.ask("GET", f"/api/v1/namespaces/kube-system/configmaps/{NAME}")).json["data"]
        assert told["client-ca-file"] == "A2" and told["requestheader-allowed-names"] == '["front-proxy-client"]'
        assert told["requestheader-extra-headers-prefix"] == '["X-Remote-Extra-"]'
