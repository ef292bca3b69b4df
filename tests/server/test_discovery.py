"""What the server says of itself: discovery, OpenAPI, health, version, unknown paths."""

from __future__ import annotations

from edgekube.api.kinds import BUILT_IN
from tests.server.running import Api

AGGREGATED = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)


async def test_the_old_form(api: Api) -> None:
    assert (await api.ask("GET", "/api")).json["versions"] == ["v1"]
    groups = (await api.ask("GET", "/apis")).json
    assert groups["kind"] == "APIGroupList"
    autoscaling = next(group for group in groups["groups"] if group["name"] == "autoscaling")
    assert autoscaling["preferredVersion"]["groupVersion"] == "autoscaling/v2"
    assert (await api.ask("GET", "/apis/apps")).json["preferredVersion"]["version"] == "v1"
    resources = {entry["name"]: entry for entry in (await api.ask("GET", "/api/v1")).json["resources"]}
    assert resources["pods"]["shortNames"] == ["po"]
    assert resources["pods/eviction"]["kind"] == "Eviction"
    assert resources["pods/eviction"]["group"] == "policy"
    assert resources["namespaces"]["namespaced"] is False


async def test_a_hash_tells_in_which_version_objects_are_stored(api: Api) -> None:
    """The values are kube-apiserver's."""
    told: dict[str, dict[str, str | None]] = {
        "/api/v1": {
            "pods": "xPOwRZ+Yhw8=",
            "pods/status": None,
            "events": "r2yiGXH7wu8=",
            "componentstatuses": None,
            "bindings": None,
        },
        "/apis/apps/v1": {"deployments": "8aSe+NMegvE="},
        "/apis/autoscaling/v1": {"horizontalpodautoscalers": "qwQve8ut294="},
        "/apis/events.k8s.io/v1": {"events": "r2yiGXH7wu8="},
        "/apis/authentication.k8s.io/v1": {"tokenreviews": None},
    }
    for path, hashes in told.items():
        resources = {entry["name"]: entry for entry in (await api.ask("GET", path)).json["resources"]}
        assert {name: resources[name].get("storageVersionHash") for name in hashes} == hashes


async def test_the_aggregated_form_names_every_kind(api: Api) -> None:
    found = set()
    for path in ("/api", "/apis"):
        answered = await api.ask("GET", path, accept=AGGREGATED)
        assert answered.headers["content-type"] == "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        for item in answered.json["items"]:
            for version in item["versions"]:
                group = item["metadata"].get("name", "")
                found |= {(group, version["version"], resource["resource"]) for resource in version["resources"]}
        again = await api.ask("GET", path, accept=AGGREGATED, if_none_match=answered.headers["etag"])
        assert (again.status, again.body) == (304, b"")
    assert found == {(kind.group, kind.version, kind.plural) for kind in BUILT_IN}


async def test_openapi_says_that_the_server_validates_fields(api: Api) -> None:
    index = (await api.ask("GET", "/openapi/v3")).json
    document = (await api.ask("GET", index["paths"]["apis/apps/v1"]["serverRelativeURL"])).json
    patch = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert "fieldValidation" in [parameter["name"] for parameter in patch["parameters"]]
    assert patch["x-kubernetes-group-version-kind"] == {"group": "apps", "version": "v1", "kind": "Deployment"}


async def test_health(api: Api) -> None:
    assert (await api.ask("GET", "/livez")).text == "ok"
    verbose = (await api.ask("GET", "/readyz?verbose&exclude=shutdown")).text
    assert "[+]ping ok" in verbose
    assert verbose.endswith("readyz check passed\n")
    assert (await api.ask("GET", "/readyz/nothing")).status == 404
    for endpoint in ("livez", "readyz", "healthz"):
        shown = (await api.ask("GET", f"/{endpoint}?verbose")).text
        assert shown.startswith("[+]ping ok\n[+]log ok\n[+]etcd ok\n")
        assert "[+]poststarthook/crd-informer-synced ok\n" in shown and "[+]autoregister-completion ok\n" in shown
        assert ("[+]informer-sync ok\n" in shown) == (endpoint == "readyz")
        for name in ("ping", "log", "etcd", "poststarthook/rbac/bootstrap-roles"):
            assert (await api.ask("GET", f"/{endpoint}/{name}")).text == "ok"
    odd = (await api.ask("GET", "/livez?verbose&exclude=nothing&exclude=etcd")).text
    assert "[+]etcd excluded: ok\n" in odd
    assert 'warn: some health checks cannot be excluded: no matches for "nothing"\n' in odd


async def test_version_and_paths(api: Api) -> None:
    version = (await api.ask("GET", "/version")).json
    assert (version["major"], version["minor"]) == ("1", "36")
    assert version["gitVersion"].startswith("v1.36.")
    paths = (await api.ask("GET", "/")).json["paths"]
    assert {"/api/v1", "/apis/apps/v1", "/livez", "/version"} <= set(paths)


async def test_paths_that_are_nowhere(api: Api) -> None:
    for path in "/nowhere", "/apis/nobody.io/v1/things", "/apis/nobody.io", "/openapi/v4", "/apisapps":
        answered = await api.ask("GET", path)
        assert (answered.status, answered.text) == (404, "404 page not found\n"), path
    for path in "/api/v1/nothings", "/api/v2", "/apis/apps/v9", "/apis/apps/v1/nothings/a", "/api/v1/namespaces/default/nodes":
        answered = await api.ask("GET", path)
        assert answered.json == {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": "the server could not find the requested resource",
            "reason": "NotFound",
            "details": {},
            "code": 404,
        }, path


async def test_kinds_name_their_group_only_where_it_is_another(api: Api) -> None:
    """To clients that means the group that the resource stands in."""
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    groups = (await api.ask("GET", "/apis", accept=accept)).json["items"]
    apps = next(group for group in groups if group["metadata"]["name"] == "apps")
    assert apps["metadata"] == {"name": "apps"}
    (deployments,) = [each for each in apps["versions"][0]["resources"] if each["resource"] == "deployments"]
    assert deployments["responseKind"] == {"group": "", "version": "", "kind": "Deployment"}
    below = {each["subresource"]: each["responseKind"] for each in deployments["subresources"]}
    assert below == {
        "scale": {"group": "autoscaling", "version": "v1", "kind": "Scale"},
        "status": {"group": "", "version": "", "kind": "Deployment"},
    }
    assert "apiVersion" not in (await api.ask("GET", "/api/v1")).json
    assert (await api.ask("GET", "/apis/apps/v1")).json["apiVersion"] == "v1"


async def test_a_head_has_no_body(api: Api) -> None:
    for path, status in (("/version", 405), ("/api", 405), ("/apis/apps/v1", 405), ("/healthz", 200), ("/openapi/v2", 200)):
        answered = await api.ask("HEAD", path)
        assert (answered.status, answered.body) == (status, b""), path
