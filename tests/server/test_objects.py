"""Objects over HTTP: create, read, change, delete, and what goes wrong."""

from __future__ import annotations

import pytest

from edgekube.api.errors import StatusError
from edgekube.api.kinds import ENDPOINTS
from edgekube.api.objects import Object
from tests.registry.cluster import config_map, deployment, pod, service
from tests.server.running import Api

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
PODS = "/api/v1/namespaces/default/pods"
SERVICES = "/api/v1/namespaces/default/services"


async def test_a_life(api: Api) -> None:
    created = await api.ask("POST", CONFIGMAPS, config_map("a"))
    assert created.status == 201
    assert created.json["metadata"]["namespace"] == "default"
    read = await api.ask("GET", f"{CONFIGMAPS}/a")
    assert (read.status, read.body) == (200, created.body)
    changed = await api.ask("PUT", f"{CONFIGMAPS}/a", {**read.json, "data": {"key": "other"}})
    assert (changed.status, changed.json["data"]) == (200, {"key": "other"})
    stale = await api.ask("PUT", f"{CONFIGMAPS}/a", read.json)
    assert (stale.status, stale.json["reason"]) == (409, "Conflict")
    assert stale.json["message"] == (
        'Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes to the '
        "latest version and try again"
    )
    gone = await api.ask("DELETE", f"{CONFIGMAPS}/a")
    assert gone.status == 200
    assert gone.json["status"] == "Success"
    assert gone.json["details"] == {"name": "a", "kind": "configmaps", "uid": created.json["metadata"]["uid"]}
    missing = await api.ask("GET", f"{CONFIGMAPS}/a")
    assert missing.json == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'configmaps "a" not found',
        "reason": "NotFound",
        "details": {"name": "a", "kind": "configmaps"},
        "code": 404,
    }


