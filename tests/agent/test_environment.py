"""Environment, hosts file, resolv.conf, security and pull secrets: what a pod's spec turns into."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from edgekube.agent.env import expand, make_environment
from edgekube.agent.fieldrefs import Surroundings
from edgekube.agent.hosts import dns_config, hosts_file, parse_resolv_conf
from edgekube.agent.images import Images, credentials, default_policy
from edgekube.agent.problems import ConfigProblem, ImageProblem
from edgekube.agent.sandbox import hostname_of, sandbox_config
from edgekube.agent.security import container_security
from edgekube.agent.services import Services
from edgekube.api.kinds import CONFIGMAP, SECRET
from edgekube.api.objects import Object
from edgekube.containerd.model import DnsConfig, Image, RegistryAuth, RuntimeFailure
from edgekube.settings import Settings

SETTINGS = Settings(node_name="edge-1")
AROUND = Surroundings(("192.0.2.1",), ("10.42.0.5",), {"cpu": "4", "memory": "8Gi"})
CM = (CONFIGMAP, "default", "cm")


def pod_of(container: Object | None = None, **spec: Any) -> Object:
    return {
        "metadata": {"name": "web-0", "namespace": "default", "uid": "u", "labels": {"app": "web"}},
        "spec": {"containers": [container or {"name": "web"}], "nodeName": "edge-1", **spec},
    }


def environment(env: list[Object], objects: Any = None, services: Any = None, **container: Any) -> dict[str, str]:
    made = {"name": "web", "env": env, **container}
    return make_environment(pod_of(made), made, objects or {}, services or {}, AROUND)


def test_references_between_variables() -> None:
    assert expand("$(A) $$(A) $(B) $A $", {"A": "1"}) == "1 $(A) $(B) $A $"
    env = [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)2"}, {"name": "C", "value": "$(LATER)"}]
    assert environment(env) == {"A": "1", "B": "12", "C": "$(LATER)"}


@given(st.text(alphabet="$()AB x", max_size=20))
def test_without_references_nothing_is_invented(text: str) -> None:
    assert expand(text, {}).replace("$", "") == text.replace("$", "")


def test_sources_override_each_other_in_order() -> None:
    objects = {CM: {"data": {"A": "cm", "B": "cm", "bad=name": "x"}}}
    env = [{"name": "B", "value": "own"}]
    made = environment(env, objects, {"A": "service", "S": "service"}, envFrom=[{"prefix": "", "configMapRef": {"name": "cm"}}])
    assert made == {"A": "cm", "B": "own", "S": "service"}


def test_what_is_missing() -> None:
    optional = {"name": "X", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}}}
    assert environment([optional]) == {}
    key = {"name": "X", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "k"}}}
    with pytest.raises(ConfigProblem, match='configmap "cm" not found'):
        environment([key])
    with pytest.raises(ConfigProblem, match="couldn't find key k in ConfigMap default/cm"):
        environment([key], {CM: {"data": {}}})
    with pytest.raises(ConfigProblem, match='secret "s" not found'):
        environment([], envFrom=[{"secretRef": {"name": "s"}}])
    with pytest.raises(ConfigProblem, match="fileKeyRef is not supported"):
        environment([{"name": "X", "valueFrom": {"fileKeyRef": {}}}])
    secret = {(SECRET, "default", "s"): {"data": {"k": base64.b64encode(b"v").decode()}}}
    assert environment([optional], secret) == {"X": "v"}


def test_the_downward_api() -> None:
    def field(path: str) -> str:
        return environment([{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": path}}}])["X"]

    assert [field(path) for path in ("metadata.name", "status.podIP", "status.hostIP", "metadata.labels['app']")] == [
        "web-0",
        "10.42.0.5",
        "192.0.2.1",
        "web",
    ]
    with pytest.raises(ConfigProblem, match="unsupported fieldPath"):
        field("spec.secrets")

    def resource(name: str, divisor: str, **resources: Any) -> str:
        reference = {"resource": name, "divisor": divisor}
        return environment([{"name": "X", "valueFrom": {"resourceFieldRef": reference}}], resources=resources)["X"]

    assert resource("limits.cpu", "0", limits={"cpu": "1500m"}) == "2"
    assert resource("limits.memory", "1Mi", limits={"memory": "100M"}) == "96"
    assert resource("limits.cpu", "1") == "4"
    assert resource("requests.memory", "1") == "0"


def test_services_as_variables() -> None:
    services = Services()
    services.begin()
    for name, namespace, ip in (("web-app", "default", "10.43.0.9"), ("kubernetes", "default", "10.43.0.1"), ("x", "other", "1")):
        ports = [{"port": 80, "name": "http", "protocol": "TCP"}]
        body = {"metadata": {"name": name, "namespace": namespace}, "spec": {"clusterIP": ip, "ports": ports}}
        services.add([orjson.dumps(body)])
    services.finish(1)
    assert services.environment("default", True) | {"end": ""} == {
        **services.environment("default", False),
        "WEB_APP_SERVICE_HOST": "10.43.0.9",
        "WEB_APP_SERVICE_PORT": "80",
        "WEB_APP_SERVICE_PORT_HTTP": "80",
        "WEB_APP_PORT": "tcp://10.43.0.9:80",
        "WEB_APP_PORT_80_TCP": "tcp://10.43.0.9:80",
        "WEB_APP_PORT_80_TCP_PROTO": "tcp",
        "WEB_APP_PORT_80_TCP_PORT": "80",
        "WEB_APP_PORT_80_TCP_ADDR": "10.43.0.9",
        "end": "",
    }
    assert services.environment("elsewhere", True)["KUBERNETES_SERVICE_HOST"] == "10.43.0.1"


def test_names_by_policy() -> None:
    host = parse_resolv_conf("# a comment\nnameserver 192.0.2.53\nsearch example.org\noptions timeout:1\n")
    assert host == DnsConfig(("192.0.2.53",), ("example.org",), ("timeout:1",))
    first = dns_config(pod_of(), SETTINGS, host)
    assert first.servers == ("10.43.0.10",)
    assert first.searches == ("default.svc.cluster.local", "svc.cluster.local", "cluster.local", "example.org")
    assert first.options == ("ndots:5",)
    assert dns_config(pod_of(dnsPolicy="Default"), SETTINGS, host) == host
    assert dns_config(pod_of(hostNetwork=True), SETTINGS, host) == host
    assert dns_config(pod_of(hostNetwork=True, dnsPolicy="ClusterFirstWithHostNet"), SETTINGS, host) == first
    own = {"nameservers": ["198.51.100.1"], "searches": ["a.b"], "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}
    assert dns_config(pod_of(dnsPolicy="None", dnsConfig=own), SETTINGS, host) == DnsConfig(
        ("198.51.100.1",), ("a.b",), ("ndots:2", "edns0")
    )
    assert dns_config(pod_of(dnsConfig=own), SETTINGS, host).options == ("ndots:2", "edns0")


def test_the_hosts_file() -> None:
    pod = pod_of(subdomain="db", hostAliases=[{"ip": "192.0.2.9", "hostnames": ["nas", "disk"]}])
    text = hosts_file(pod, ["10.42.0.5"], hostname_of(pod), SETTINGS)
    assert "10.42.0.5\tweb-0.db.default.svc.cluster.local\tweb-0\n" in text
    assert "192.0.2.9\tnas\tdisk\n" in text
    assert "127.0.0.1\tlocalhost\n" in text
    assert hosts_file(pod_of(hostNetwork=True), [], "", SETTINGS, "1.2.3.4 x").endswith("1.2.3.4 x")


def test_a_sandbox_on_the_hosts_network_has_no_hostname_of_its_own() -> None:
    config = sandbox_config(pod_of(hostNetwork=True, hostPID=True), SETTINGS, "/logs", "/kubepods/podu", 3)
    assert (config.hostname, config.attempt, config.security.namespaces.network) == ("", 3, "NODE")
    assert config.security.namespaces.pid == "NODE"
    assert sandbox_config(pod_of(shareProcessNamespace=True), SETTINGS, "", "", 0).security.namespaces.pid == "POD"
    whole = sandbox_config(pod_of(subdomain="db", setHostnameAsFQDN=True), SETTINGS, "", "", 0)
    assert whole.hostname == "web-0.db.default.svc.cluster.local"
    assert hostname_of({"metadata": {"name": "a" * 62 + "-b"}, "spec": {}}) == "a" * 62


def test_security_contexts() -> None:
    image = Image("sha256:1", (), (), 1, uid=33)
    context = {
        "runAsGroup": 5,
        "capabilities": {"add": ["CAP_NET_ADMIN"], "drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
    }
    pod_context = {"runAsUser": 1000, "fsGroup": 7, "supplementalGroups": [8], "seccompProfile": {"type": "RuntimeDefault"}}
    container = {"name": "web", "securityContext": context}
    made = container_security(pod_of(container, securityContext=pod_context), container, image)
    assert (made.run_as_user, made.run_as_group, made.supplemental_groups) == (1000, 5, (8, 7))
    assert (made.add_capabilities, made.drop_capabilities) == (("NET_ADMIN",), ("ALL",))
    assert (made.readonly_rootfs, made.no_new_privs, made.seccomp) == (True, True, "runtime/default")
    plain = container_security(pod_of(), {"name": "web"}, image)
    assert (plain.run_as_user, plain.privileged, plain.masked_paths) == (33, False, None)
    privileged = container_security(pod_of(), {"name": "web", "securityContext": {"privileged": True}}, image)
    assert (privileged.privileged, privileged.seccomp, privileged.masked_paths) == (True, "unconfined", ())

    def refused(image: Image, **context: Any) -> str:
        own = {"name": "web", "securityContext": {"runAsNonRoot": True, **context}}
        with pytest.raises(ConfigProblem) as problem:
            container_security(pod_of(own), own, image)
        return problem.value.message

    assert refused(image, runAsUser=0) == "container's runAsUser breaks non-root policy"
    assert refused(Image("", (), (), 1, uid=0)) == "container has runAsNonRoot and image will run as root"
    assert "non-numeric user (www)" in refused(Image("", (), (), 1, username="www"))
    own = {"name": "web", "securityContext": {"runAsNonRoot": True}}
    assert container_security(pod_of(own), own, image).run_as_user == 33


def test_pull_secrets() -> None:
    auths = {
        "https://index.docker.io/v1/": {"auth": base64.b64encode(b"me:secret").decode()},
        "registry.example:5000/team": {"username": "team", "password": "t"},
        "registry.example:5000": {"username": "all", "password": "a"},
    }
    secret = {"data": {".dockerconfigjson": base64.b64encode(orjson.dumps({"auths": auths})).decode()}}
    assert credentials([secret], "busybox") == [RegistryAuth("me", "secret", "docker.io")]
    assert [auth.username for auth in credentials([secret], "registry.example:5000/team/app:1")] == ["team", "all"]
    assert [auth.username for auth in credentials([secret], "registry.example:5000/other")] == ["all"]
    assert credentials([secret], "elsewhere.example/app") == []
    assert credentials([{"data": {".dockerconfigjson": "bm9uZQ=="}}], "busybox") == []


def test_default_pull_policies() -> None:
    assert [default_policy(name) for name in ("a", "a:latest", "a:1", "host:5000/a", "a@sha256:" + "0" * 64)] == [
        "Always",
        "Always",
        "IfNotPresent",
        "Always",
        "IfNotPresent",
    ]


class Registry:
    """The image verbs of a runtime whose registry is sometimes away."""

    def __init__(self) -> None:
        self.away = True
        self.pulls: list[RegistryAuth | None] = []

    async def image_status(self, reference: str) -> Image | None:
        return None if self.away else Image("sha256:1", (reference,), (), 5)

    async def pull_image(self, reference: str, auth: RegistryAuth | None = None) -> str:
        self.pulls.append(auth)
        if self.away:
            raise RuntimeFailure("UNKNOWN", "no route to host")
        return "sha256:1"


async def test_pulls_back_off() -> None:
    registry, now, told = Registry(), [1000.0], []
    images = Images(registry, lambda: now[0])  # type: ignore[arg-type]

    async def ensure() -> Image:
        return await images.ensure("u", "shop:1", "IfNotPresent", [], lambda *event: told.append(event[1]))

    with pytest.raises(ImageProblem) as first:
        await ensure()
    assert (first.value.reason, first.value.message, first.value.retry_seconds) == ("ErrImagePull", "no route to host", 10)
    assert first.value.then[0] == "ImagePullBackOff"
    now[0] += 4
    with pytest.raises(ImageProblem) as second:
        await ensure()
    assert (second.value.reason, second.value.retry_seconds) == ("ImagePullBackOff", 6)
    assert len(registry.pulls) == 1
    now[0] += 6
    with pytest.raises(ImageProblem) as third:
        await ensure()
    assert third.value.retry_seconds == 20
    registry.away = False
    now[0] += 20
    assert (await ensure()).id == "sha256:1"
    assert told[:3] == ["Pulling", "Failed", "Failed"]
    assert told[-1] == "Pulled"


async def test_a_registry_that_falls_silent_is_given_up(autojump_clock: MockClock) -> None:
    class Silent(Registry):
        async def pull_image(self, reference: str, auth: RegistryAuth | None = None) -> str:
            await trio.sleep_forever()
            raise AssertionError

    images = Images(Silent())  # type: ignore[arg-type]
    with pytest.raises(ImageProblem) as problem:
        await images.ensure("u", "shop:1", "IfNotPresent", [], lambda *event: None)
    assert problem.value.reason == "ErrImagePull"
    assert problem.value.message == "the image was not complete after 3600 s"
    assert trio.current_time() >= 3600


async def test_containers_that_start_together_ask_for_their_image_once(autojump_clock: MockClock) -> None:
    class Here(Registry):
        asked = 0

        async def image_status(self, reference: str) -> Image | None:
            self.asked += 1
            await trio.sleep(0.1)
            return Image(f"sha256:{self.asked}", (reference,), (), 5)

    registry = Here()
    images = Images(registry)  # type: ignore[arg-type]
    found: list[str] = []

    async def ensure() -> None:
        found.append((await images.ensure("u", "shop:1", "IfNotPresent", [], lambda *event: None)).id)

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(ensure)
    assert found == ["sha256:1"] * 20
    # A moment later, or when images came or failed, they are looked up again.
    await trio.sleep(3)
    await ensure()
    images.look_again()
    await ensure()
    assert found[20:] == ["sha256:2", "sha256:3"]
