"""/metrics under the names of kube-apiserver, with labels that a client cannot grow."""

from __future__ import annotations

import re

from tests.server.running import Api

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
_SAMPLE = re.compile(r"^([a-z_]+)(?:\{(.*)\})? (\S+)$")


async def samples(api: Api, path: str = "/metrics") -> dict[str, dict[str, float]]:
    answered = await api.ask("GET", path)
    assert answered.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found: dict[str, dict[str, float]] = {}
    for line in answered.text.splitlines():
        if not line.startswith("#"):
            match = _SAMPLE.match(line)
            assert match is not None, line
            found.setdefault(match[1], {})[match[2] or ""] = float(match[3])
    return found


async def test_requests_are_counted_by_what_they_asked(api: Api) -> None:
    await api.ask("POST", CONFIGMAPS, {"metadata": {"name": "a"}})
    await api.ask("POST", f"{CONFIGMAPS}?dryRun=All", {"metadata": {"name": "b"}})
    await api.ask("GET", f"{CONFIGMAPS}/missing")
    await api.ask("GET", f"{CONFIGMAPS}/a")
    await api.ask("GET", CONFIGMAPS)
    found = await samples(api)
    place = 'group="",version="v1",resource="configmaps",subresource=""'
    total = found["apiserver_request_total"]
    assert total[f'verb="POST",dry_run="",{place},scope="namespace",component="apiserver",code="201"'] == 1
    assert total[f'verb="POST",dry_run="All",{place},scope="namespace",component="apiserver",code="201"'] == 1
    assert total[f'verb="GET",dry_run="",{place},scope="resource",component="apiserver",code="404"'] == 1
    assert total[f'verb="LIST",dry_run="",{place},scope="namespace",component="apiserver",code="200"'] == 1
    labels = f'verb="GET",dry_run="",{place},scope="resource",component="apiserver"'
    assert found["apiserver_request_duration_seconds_count"][labels] == 2
    assert found["apiserver_request_sli_duration_seconds_count"][labels] == 2
    assert found["apiserver_request_duration_seconds_bucket"][f'{labels},le="+Inf"'] == 2
    sizes = f'verb="LIST",{place},scope="namespace",component="apiserver"'
    assert found["apiserver_response_sizes_count"][sizes] == 1


async def test_what_is_going_on_at_this_moment(api: Api) -> None:
    watching = 'verb="WATCH",group="",version="v1",resource="configmaps",subresource="",scope="namespace",component="apiserver"'
    async with api.watch(f"{CONFIGMAPS}?watch=1"):
        assert (await samples(api))["apiserver_longrunning_requests"][watching] == 1
    found = await samples(api)
    assert found["apiserver_current_inflight_requests"] == {'request_kind="readOnly"': 0, 'request_kind="mutating"': 0}


async def test_who_was_let_in(api: Api) -> None:
    await api.ask("GET", CONFIGMAPS, user="nobody")
    await api.ask("GET", CONFIGMAPS, user="alice")
    found = await samples(api)
    assert found["authentication_attempts"]['result="error"'] == 1
    assert found["authorization_attempts_total"]['result="no-opinion"'] == 1
    assert found["authenticated_user_requests"]['username="other"'] >= 1


async def test_the_process_and_the_build(api: Api) -> None:
    await api.ask("GET", "/api/v1/namespaces/default/endpoints")
    found = await samples(api)
    assert found["process_resident_memory_bytes"][""] > 1e6
    assert found["process_open_fds"][""] > 3
    assert found["process_cpu_seconds_total"][""] > 0
    (build,) = found["kubernetes_build_info"]
    assert 'major="1",minor="36"' in build
    deprecated = 'group="",version="v1",resource="endpoints",subresource="",removed_release=""'
    assert found["apiserver_requested_deprecated_apis"] == {deprecated: 1}


async def test_a_client_does_not_make_series(api: Api) -> None:
    await samples(api)
    before = len((await samples(api))["apiserver_request_total"])
    for n in range(30):
        await api.ask("GET", f"/api/v1/namespaces/ns{n}/things{n}")
        await api.ask("GET", f"/apis/group{n}/v{n}/things{n}")
        await api.ask("GET", f"/path{n}")
        await api.ask(f"METHOD{n}", "/api")
        await api.ask("GET", f"{CONFIGMAPS}/x/sub{n}")
    after = len((await samples(api))["apiserver_request_total"])
    assert after - before <= 5


async def test_service_levels(api: Api) -> None:
    found = await samples(api, "/metrics/slis")
    assert found["kubernetes_healthcheck"]['name="ping",type="livez"'] == 1
    assert found["kubernetes_healthchecks_total"]['name="shutdown",status="success",type="readyz"'] == 1


async def test_an_audit_id_that_was_given_is_given_back(api: Api) -> None:
    answered = await api.ask("GET", CONFIGMAPS, audit_id="7e1f1a8e-0000-4000-8000-000000000001")
    assert answered.headers["audit-id"] == "7e1f1a8e-0000-4000-8000-000000000001"
    assert "audit-id" not in (await api.ask("GET", CONFIGMAPS)).headers


async def test_objects_are_counted(api: Api) -> None:
    before = (await samples(api))["apiserver_storage_objects"]['resource="configmaps"']
    await api.ask("POST", CONFIGMAPS, {"metadata": {"name": "a"}})
    found = await samples(api)
    assert found["apiserver_storage_objects"]['resource="configmaps"'] == before + 1
    assert found["apiserver_resource_objects"]['group="apps",resource="deployments"'] == 0