async def test_a_change_that_changes_nothing_keeps_the_revision(api: Api) -> None:
    created = (await api.ask("POST", CONFIGMAPS, config_map("a"))).json
    patched = await api.ask("PATCH", f"{CONFIGMAPS}/a", {"data": {"key": "value"}}, content_type="application/merge-patch+json")
    assert patched.json["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]


async def test_generation_counts_changes_of_intent(api: Api) -> None:
    created = (await api.ask("POST", DEPLOYMENTS, {**deployment("web"), "status": {"replicas": 9}})).json
    assert created["metadata"]["generation"] == 1
    assert created["status"] == {}
    merge = {"content_type": "application/merge-patch+json"}
    labelled = (await api.ask("PATCH", f"{DEPLOYMENTS}/web", {"metadata": {"labels": {"a": "b"}}}, **merge)).json
    assert labelled["metadata"]["generation"] == 1
    scaled = (await api.ask("PATCH", f"{DEPLOYMENTS}/web", {"spec": {"replicas": 2}}, **merge)).json
    assert scaled["metadata"]["generation"] == 2
    status = (await api.ask("PATCH", f"{DEPLOYMENTS}/web/status", {"status": {"replicas": 2}}, **merge)).json
    assert (status["metadata"]["generation"], status["status"]) == (2, {"replicas": 2})
    annotated = (await api.ask("PATCH", f"{DEPLOYMENTS}/web", {"metadata": {"annotations": {"a": "b"}}}, **merge)).json
    assert annotated["metadata"]["generation"] == 3, "of a Deployment annotations count, as upstream"
    told = {"metadata": {"annotations": {"a": "c"}}, "status": {"replicas": 2}}
    assert (await api.ask("PATCH", f"{DEPLOYMENTS}/web/status", told, **merge)).json["metadata"]["generation"] == 3


async def test_scale(api: Api) -> None:
    created = (await api.ask("POST", DEPLOYMENTS, deployment("web", 2))).json
    scale = (await api.ask("GET", f"{DEPLOYMENTS}/web/scale")).json
    assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert scale["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]
    assert (scale["spec"], scale["status"]) == ({"replicas": 2}, {"replicas": 0, "selector": "app=web"})
    scale["spec"]["replicas"] = 4
    written = await api.ask("PUT", f"{DEPLOYMENTS}/web/scale", scale)
    assert (written.status, written.json["spec"]["replicas"]) == (200, 4)
    again = await api.ask("PUT", f"{DEPLOYMENTS}/web/scale", scale)
    assert (again.status, again.json["reason"]) == (409, "Conflict")


@pytest.mark.parametrize(
    ("query", "status", "warning"),
    [
        ("", 201, '299 - "unknown field \\"spec.replica\\""'),
        ("?fieldValidation=Warn", 201, '299 - "unknown field \\"spec.replica\\""'),
        ("?fieldValidation=Ignore", 201, None),
        ("?fieldValidation=Strict", 400, None),
    ],
)
async def test_unknown_fields(api: Api, query: str, status: int, warning: str | None) -> None:
    body = deployment("web")
    body["spec"]["replica"] = 3
    answered = await api.ask("POST", DEPLOYMENTS + query, body)
    assert answered.status == status
    assert answered.headers.get("warning") == warning
    if status == 400:
        assert 'unknown field "spec.replica"' in answered.json["message"]
    else:
        assert "replica" not in answered.json["spec"]


async def test_fields_given_twice(api: Api) -> None:
    text = b'{"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a"}, "data": {"k": "1", "k": "2"}}'
    answered = await api.ask("POST", f"{CONFIGMAPS}?fieldValidation=Strict", text)
    assert (answered.status, answered.json["reason"]) == (400, "BadRequest")
    assert 'duplicate field "data.k"' in answered.json["message"]


@pytest.mark.parametrize(
    ("body", "content_type", "status", "reason"),
    [
        (b"null", "application/json", 422, "Invalid"),
        (b"k8s\0\n", "application/cbor", 415, "UnsupportedMediaType"),
        (b'{"kind":"Secret","apiVersion":"v1"}', "application/json", 400, "BadRequest"),
        (b'{"kind":"ConfigMap","apiVersion":"v2","metadata":{"name":"a"}}', "application/json", 400, "BadRequest"),
        (b'{"metadata":{"name":"a","namespace":"other"}}', "application/json", 400, "BadRequest"),
        (b'{"metadata":{"name":"a"},"data":{"k":5}}', "application/json", 400, "BadRequest"),
        (b'{"metadata":{}}', "application/json", 422, "Invalid"),
        (b'{"metadata":{"name":"A"}}', "application/json", 422, "Invalid"),
    ],
)
async def test_bad_bodies(api: Api, body: bytes, content_type: str, status: int, reason: str) -> None:
    answered = await api.ask("POST", CONFIGMAPS, body, content_type=content_type)
    assert (answered.status, answered.json["reason"]) == (status, reason)
    assert (await api.ask("GET", CONFIGMAPS)).json["items"] == []


_UNRECOGNIZED = "the object provided is unrecognized (must be of type ConfigMap): "
_UNREAD = f"{_UNRECOGNIZED}couldn't get version/kind; json parse error: "


@pytest.mark.parametrize(
    ("body", "content_type", "message"),
    [
        (b"{", "application/json", f"{_UNREAD}unexpected end of JSON input ({{)"),
        (b"", "application/json", f"{_UNREAD}unexpected end of JSON input (<empty>)"),
        (b"kind: [", "application/yaml", f"{_UNRECOGNIZED}yaml: line 1: did not find expected node content (6b696e643a205b)"),
        (
            b'{"metadata":{"name":"long name"',
            "application/json",
            f'{_UNREAD}unexpected end of JSON input ({{"metadata":{{"name":"long name ...)',
        ),
        (b"x" * 31, "application/json", f"{_UNREAD}invalid character 'x' looking for beginning of value ({'78' * 30} ...)"),
    ],
)
async def test_bodies_that_were_not_understood_are_shown(api: Api, body: bytes, content_type: str, message: str) -> None:
    for method, path in (("POST", CONFIGMAPS), ("PUT", f"{CONFIGMAPS}/a")):
        answered = await api.ask(method, path, body, content_type=content_type)
        assert (answered.status, answered.json["reason"], answered.json["message"]) == (400, "BadRequest", message)


@pytest.mark.parametrize(
    ("body", "content_type", "status", "message"),
    [
        (b"{", "application/json", 400, "couldn't get version/kind; json parse error: unexpected end of JSON input"),
        (b"a: [", "application/yaml", 400, "yaml: line 1: did not find expected node content"),
        (
            b'{"kind":"Pod"}',
            "application/json",
            400,
            'no kind "Pod" is registered for version "v1" in scheme "pkg/runtime/scheme.go:111"',
        ),
        (
            b'{"gracePeriodSeconds":"x"}',
            "application/json",
            400,
            "json: cannot unmarshal string into Go struct field DeleteOptions.gracePeriodSeconds of type int64",
        ),
        (
            b"{}",
            "text/plain",
            415,
            "the body of the request was in an unknown format - accepted media types include: application/json, "
            "application/yaml, application/vnd.kubernetes.protobuf",
        ),
    ],
)
async def test_options_of_a_deletion_that_are_none(api: Api, body: bytes, content_type: str, status: int, message: str) -> None:
    for path in (CONFIGMAPS, f"{CONFIGMAPS}/a"):
        answered = await api.ask("DELETE", path, body, content_type=content_type)
        assert (answered.status, answered.json["message"]) == (status, message)


async def test_what_the_body_is_comes_before_how_it_is_to_be_checked(api: Api) -> None:
    answered = await api.ask("POST", f"{CONFIGMAPS}?fieldValidation=bogus", b"{}", content_type="text/plain")
    assert answered.status == 415


async def test_yaml_in_and_out(api: Api) -> None:
    text = b"metadata: {name: a}\ndata:\n  key: 'yes'\n"
    created = await api.ask("POST", CONFIGMAPS, text, content_type="application/yaml", accept="application/yaml")
    assert (created.status, created.headers["content-type"]) == (201, "application/yaml")
    assert '  key: "yes"\n' in created.text


async def test_a_body_that_is_too_large(api: Api) -> None:
    body = b'{"data":{"k":"' + b"x" * (3 << 20) + b'"}}'
    answered = await api.ask("POST", CONFIGMAPS, body)
    assert (answered.status, answered.json["reason"]) == (413, "RequestEntityTooLarge")


async def test_patches_that_are_not_served(api: Api) -> None:
    answered = await api.ask("PATCH", f"{CONFIGMAPS}/a", b"{}", content_type="application/json")
    assert (answered.status, answered.json["reason"]) == (415, "UnsupportedMediaType")


async def test_dry_runs_leave_nothing(api: Api) -> None:
    answered = await api.ask("POST", f"{CONFIGMAPS}?dryRun=All", config_map("a"))
    assert answered.status == 201
    assert (await api.ask("GET", f"{CONFIGMAPS}/a")).status == 404
    taken = await api.ask("POST", f"{SERVICES}?dryRun=All", service("s", type="NodePort", ports=[{"port": 1, "nodePort": 30001}]))
    assert taken.status == 201
    kept = await api.ask("POST", SERVICES, service("s", type="NodePort", ports=[{"port": 1, "nodePort": 30001}]))
    assert kept.status == 201
    wrong = await api.ask("POST", f"{CONFIGMAPS}?dryRun=Some", config_map("a"))
    assert wrong.status == 422


async def test_names_and_places_must_agree(api: Api) -> None:
    await api.ask("POST", CONFIGMAPS, config_map("a"))
    answered = await api.ask("PUT", f"{CONFIGMAPS}/a", config_map("b"))
    assert answered.json["message"] == "the name of the object (b) does not match the name on the URL (a)"
    nameless = await api.ask("PUT", f"{CONFIGMAPS}/a", {"data": {}})
    assert nameless.json["message"] == "the name of the object (a based on URL) was undeterminable: name must be provided"
    why = 'ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal '
    for metadata, given in (
        ({"name": 5}, "number into Go struct field ObjectMeta.metadata.name"),
        ("x", "string into Go struct"),
    ):
        unread = await api.ask("PUT", f"{CONFIGMAPS}/a", {"metadata": metadata})
        assert unread.json["message"].startswith(why + given)
    answered = await api.ask("PUT", f"{CONFIGMAPS}/a", config_map("a", uid="other"))
    assert (answered.status, answered.json["reason"]) == (409, "Conflict")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("fieldManager=" + "x" * 129, "fieldManager"),
        ("fieldManager=a%07", "fieldManager"),
        ("fieldValidation=Maybe", "fieldValidation"),
        ("dryRun=None", "dryRun"),
    ],
)
async def test_options_that_mean_nothing(api: Api, query: str, field: str) -> None:
    merge = {"content_type": "application/merge-patch+json"}
    for answered, kind in (
        (await api.ask("POST", f"{CONFIGMAPS}?{query}", config_map("a")), "CreateOptions"),
        (await api.ask("PUT", f"{CONFIGMAPS}/a?{query}", config_map("a")), "UpdateOptions"),
        (await api.ask("PATCH", f"{CONFIGMAPS}/a?{query}", {}, **merge), "PatchOptions"),
    ):
        assert (answered.status, answered.json["details"]["kind"]) == (422, kind)
        assert answered.json["details"]["causes"][0]["field"] == field


