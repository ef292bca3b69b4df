"""Admission webhooks as people use them: real HTTPS servers, asked by a server that is spoken to over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import trio

from edgekube.admission.default_roles import default_objects
from edgekube.api.errors import StatusError
from edgekube.api.kinds import CONFIGMAP, ENDPOINTSLICE, LEASE, SERVICE
from edgekube.api.objects import Object
from edgekube.registry.bootstrap import bootstrap
from edgekube.store.protocol import Key
from edgekube.wire.client import HttpConnection
from edgekube.wire.protocol import Request, Responder
from edgekube.wire.server import Server, open_listeners
from edgekube.wire.splice import splice
from edgekube.wire.transport import connect
from tests.registry.cluster import config_map, pod
from tests.registry.hooks import Hooks, allow, deny, patching, serving_hooks
from tests.server.running import Api, running_api

CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1"
MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"


@pytest.fixture
def hooks(tmp_path: Path) -> Iterator[Hooks]:
    with serving_hooks(tmp_path, "hook.default.svc") as served:
        yield served


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with running_api(tmp_path, reachable=lambda _: True) as running:
        yield running


def rule(*resources: str, group: str = "", version: str = "v1", operations: tuple[str, ...] = ("CREATE",), **more: Any) -> Object:
    return {"apiGroups": [group], "apiVersions": [version], "operations": list(operations), "resources": list(resources), **more}


MAP_CREATE = rule("configmaps")


def webhook(config: Object, *rules: Object, name: str = "check.example.com", **more: Any) -> Object:
    return {
        "name": name,
        "clientConfig": config,
        "rules": list(rules or (MAP_CREATE,)),
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        **more,
    }


async def put(api: Api, kind: str, *webhooks: Object, name: str = "hooks") -> None:
    """``kind``: Mutating or Validating."""
    body = {"metadata": {"name": name}, "webhooks": list(webhooks)}
    answer = await api.ask("POST", f"{CONFIGURATIONS}/{kind.lower()}webhookconfigurations", body)
    assert answer.status == 201, answer.text


async def made(api: Api, name: str, status: int = 201, **more: Any) -> Any:
    answer = await api.ask("POST", MAPS + more.pop("query", ""), config_map(name, **more))
    assert answer.status == status, answer.text
    return answer.json


async def test_a_validating_webhook_refuses_from_the_moment_it_is_written(api: Api, hooks: Hooks) -> None:
    hooks.answers["/deny"] = deny("the configmap contains unwanted key and value")
    await put(api, "Validating", webhook(hooks.config("/deny")))
    refused = await made(api, "web", 400)
    assert refused["message"] == (
        'admission webhook "check.example.com" denied the request: the configmap contains unwanted key and value'
    )
    assert "reason" not in refused
    answer = await api.ask("DELETE", f"{CONFIGURATIONS}/validatingwebhookconfigurations/hooks")
    assert answer.status == 200
    await made(api, "web")


async def test_the_review_says_everything_about_the_request(api: Api, hooks: Hooks) -> None:
    hooks.answers["/all"] = allow
    every = rule("*/*", group="*", version="*", operations=("*",))
    await put(api, "Validating", webhook(hooks.config("/all"), every))
    answer = await api.ask("POST", f"{MAPS}?fieldManager=me&fieldValidation=Strict", config_map("web", {"a": "1"}))
    assert answer.status == 201
    await api.ask("PUT", f"{MAPS}/web?dryRun=All", config_map("web", {"a": "2"}))
    await api.ask("DELETE", f"{MAPS}/web?propagationPolicy=Background")
    created, updated, deleted = hooks.requests("/all")
    assert created["uid"]
    kind = {"group": "", "version": "v1", "kind": "ConfigMap"}
    resource = {"group": "", "version": "v1", "resource": "configmaps"}
    assert (created["kind"], created["requestKind"]) == (kind, kind)
    assert (created["resource"], created["requestResource"]) == (resource, resource)
    assert (created["name"], created["namespace"], created["operation"]) == ("web", "default", "CREATE")
    assert created["userInfo"] == {"username": "admin", "groups": ["system:masters", "system:authenticated"]}
    assert (created["object"]["data"], created["oldObject"], created["dryRun"]) == ({"a": "1"}, None, False)
    options = {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "me", "fieldValidation": "Strict"}
    assert created["options"] == options
    assert created["object"]["metadata"]["uid"]
    assert (updated["object"]["data"], updated["oldObject"]["data"], updated["dryRun"]) == ({"a": "2"}, {"a": "1"}, True)
    assert updated["options"] == {"kind": "UpdateOptions", "apiVersion": "meta.k8s.io/v1", "dryRun": ["All"]}
    assert (deleted["object"], deleted["oldObject"]["data"], deleted["operation"]) == (None, {"a": "1"}, "DELETE")
    assert deleted["options"]["propagationPolicy"] == "Background"


async def test_mutating_webhooks_are_asked_in_order_and_see_each_other(api: Api, hooks: Hooks) -> None:
    hooks.answers["/one"] = patching({"op": "add", "path": "/data/stage-1", "value": "yes"})
    hooks.answers["/two"] = patching(
        {"op": "add", "path": "/data/stage-2", "value": "yes"}, when=lambda request: "stage-1" in request["object"]["data"]
    )
    await put(api, "Mutating", webhook(hooks.config("/two"), name="two.example.com"), name="b")
    await put(api, "Mutating", webhook(hooks.config("/one"), name="one.example.com"), name="a")
    assert (await made(api, "web", data={"start": "yes"}))["data"] == {"start": "yes", "stage-1": "yes", "stage-2": "yes"}
    assert [one.path.partition("?")[0] for one in hooks.asked] == ["/one", "/two"]


async def test_a_pod_that_a_webhook_changed_gets_its_defaults_and_loses_what_nobody_knows(api: Api, hooks: Hooks) -> None:
    container = {"name": "added", "image": "demo:2"}
    hooks.answers["/pods"] = patching(
        {"op": "add", "path": "/spec/initContainers", "value": [container]}, {"op": "add", "path": "/spec/nonsense", "value": 1}
    )
    await put(api, "Mutating", webhook(hooks.config("/pods"), rule("pods")))
    answer = await api.ask("POST", PODS, pod("web"))
    assert answer.status == 201, answer.text
    [added] = answer.json["spec"]["initContainers"]
    assert added["terminationMessagePolicy"] == "File" and added["imagePullPolicy"] == "IfNotPresent"
    assert "nonsense" not in answer.json["spec"]


async def test_what_a_webhook_makes_invalid_is_refused_as_anybodys(api: Api, hooks: Hooks) -> None:
    hooks.answers["/bad"] = patching({"op": "add", "path": "/metadata/labels", "value": {"a": "no spaces please"}})
    await put(api, "Mutating", webhook(hooks.config("/bad")))
    refused = await made(api, "web", 422)
    assert refused["details"]["causes"][0]["field"] == "metadata.labels"


@pytest.mark.parametrize(
    ("response", "said"),
    [
        ({"allowed": True, "patch": "W10="}, "received invalid webhook response: webhook returned response.patch but not"),
        ({"allowed": True, "patchType": "JSONPatch"}, "webhook returned response.patchType but not response.patch"),
        (
            {"allowed": True, "patchType": "Other", "patch": "W3sib3AiOiJhZGQiLCJwYXRoIjoiL2EifV0="},
            'unsupported patch type "Other"',
        ),
        ({"allowed": True, "patchType": "JSONPatch", "patch": "bm8="}, "received undecodable patch in webhook response: "),
        ({"allowed": True, "uid": "another"}, 'received invalid webhook response: expected response.uid="'),
    ],
)
async def test_answers_that_are_no_verdict(api: Api, hooks: Hooks, response: Object, said: str) -> None:
    hooks.answers["/odd"] = lambda _: response
    await put(api, "Mutating", webhook(hooks.config("/odd")))
    refused = await made(api, "web", 500)
    assert refused["message"].startswith('Internal error occurred: failed calling webhook "check.example.com": ')
    assert said in refused["message"]


async def test_a_patch_that_does_not_apply_is_an_error_whatever_the_policy(api: Api, hooks: Hooks) -> None:
    hooks.answers["/odd"] = patching({"op": "replace", "path": "/data/none/of/it", "value": 1})
    await put(api, "Mutating", webhook(hooks.config("/odd"), failurePolicy="Ignore"))
    assert (await made(api, "web", 500))["reason"] == "InternalError"


async def test_failure_policy(api: Api, hooks: Hooks) -> None:
    config = hooks.config("/nobody", host="localhost")  # the certificate says 127.0.0.1
    await put(api, "Validating", webhook(config, failurePolicy="Ignore"))
    await made(api, "open")
    await put(api, "Validating", webhook(config, name="closed.example.com"), name="closed")
    refused = await made(api, "closed", 500)
    assert refused["message"] == (
        'Internal error occurred: failed calling webhook "closed.example.com": failed to call webhook: Post '
        f'"https://localhost:{hooks.port}/nobody?timeout=10s": tls: failed to verify certificate: x509: certificate is not '
        "valid for localhost"
    )
    assert refused["reason"] == "InternalError"


async def test_time_is_kept(api: Api, hooks: Hooks) -> None:
    await put(api, "Validating", webhook(hooks.config("/slow"), timeoutSeconds=1))
    refused = await made(api, "web", 500)
    assert refused["message"].endswith(f':{hooks.port}/slow?timeout=1s": context deadline exceeded')


async def test_a_refusal_may_say_code_reason_and_details(api: Api, hooks: Hooks) -> None:
    details = {"causes": [{"reason": "FieldValueInvalid", "message": "no", "field": "data"}]}
    hooks.answers["/deny"] = deny("quite wrong", code=422, reason="Invalid", details=details)
    await put(api, "Validating", webhook(hooks.config("/deny")))
    refused = await made(api, "web", 422)
    assert (refused["reason"], refused["details"]["causes"][0]["field"]) == ("Invalid", "data")
    hooks.answers["/deny"] = deny(code=200)
    refused = await made(api, "web", 400)
    assert refused["message"] == 'admission webhook "check.example.com" denied the request without explanation'


async def test_warnings_reach_the_client_of_an_answer_and_of_a_refusal(api: Api, hooks: Hooks) -> None:
    hooks.answers["/warn"] = lambda _: {"allowed": True, "warnings": ["think twice"]}
    await put(api, "Validating", webhook(hooks.config("/warn")))
    answer = await api.ask("POST", MAPS, config_map("web"))
    assert answer.status == 201 and answer.headers["warning"] == '299 - "think twice"'
    hooks.answers["/warn"] = lambda _: {"allowed": False, "warnings": ["told you"]}
    answer = await api.ask("POST", MAPS, config_map("web-2"))
    assert answer.status == 400 and answer.headers["warning"] == '299 - "told you"'


async def test_all_validating_webhooks_are_asked_and_the_first_refusal_is_told(api: Api, hooks: Hooks) -> None:
    for path in ("/a", "/b", "/c"):
        hooks.answers[path] = deny(path) if path != "/a" else allow
    await put(api, "Validating", *(webhook(hooks.config(f"/{x}"), name=f"{x}.example.com") for x in "abc"))
    assert (await made(api, "web", 400))["message"].endswith("denied the request: /b")
    assert sorted(one.path.partition("?")[0] for one in hooks.asked) == ["/a", "/b", "/c"]


async def test_a_webhook_with_side_effects_is_not_asked_on_a_dry_run(api: Api, hooks: Hooks) -> None:
    hooks.answers["/x"] = allow
    await put(api, "Validating", webhook(hooks.config("/x"), sideEffects="NoneOnDryRun"))
    await made(api, "web", query="?dryRun=All")
    assert [request["dryRun"] for request in hooks.requests("/x")] == [True]
    stands = await api.ask("GET", f"{MAPS}/web")
    assert stands.status == 404


async def test_selectors(api: Api, hooks: Hooks) -> None:
    hooks.answers["/x"] = deny("chosen")
    chosen = {"matchLabels": {"guarded": "yes"}}
    await put(
        api, "Validating", webhook(hooks.config("/x"), rule("configmaps", operations=("CREATE", "UPDATE")), objectSelector=chosen)
    )
    await made(api, "web")
    await made(api, "guarded", 400, labels={"guarded": "yes"})
    answer = await api.ask("PUT", f"{MAPS}/web", config_map("web", labels={"guarded": "yes"}))
    assert answer.status == 400
    other = {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["other"]}]}
    await api.ask("DELETE", f"{CONFIGURATIONS}/validatingwebhookconfigurations/hooks")
    await put(api, "Validating", webhook(hooks.config("/x"), MAP_CREATE, rule("namespaces"), namespaceSelector=other))
    await made(api, "web-2")
    refused = await api.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "other"}})
    assert refused.status == 400  # a namespace that is being made counts as what it becomes
    assert (await api.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "another"}})).status == 201


async def test_configurations_themselves_are_judged_by_no_webhook(api: Api, hooks: Hooks) -> None:
    hooks.answers["/deny"] = deny("everything")
    every = rule("*/*", group="*", version="*", operations=("*",))
    for kind in ("Validating", "Mutating"):
        await put(api, kind, webhook(hooks.config("/deny"), every))
    await made(api, "web", 400)
    await put(api, "Validating", webhook(hooks.config("/deny")), name="another")
    for kind in ("validating", "mutating"):
        answer = await api.ask("DELETE", f"{CONFIGURATIONS}/{kind}webhookconfigurations")
        assert answer.status == 200
    await made(api, "web")


async def test_a_subresource_is_asked_about_with_its_own_object(api: Api, hooks: Hooks) -> None:
    hooks.answers["/x"] = allow
    resources = rule("pods/binding", "pods/eviction", "serviceaccounts/token", operations=("*",))
    scale = rule("replicationcontrollers/scale", operations=("*",))
    await put(api, "Validating", webhook(hooks.config("/x"), resources, scale))
    await api.ask("POST", PODS, pod("web"))
    target = {"metadata": {"name": "web"}, "target": {"kind": "Node", "name": "pi"}}
    assert (await api.ask("POST", f"{PODS}/web/binding", target)).status == 201
    assert (await api.ask("POST", f"{PODS}/web/eviction", {"metadata": {"name": "web"}})).status == 201
    controller = {"metadata": {"name": "rc"}, "spec": {"replicas": 0, "selector": {"a": "b"}, "template": {
        "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "demo:1"}]}}}}  # fmt: skip
    place = "/api/v1/namespaces/default/replicationcontrollers"
    assert (await api.ask("POST", place, controller)).status == 201
    answer = await api.ask("PATCH", f"{place}/rc/scale", {"spec": {"replicas": 3}}, content_type="application/merge-patch+json")
    assert answer.status == 200, answer.text
    asked = [(one["operation"], one["subResource"], one["kind"]["kind"], one["object"]["kind"]) for one in hooks.requests("/x")]
    assert asked == [
        ("CREATE", "binding", "Binding", "Binding"),
        ("CREATE", "eviction", "Eviction", "Eviction"),
        ("UPDATE", "scale", "Scale", "Scale"),
    ]
    last = hooks.requests("/x")[-1]
    assert (last["object"]["spec"], last["oldObject"]["spec"]) == ({"replicas": 3}, {})
    assert last["resource"]["resource"] == "replicationcontrollers"


async def test_attaching_is_refused(api: Api, hooks: Hooks) -> None:
    hooks.answers["/attach"] = lambda request: {
        "allowed": request["object"]["kind"] != "PodAttachOptions",
        "status": {"message": f"attaching to pod '{request['name']}' is not allowed"},
    }
    await put(api, "Validating", webhook(hooks.config("/attach"), rule("pods/attach", operations=("CONNECT",))))
    await api.ask("POST", PODS, pod("to-be-attached-pod"))
    answer = await api.ask("POST", f"{PODS}/to-be-attached-pod/attach?stdout=true&container=main")
    assert answer.status == 400
    assert answer.json["message"].endswith("attaching to pod 'to-be-attached-pod' is not allowed")
    [asked] = hooks.requests("/attach")
    assert asked["object"] == {"kind": "PodAttachOptions", "apiVersion": "v1", "stdout": True, "container": "main"}
    assert asked["options"] is None


async def test_each_object_of_a_collection_is_asked_about(api: Api, hooks: Hooks) -> None:
    hooks.answers["/x"] = deny("kept")
    for name in ("a", "b"):
        await made(api, name)
    await put(api, "Validating", webhook(hooks.config("/x"), rule("configmaps", operations=("DELETE",))))
    assert (await api.ask("DELETE", MAPS)).status == 400
    [asked] = hooks.requests("/x")
    assert "name" not in asked and asked["oldObject"]["metadata"]["name"] == "a"


async def test_a_name_that_is_yet_to_be_drawn(api: Api, hooks: Hooks) -> None:
    hooks.answers["/m"] = patching({"op": "add", "path": "/data/seen", "value": "yes"})
    hooks.answers["/v"] = allow
    await put(api, "Mutating", webhook(hooks.config("/m")))
    await put(api, "Validating", webhook(hooks.config("/v")))
    body = {"metadata": {"generateName": "web-"}, "data": {"a": "b"}}
    answer = await api.ask("POST", MAPS, body)
    assert answer.status == 201 and answer.json["data"] == {"a": "b", "seen": "yes"}
    [before], [after] = hooks.requests("/m"), hooks.requests("/v")
    assert "name" not in before["object"]["metadata"] and "name" not in before
    assert after["object"]["metadata"]["name"] == answer.json["metadata"]["name"]


async def test_who_wants_to_is_asked_again_when_somebody_changed_the_object_after(api: Api, hooks: Hooks) -> None:
    hooks.answers["/first"] = patching({"op": "add", "path": "/data/count", "value": "1"})
    hooks.answers["/second"] = patching({"op": "add", "path": "/data/late", "value": "yes"})
    await put(
        api, "Mutating",
        webhook(hooks.config("/first"), name="first.example.com", reinvocationPolicy="IfNeeded"),
        webhook(hooks.config("/second"), name="second.example.com"),
    )  # fmt: skip
    await made(api, "web")
    asked = [(one.path.partition("?")[0], sorted(one.review["request"]["object"]["data"])) for one in hooks.asked]
    assert asked == [
        ("/first", ["key"]),
        ("/second", ["count", "key"]),
        ("/first", ["count", "key", "late"]),
    ]


async def test_another_version_is_meant_too_unless_exactly_this_one_is(api: Api, hooks: Hooks) -> None:
    hooks.answers["/equivalent"] = patching({"op": "replace", "path": "/spec/targetCPUUtilizationPercentage", "value": 70})
    hooks.answers["/exact"] = allow
    v1 = rule("horizontalpodautoscalers", group="autoscaling")
    await put(
        api, "Mutating",
        webhook(hooks.config("/equivalent"), v1, name="a.example.com"),
        webhook(hooks.config("/exact"), v1, name="b.example.com", matchPolicy="Exact"),
    )  # fmt: skip
    cpu = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}
    target = {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"}
    body = {"metadata": {"name": "web"}, "spec": {"maxReplicas": 3, "scaleTargetRef": target, "metrics": [cpu]}}
    answer = await api.ask("POST", "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers", body)
    assert answer.status == 201, answer.text
    assert answer.json["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 70
    [asked] = hooks.requests("/equivalent")
    assert (asked["kind"]["version"], asked["requestKind"]["version"]) == ("v1", "v2")
    assert (asked["resource"]["version"], asked["requestResource"]["version"]) == ("v1", "v2")
    assert asked["object"]["apiVersion"] == "autoscaling/v1"
    assert hooks.requests("/exact") == []


async def test_a_webhook_behind_a_service(api: Api, hooks: Hooks) -> None:
    ports = [{"name": "", "port": hooks.port, "protocol": "TCP"}]
    service = {"metadata": {"name": "hook"}, "spec": {"ports": [{"port": 8443}]}}
    assert (await api.ask("POST", "/api/v1/namespaces/default/services", service)).status == 201
    slice_ = {
        "metadata": {"name": "hook-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "hook"}},
        "addressType": "IPv4", "ports": ports, "endpoints": [{"addresses": ["127.0.0.1"]}],
    }  # fmt: skip
    key = Key("endpointslices.discovery.k8s.io", "default", "hook-1")
    await api.registry.store.create(key, lambda _: orjson.dumps(slice_))
    hooks.answers["/deny"] = deny("by the service")
    config = {"service": {"name": "hook", "namespace": "default", "port": 8443, "path": "/deny"}, "caBundle": hooks.bundle}
    await put(api, "Validating", webhook(config))
    assert (await made(api, "web", 400))["message"].endswith("denied the request: by the service")


async def test_controllers_are_judged_as_anybody_but_heartbeats_are_not(api: Api, hooks: Hooks) -> None:
    hooks.answers["/deny"] = deny("no")
    await put(api, "Validating", webhook(hooks.config("/deny"), rule("*", group="*", version="*", operations=("*",))))
    with pytest.raises(StatusError, match="denied the request: no"):
        await api.verbs.create(CONFIGMAP, "default", config_map("web"))
    await api.verbs.create(LEASE, "default", {"metadata": {"name": "pi"}, "spec": {"leaseDurationSeconds": 40}})


async def test_calls_are_counted(api: Api, hooks: Hooks) -> None:
    hooks.answers["/deny"] = deny("no", code=403)
    await put(api, "Validating", webhook(hooks.config("/deny")), webhook({"url": "https://127.0.0.1:1"}, name="open.example.com",
              failurePolicy="Ignore"))  # fmt: skip
    await made(api, "web", 403)
    text = (await api.ask("GET", "/metrics")).text
    name = 'name="check.example.com",type="validating",operation="CREATE"'
    assert f'apiserver_admission_webhook_rejection_count{{{name},error_type="no_error",rejection_code="403"}} 1' in text
    assert f'apiserver_admission_webhook_request_total{{{name},code="403",rejected="true"}} 1' in text
    assert f'apiserver_admission_webhook_admission_duration_seconds_count{{{name},rejected="true"}} 1' in text
    assert 'apiserver_admission_webhook_fail_open_count{name="open.example.com",type="validating"} 1' in text


WIDGETS = "/apis/stable.example.com/v1/namespaces/default/widgets"


def widgets(*, keep: bool, storage: str = "v1") -> Object:
    data: Object = {"type": "object", "properties": {"start": {"type": "string"}, "stage-1": {"type": "string"}}}
    if keep:
        data["x-kubernetes-preserve-unknown-fields"] = True
    size = {"type": "integer", "default": 3}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"data": data, "size": size}}}
    versions = [{"name": name, "served": True, "storage": name == storage, "schema": schema} for name in ("v1", "v2")]
    names = {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"}
    spec = {"group": "stable.example.com", "scope": "Namespaced", "names": names, "versions": versions}
    return {"metadata": {"name": "widgets.stable.example.com"}, "spec": spec}


def widget(name: str, api_version: str = "v1", **data: str) -> Object:
    return {"apiVersion": f"stable.example.com/{api_version}", "kind": "Widget", "metadata": {"name": name}, "data": data}


DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.mark.parametrize("keep", [True, False], ids=["unknown fields kept", "unknown fields pruned"])
async def test_a_custom_resource_that_webhooks_change_keeps_to_its_schema(api: Api, hooks: Hooks, keep: bool) -> None:
    assert (await api.ask("POST", DEFINITIONS, widgets(keep=keep))).status == 201
    hooks.answers["/1"] = patching({"op": "add", "path": "/data/stage-1", "value": "yes"}, {"op": "remove", "path": "/size"})
    hooks.answers["/2"] = patching({"op": "add", "path": "/data/stage-2", "value": "yes"})
    ours = rule("widgets", group="stable.example.com")
    await put(api, "Mutating", webhook(hooks.config("/1"), ours, name="a.example.com"),
              webhook(hooks.config("/2"), ours, name="b.example.com"))  # fmt: skip
    answer = await api.ask("POST", WIDGETS, widget("one", start="yes"))
    assert answer.status == 201, answer.text
    kept = {"stage-2": "yes"} if keep else {}
    assert answer.json["data"] == {"start": "yes", "stage-1": "yes", **kept}
    assert answer.json["size"] == 3  # its default came back


async def test_a_custom_resource_is_asked_about_in_the_version_of_the_rules(api: Api, hooks: Hooks) -> None:
    assert (await api.ask("POST", DEFINITIONS, widgets(keep=True, storage="v2"))).status == 201
    hooks.answers["/x"] = patching({"op": "add", "path": "/data/seen", "value": "yes"})
    ours = rule("widgets", group="stable.example.com", operations=("CREATE", "UPDATE"))
    await put(api, "Mutating", webhook(hooks.config("/x"), ours))
    in_v2 = WIDGETS.replace("/v1/", "/v2/")
    assert (await api.ask("POST", in_v2, widget("one", "v2", a="1"))).json["data"] == {"a": "1", "seen": "yes"}
    answer = await api.ask(
        "PUT", f"{in_v2}/one", {**widget("one", "v2", a="2"), "metadata": (await api.ask("GET", f"{in_v2}/one")).json["metadata"]}
    )
    assert answer.status == 200 and answer.json["apiVersion"] == "stable.example.com/v2", answer.text
    asked = hooks.requests("/x")
    assert [one["object"]["apiVersion"] for one in asked] == ["stable.example.com/v1"] * 2
    assert asked[1]["oldObject"]["apiVersion"] == "stable.example.com/v1"


async def test_a_definition_can_be_refused(api: Api, hooks: Hooks) -> None:
    hooks.answers["/deny"] = deny("the crd contains unwanted label")
    ours = rule("customresourcedefinitions", group="apiextensions.k8s.io", version="*")
    await put(api, "Validating", webhook(hooks.config("/deny"), ours))
    answer = await api.ask("POST", DEFINITIONS, widgets(keep=True))
    assert answer.status == 400 and answer.json["message"].endswith("the crd contains unwanted label")


def condition(expression: str, name: str = "wanted") -> Object:
    return {"name": name, "expression": expression}


async def test_match_conditions_keep_a_webhook_from_being_asked(api: Api, hooks: Hooks) -> None:
    hooks.answers["/m"] = patching({"op": "add", "path": "/data/mutated", "value": "yes"})
    conditions = [
        condition("request.kind.kind == 'ConfigMap' && request.userInfo.username == 'admin'", "who"),
        condition("object.metadata.name != 'skip-me'", "not-skip-me"),
        condition("authorizer.group('').resource('configmaps').namespace('default').check('create').allowed()", "may"),
    ]
    await put(api, "Mutating", webhook(hooks.config("/m"), matchConditions=conditions))
    assert (await made(api, "web"))["data"] == {"key": "value", "mutated": "yes"}
    assert (await made(api, "skip-me"))["data"] == {"key": "value"}
    excluded = 'apiserver_admission_match_condition_exclusions_total{name="check.example.com",kind="webhook",type="admit",'
    assert f'{excluded}operation="CREATE"}} 1' in (await api.ask("GET", "/metrics")).text


async def test_match_conditions_may_cost_more_than_others_wait_for(api: Api, hooks: Hooks) -> None:
    """Beyond limits.CEL_AT_ONCE_COST_MAX they are computed in a thread, which asks the authorizer back here."""
    hooks.answers["/m"] = patching({"op": "add", "path": "/data/mutated", "value": "yes"})
    heavy = "object.data.list.split(',').all(x, object.data.list.split(',').all(y, x + y != 'ab'))"
    may = "authorizer.group('').resource('configmaps').namespace('default').check('create').allowed()"
    await put(api, "Mutating", webhook(hooks.config("/m"), matchConditions=[condition(f"{heavy} && {may}", "heavy")]))
    assert (await made(api, "light", data={"list": "a"}))["data"]["mutated"] == "yes"
    assert (await made(api, "heavy", data={"list": ",".join(["a"] * 250)}))["data"]["mutated"] == "yes"
    refused = await made(api, "heaviest", 403, data={"list": ",".join(["a"] * 600)})
    assert "cost limit exceeded" in refused["message"]


async def test_match_conditions_that_cannot_be_evaluated_follow_the_failure_policy(api: Api, hooks: Hooks) -> None:
    hooks.answers["/v"] = deny("asked")
    broken = [condition("object.nonsense.at.all == 'x'")]
    await put(api, "Validating", webhook(hooks.config("/v"), matchConditions=broken, failurePolicy="Ignore"), name="open")
    await made(api, "web")
    await put(api, "Validating", webhook(hooks.config("/v"), matchConditions=broken), name="closed")
    refused = await made(api, "web-2", 403)
    assert refused["message"].startswith('configmaps "web-2" is forbidden: ')
    assert "object.nonsense.at.all == 'x'" in refused["message"] and "no such key: nonsense" in refused["message"]
    both = [*broken, condition("false", "never")]
    path = f"{CONFIGURATIONS}/validatingwebhookconfigurations/closed"
    patch = [{"op": "replace", "path": "/webhooks/0/matchConditions", "value": both}]
    assert (await api.ask("PATCH", path, patch, content_type="application/json-patch+json")).status == 200
    await made(api, "web-2")  # one that is false is enough
    assert hooks.asked == []


async def test_match_conditions_see_the_old_object_of_a_deletion(api: Api, hooks: Hooks) -> None:
    hooks.answers["/v"] = deny("kept")
    conditions = [condition("oldObject.data.key == 'keep' && object == null")]
    await put(
        api, "Validating", webhook(hooks.config("/v"), rule("configmaps", operations=("DELETE",)), matchConditions=conditions)
    )
    await made(api, "kept", data={"key": "keep"})
    await made(api, "gone", data={"key": "other"})
    assert (await api.ask("DELETE", f"{MAPS}/kept")).status == 400
    assert (await api.ask("DELETE", f"{MAPS}/gone")).status == 200


@pytest.mark.parametrize("kind", ["Mutating", "Validating"])
async def test_match_conditions_that_are_no_expressions_are_refused_when_written(api: Api, hooks: Hooks, kind: str) -> None:
    bad = webhook(hooks.config(), matchConditions=[condition("... [] bad expression"), condition("'text'", "not a bool")])
    body = {"metadata": {"name": "bad"}, "webhooks": [bad]}
    answer = await api.ask("POST", f"{CONFIGURATIONS}/{kind.lower()}webhookconfigurations", body)
    assert answer.status == 422
    told = {cause["field"]: cause["message"] for cause in answer.json["details"]["causes"]}
    assert "compilation failed" in told["webhooks[0].matchConditions[0].expression"]
    assert "must evaluate to bool" in told["webhooks[0].matchConditions[1].expression"]
    assert "webhooks[0].matchConditions[1].name" in told


async def test_reviews_are_writes_too(api: Api, hooks: Hooks) -> None:
    hooks.answers["/deny"] = deny("nobody asks")
    ours = rule("selfsubjectaccessreviews", group="authorization.k8s.io")
    await put(api, "Validating", webhook(hooks.config("/deny"), ours))
    body = {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}}
    answer = await api.ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
    assert answer.status == 400 and answer.json["message"].endswith("nobody asks")


class Agent:
    """server.agents.AgentConnections: the agent of a node to which this machine has no route."""

    port = 0

    async def open(self, node_name: str) -> HttpConnection:
        return HttpConnection(await connect("127.0.0.1", self.port), f"{node_name}:10250")

    def is_here(self, node_name: str) -> bool:
        return False


async def test_a_webhook_on_another_node_is_spoken_to_through_its_agent_and_still_shows_its_certificate(
    tmp_path: Path, hooks: Hooks
) -> None:
    dialled: list[str] = []

    async def agent(request: Request, responder: Responder) -> None:
        dialled.append(request.path)
        stream = await responder.upgrade()
        await stream.send_all(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: edgekube-dial\r\nconnection: Upgrade\r\n\r\n")
        await splice(stream, await connect("127.0.0.1", hooks.port))

    hooks.answers["/v"] = deny("from afar")
    server, agents = Server(agent, tls=None), Agent()
    async with trio.open_nursery() as nursery:
        agents.port = (await nursery.start(server.serve, open_listeners(0, "127.0.0.1")))[0]
        async with running_api(tmp_path, agents) as api:
            await api.verbs.create(SERVICE, "default", {"metadata": {"name": "hook"}, "spec": {"ports": [{"port": 443}]}})
            reference = {"kind": "Pod", "namespace": "default", "name": "p"}
            endpoint = {"addresses": ["192.0.2.9"], "nodeName": "far", "targetRef": reference}
            metadata = {"name": "hook-1", "labels": {"kubernetes.io/service-name": "hook"}}
            slice_ = {"metadata": metadata, "addressType": "IPv4", "endpoints": [endpoint], "ports": [{"port": 8443}]}
            await api.verbs.create(ENDPOINTSLICE, "default", slice_)
            config: Object = {"service": {"name": "hook", "namespace": "default", "path": "/v"}, "caBundle": hooks.bundle}
            await put(api, "Validating", webhook(config))
            assert (await made(api, "web", 400))["message"].endswith("denied the request: from afar")
            config["service"]["name"] = "other"
            labels = {"kubernetes.io/service-name": "other"}
            await api.verbs.create(SERVICE, "default", {"metadata": {"name": "other"}, "spec": {"ports": [{"port": 443}]}})
            await api.verbs.create(ENDPOINTSLICE, "default", {**slice_, "metadata": {"name": "other-1", "labels": labels}})
            await put(api, "Validating", webhook(config, name="a.example.com"), name="a")
            refused = (await made(api, "web", 500))["message"]
            assert refused.endswith("x509: certificate is not valid for other.default.svc")
        await server.drain(1)
        nursery.cancel_scope.cancel()
    assert dialled[0] == "/dial/default/p/8443"


async def test_a_server_starts_whatever_webhooks_say(api: Api, hooks: Hooks) -> None:
    every = rule("*/*", group="*", version="*", operations=("*",))
    await put(api, "Mutating", webhook({"url": "https://127.0.0.1:1"}, every))
    await bootstrap(api.registry, addresses=["192.0.2.77"], port=6443, service_cidr="10.43.0.0/16", rbac=default_objects())
    moved = await api.ask("GET", "/api/v1/namespaces/default/endpoints/kubernetes")
    assert moved.json["subsets"][0]["addresses"] == [{"ip": "192.0.2.77"}]
    assert (await api.ask("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/view")).status == 200
