"""Warning headers: what is taken and yet worth telling."""

from __future__ import annotations

from tests.registry.cluster import deployment, pod, service
from tests.server.running import Api

PODS = "/api/v1/namespaces/default/pods"
SERVICES = "/api/v1/namespaces/default/services"
MERGE = {"content_type": "application/merge-patch+json"}


async def test_a_new_object_is_commented_on(api: Api) -> None:
    old_label = pod("p", nodeSelector={"beta.kubernetes.io/os": "linux"})
    made = await api.ask("POST", PODS, old_label)
    assert made.status == 201
    assert made.headers["warning"] == (
        '299 - "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \\"kubernetes.io/os\\" instead"'
    )
    assert "warning" in (await api.ask("POST", f"{PODS}?dryRun=All", {**old_label, "metadata": {"name": "q"}})).headers


async def test_a_change_repeats_no_comment(api: Api) -> None:
    await api.ask("POST", PODS, pod("p", nodeSelector={"beta.kubernetes.io/os": "linux"}))
    assert "warning" not in (await api.ask("PATCH", f"{PODS}/p", {"metadata": {"labels": {"a": "b"}}}, **MERGE)).headers
    await api.ask("POST", SERVICES, service("web"))
    patched = await api.ask("PATCH", f"{SERVICES}/web", {"spec": {"externalName": "example.com"}}, **MERGE)
    assert patched.headers["warning"] == '299 - "spec.externalName is ignored when spec.type is not \\"ExternalName\\""'


async def test_several_comments_come_in_one_header(api: Api) -> None:
    body = deployment("web")
    body["spec"]["template"]["spec"]["nodeSelector"] = {"beta.kubernetes.io/arch": "arm64"}
    body["colour"] = "red"
    made = await api.ask("POST", "/apis/apps/v1/namespaces/default/deployments", body)
    assert made.headers["warning"] == (
        '299 - "unknown field \\"colour\\"", 299 - "spec.template.spec.nodeSelector[beta.kubernetes.io/arch]: '
        'deprecated since v1.14; use \\"kubernetes.io/arch\\" instead"'
    )


async def test_a_refusal_keeps_its_comments(api: Api) -> None:
    refused = await api.ask("POST", PODS, {**pod("p", containers=[]), "colour": "red"})
    assert refused.status == 422
    assert refused.headers["warning"] == '299 - "unknown field \\"colour\\""'


async def test_very_many_comments_are_cut(api: Api) -> None:
    body = {**pod("p"), **{f"colour{'x' * 300}{i}": "red" for i in range(30)}}
    made = await api.ask("POST", PODS, body)
    assert made.status == 201
    assert 0 < len(made.headers["warning"]) < 6000


async def test_deprecated_kinds_say_so_whatever_is_asked(api: Api) -> None:
    endpoints = "/api/v1/namespaces/default/endpoints"
    words = '299 - "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"'
    assert (await api.ask("GET", endpoints)).headers["warning"] == words
    assert (await api.ask("GET", f"{endpoints}/kubernetes")).headers["warning"] == words
    assert (await api.ask("GET", f"{endpoints}/nobody")).headers["warning"] == words
    made = await api.ask("POST", endpoints, {"metadata": {"name": "e"}})
    assert (made.status, made.headers["warning"]) == (201, words)
    assert (await api.ask("DELETE", f"{endpoints}/e")).headers["warning"] == words
    assert (await api.ask("GET", "/api/v1/componentstatuses")).headers[
        "warning"
    ] == '299 - "v1 ComponentStatus is deprecated in v1.19+"'


async def test_a_job_that_goes_without_its_pods_says_so(api: Api) -> None:
    jobs = "/apis/batch/v1/namespaces/default/jobs"
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "demo:1"}]}}
    for name in ("a", "b"):
        await api.ask("POST", jobs, {"metadata": {"name": name}, "spec": {"template": template}})
    words = (
        '299 - "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them '
        'or set propagationPolicy=Orphan to suppress this warning"'
    )
    assert (await api.ask("DELETE", f"{jobs}/a")).headers["warning"] == words
    assert "warning" not in (await api.ask("DELETE", f"{jobs}/b?propagationPolicy=Orphan")).headers
    assert (await api.ask("DELETE", jobs)).headers["warning"] == words


async def test_a_warning_that_repeats_control_characters_is_still_a_header(api: Api) -> None:
    made = await api.ask("POST", f"{PODS}?dryRun=All", {**pod("p"), "unknown\0\x1bfield": 1})
    assert made.status == 201
    assert made.headers["warning"] == '299 - "unknown field \\"unknown??field\\""'