async def test_put_creates_where_the_kind_allows_it(api: Api) -> None:
    lease = {"metadata": {"name": "a"}, "spec": {"holderIdentity": "me"}}
    leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases/a"
    assert (await api.ask("PUT", leases, lease)).status == 201
    answered = await api.ask("PUT", leases, lease)
    assert answered.status == 422
    assert answered.json["details"]["causes"][0]["field"] == "metadata.resourceVersion"
    assert (await api.ask("PUT", f"{CONFIGMAPS}/a", config_map("a"))).status == 404


async def test_methods_that_a_resource_does_not_have(api: Api) -> None:
    for method, path in (
        ("DELETE", "/api/v1/namespaces"),
        ("POST", f"{CONFIGMAPS}/a"),
        ("GET", "/api/v1/namespaces/default/bindings"),
        ("PUT", f"{PODS}/a/log"),
    ):
        answered = await api.ask(method, path, {} if method != "GET" else None)
        assert answered.status in (404, 405), (method, path)
        assert answered.json["reason"] in ("MethodNotAllowed", "NotFound")


async def test_two_versions_of_one_object(api: Api) -> None:
    scalers = "namespaces/default/horizontalpodautoscalers"
    body = {
        "metadata": {"name": "a"},
        "spec": {
            "scaleTargetRef": {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"},
            "maxReplicas": 4,
            "targetCPUUtilizationPercentage": 60,
        },
    }
    created = await api.ask("POST", f"/apis/autoscaling/v1/{scalers}", body)
    assert created.json["apiVersion"] == "autoscaling/v1"
    assert created.json["spec"]["targetCPUUtilizationPercentage"] == 60
    newer = (await api.ask("GET", f"/apis/autoscaling/v2/{scalers}/a")).json
    assert newer["spec"]["metrics"][0]["resource"]["target"] == {"type": "Utilization", "averageUtilization": 60}
    older = (await api.ask("GET", f"/apis/autoscaling/v1/{scalers}")).json
    assert older["kind"] == "HorizontalPodAutoscalerList"
    assert older["items"][0]["spec"]["targetCPUUtilizationPercentage"] == 60


async def test_an_event_has_two_addresses(api: Api) -> None:
    event = {
        "metadata": {"name": "e", "namespace": "default"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        "reason": "Started",
        "message": "it runs",
        "type": "Normal",
        "count": 1,
    }
    assert (await api.ask("POST", "/api/v1/namespaces/default/events", event)).status == 201
    events = "/apis/events.k8s.io/v1/namespaces/default/events"
    newer = (await api.ask("GET", f"{events}/e")).json
    assert (newer["apiVersion"], newer["note"], newer["regarding"]["name"]) == ("events.k8s.io/v1", "it runs", "p")
    selected = (await api.ask("GET", f"{events}?fieldSelector=regarding.name%3Dp")).json
    assert [item["note"] for item in selected["items"]] == ["it runs"]
    nobody = (await api.ask("GET", "/api/v1/events?fieldSelector=involvedObject.name%3Dq")).json
    assert nobody["items"] == []


async def test_pods_go_with_grace(api: Api) -> None:
    await api.ask("POST", PODS, pod("p"))
    await api.ask("POST", f"{PODS}/p/binding", {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "pi"}})
    marked = await api.ask("DELETE", f"{PODS}/p")
    assert (marked.status, marked.json["kind"]) == (200, "Pod")
    assert marked.json["metadata"]["deletionGracePeriodSeconds"] == 30
    shorter = await api.ask("DELETE", f"{PODS}/p?gracePeriodSeconds=5")
    assert shorter.json["metadata"]["deletionGracePeriodSeconds"] == 5
    longer = await api.ask("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 60})
    assert longer.json["metadata"]["deletionGracePeriodSeconds"] == 5
    await api.ask("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 0})
    assert (await api.ask("GET", f"{PODS}/p")).status == 404


async def test_large_answers_are_compressed_for_those_who_ask(api: Api) -> None:
    await api.ask("POST", CONFIGMAPS, config_map("a", {"key": "x" * 200_000}))
    plain = await api.ask("GET", CONFIGMAPS)
    assert "content-encoding" not in plain.headers
    packed = await api.ask("GET", CONFIGMAPS, accept_encoding="gzip")
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.body == plain.body
    small = await api.ask("GET", "/version", accept_encoding="gzip")
    assert "content-encoding" not in small.headers


async def test_a_secret_is_written_as_text_and_kept_as_data(api: Api) -> None:
    secrets = "/api/v1/namespaces/default/secrets"
    made = (await api.ask("POST", secrets, {"metadata": {"name": "s"}, "stringData": {"k": "text"}, "data": {"l": "YQ=="}})).json
    assert made["data"] == {"l": "YQ==", "k": "dGV4dA=="}
    assert "stringData" not in made
    merge = {"content_type": "application/merge-patch+json"}
    patched = (await api.ask("PATCH", f"{secrets}/s", {"stringData": {"k": "other"}}, **merge)).json
    assert patched["data"] == {"l": "YQ==", "k": "b3RoZXI="}


async def test_a_finished_pod_is_marked_in_its_table(api: Api) -> None:
    await api.ask("POST", PODS, pod("p"))
    merge = {"content_type": "application/merge-patch+json"}
    await api.ask("PATCH", f"{PODS}/p/status", {"status": {"phase": "Succeeded"}}, **merge)
    table = (await api.ask("GET", PODS, accept="application/json;as=Table;v=v1;g=meta.k8s.io")).json
    assert table["rows"][0]["conditions"][0]["type"] == "Completed"


async def test_a_protobuf_body(api: Api) -> None:
    text = bytes.fromhex(
        "6b3873000a0f0a0276311209436f6e6669674d6170121b0a110a016112001a0022002a0032003800420012060a01781201791a002200"
    )
    made = await api.ask("POST", CONFIGMAPS, text, content_type="application/vnd.kubernetes.protobuf")
    assert (made.status, made.json["data"]) == (201, {"x": "y"})


async def test_only_the_control_plane_may_say_that_somebody_is_at_a_link_local_address(api: Api) -> None:
    """A client could point a Service at what a node keeps to itself; nodes on a switch without DHCP really are there."""
    wanted: Object = {"metadata": {"name": "web"}, "subsets": [{"addresses": [{"ip": "169.254.7.1"}], "ports": [{"port": 80}]}]}
    answered = await api.ask("POST", "/api/v1/namespaces/default/endpoints", wanted)
    assert answered.status == 422
    assert "169.254.7.1" in answered.json["message"] and "link-local range" in answered.json["message"]
    made = await api.verbs.create(ENDPOINTS, "default", wanted)
    assert made["subsets"][0]["addresses"] == [{"ip": "169.254.7.1"}]
    wanted["subsets"][0]["addresses"] = [{"ip": "127.0.0.1"}]
    wanted["metadata"]["name"] = "loop"
    with pytest.raises(StatusError, match="loopback range"):
        await api.verbs.create(ENDPOINTS, "default", wanted)


async def test_an_owner_that_is_named_twice_is_named_once(api: Api) -> None:
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "11111111-1111-1111-1111-111111111111"}
    made = await api.ask("POST", CONFIGMAPS, config_map("a", ownerReferences=[owner, dict(owner)]))
    assert (made.status, made.json["metadata"]["ownerReferences"]) == (201, [owner])
    assert f"duplicate UID(s) observed: {owner['uid']}" in made.headers["warning"]
    patch = {"metadata": {"ownerReferences": [owner, owner]}}
    again = await api.ask("PATCH", f"{CONFIGMAPS}/a", patch, content_type="application/merge-patch+json")
    assert again.json["metadata"] == made.json["metadata"]
    assert "duplicate entries after mutating admission happens" in again.headers["warning"]


async def test_a_node_has_its_pod_cidr_in_both_fields(api: Api) -> None:
    for name, spec in (("one", {"podCIDR": "10.42.7.0/24"}), ("other", {"podCIDRs": ["10.42.7.0/24"]})):
        made = await api.ask("POST", "/api/v1/nodes", {"metadata": {"name": name}, "spec": spec})
        assert (made.json["spec"]["podCIDR"], made.json["spec"]["podCIDRs"]) == ("10.42.7.0/24", ["10.42.7.0/24"])


@pytest.mark.parametrize(("own", "shared"), [({}, True), ({"app": "web"}, False), ({"other": "x"}, False)])
async def test_a_job_without_labels_of_its_own_has_all_of_its_templates(api: Api, own: Object, shared: bool) -> None:
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "demo:1"}]}
    job = {
        "metadata": {"name": "count", "labels": own},
        "spec": {"template": {"metadata": {"labels": {"app": "web"}}, "spec": pod}},
    }
    made = (await api.ask("POST", "/apis/batch/v1/namespaces/default/jobs", job)).json
    labels = made["spec"]["template"]["metadata"]["labels"]
    assert labels["batch.kubernetes.io/job-name"] == "count" and labels["controller-uid"] == made["metadata"]["uid"]
    assert made["metadata"]["labels"] == (labels if shared else own)


async def test_an_old_field_of_endpoints_can_no_longer_be_written(api: Api) -> None:
    path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
    endpoint = {"addresses": ["10.1.2.3"], "deprecatedTopology": {"a": "b"}}
    made = await api.ask("POST", path, {"metadata": {"name": "web"}, "addressType": "IPv4", "endpoints": [endpoint]})
    assert made.json["endpoints"] == [{"addresses": ["10.1.2.3"], "conditions": {}}]
    changed = {**made.json, "endpoints": [{**endpoint, "addresses": ["10.1.2.4"]}]}
    assert (await api.ask("PUT", f"{path}/web", changed)).json["endpoints"] == [{"addresses": ["10.1.2.4"], "conditions": {}}]


async def test_a_name_that_is_taken_where_one_might_have_been_drawn(api: Api) -> None:
    body = {"metadata": {"name": "taken", "generateName": "any-"}}
    assert (await api.ask("POST", CONFIGMAPS, body)).status == 201
    again = await api.ask("POST", CONFIGMAPS, body)
    assert (again.status, again.headers["retry-after"], again.json["details"]["retryAfterSeconds"]) == (409, "1", 1)
    assert again.json["message"] == (
        'configmaps "taken" already exists, the server was not able to generate a unique name for the object'
    )


async def test_nobody_manages_what_is_empty_and_always_there(api: Api) -> None:
    """Nor what is inside of something that has no type: all of it is one field."""
    path = "/apis/apps/v1/namespaces/default/controllerrevisions"
    made = await api.ask("POST", path, {"metadata": {"name": "web-1"}, "data": {"a": {"b": "c"}}, "revision": 0})
    [entry] = made.json["metadata"]["managedFields"]
    assert made.json["revision"] == 0 and entry["fieldsV1"] == {"f:data": {}}


async def test_a_precondition_that_is_not_met_says_which(api: Api) -> None:
    made = (await api.ask("POST", CONFIGMAPS, config_map("a"))).json["metadata"]
    other = await api.ask("DELETE", f"{CONFIGMAPS}/a", {"preconditions": {"uid": "other"}})
    assert (other.status, other.json["details"]) == (409, {"name": "a", "kind": "ConfigMap"})
    assert other.json["message"] == (
        'Operation cannot be fulfilled on ConfigMap "a": the UID in the precondition (other) does not match the UID in record '
        f"({made['uid']}). The object might have been deleted and then recreated"
    )
    older = await api.ask("DELETE", f"{CONFIGMAPS}/a", {"preconditions": {"resourceVersion": "1"}})
    assert older.json["message"] == (
        'Operation cannot be fulfilled on ConfigMap "a": the ResourceVersion in the precondition (1) does not match the '
        f"ResourceVersion in record ({made['resourceVersion']}). The object might have been modified"
    )


async def test_a_grace_that_is_cut_to_nothing_is_told_as_such(api: Api) -> None:
    await api.ask("POST", PODS, pod("a", nodeName="pi"))
    assert (await api.ask("DELETE", f"{PODS}/a", {"gracePeriodSeconds": 20})).json["metadata"]["deletionGracePeriodSeconds"] == 20
    assert (await api.ask("DELETE", f"{PODS}/a", {"gracePeriodSeconds": 0})).json["metadata"]["deletionGracePeriodSeconds"] == 0
    assert (await api.ask("GET", f"{PODS}/a")).status == 404


async def test_who_knows_of_one_pod_address_only_has_the_say(api: Api) -> None:
    await api.ask("POST", PODS, pod("a"))
    merge = {"content_type": "application/merge-patch+json"}
    first = await api.ask("PATCH", f"{PODS}/a/status", {"status": {"podIP": "10.0.0.1"}}, **merge)
    assert first.json["status"]["podIPs"] == [{"ip": "10.0.0.1"}]
    second = await api.ask("PATCH", f"{PODS}/a/status", {"status": {"podIP": "10.0.0.2"}}, **merge)
    assert second.json["status"]["podIPs"] == [{"ip": "10.0.0.2"}]


async def test_a_scale_that_makes_no_sense_is_a_scales_fault(api: Api) -> None:
    await api.ask("POST", DEPLOYMENTS, deployment("a"))
    scale = f"{DEPLOYMENTS}/a/scale"
    wrong = await api.ask("PATCH", scale, {"spec": {"replicas": "x"}}, content_type="application/merge-patch+json")
    assert (wrong.status, wrong.json["details"]["causes"][0]["field"]) == (422, "patch")
    assert wrong.json["message"].endswith(
        "json: cannot unmarshal string into Go struct field ScaleSpec.spec.replicas of type int32"
    )
    unknown = {"metadata": {"name": "a"}, "spec": {"replicas": 3, "bogus": 1}}
    strict = await api.ask("PUT", f"{scale}?fieldValidation=Strict", unknown)
    assert strict.json["message"] == (
        'Scale in version "v1" cannot be handled as a Scale: strict decoding error: unknown field "spec.bogus"'
    )
    missing = await api.ask("GET", f"{DEPLOYMENTS}/nope/scale")
    assert missing.json["message"] == 'deployments.apps "nope" not found'
