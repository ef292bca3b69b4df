"""Environment, hosts file, resolv.conf, security and pull secrets: what a pod's spec turns into."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.agent.env import expand, make_environment
from edgekube.agent.fieldrefs import Surroundings
from edgekube.agent.hosts import bounded_dns_config, dns_config, hosts_file, parse_resolv_conf
from edgekube.agent.problems import ConfigProblem
from edgekube.agent.sandbox import hostname_of, sandbox_config
from edgekube.agent.services import Services
from edgekube.api.kinds import CONFIGMAP, SECRET
from edgekube.api.objects import Object
from edgekube.containerd.model import DnsConfig
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
    assert resource("limits.hugepages-2Mi", "1Mi", limits={"hugepages-2Mi": "4Mi"}) == "4"
    with pytest.raises(ConfigProblem, match="unsupported container resource : limits"):
        resource("limits", "1")


def test_a_container_without_a_limit_has_the_pods() -> None:
    variable = {"name": "X", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}}
    made = {"name": "web", "env": [variable]}
    pod = pod_of(made, resources={"limits": {"cpu": "250m"}})
    assert make_environment(pod, made, {}, {}, AROUND) == {"X": "250"}


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


def test_what_a_resolver_cannot_take_is_left_out_and_told() -> None:
    host = parse_resolv_conf("nameserver 192.0.2.53\nsearch example.org. . example.net\n")
    assert host.searches == ("example.org", "example.net")
    few, said = bounded_dns_config(pod_of(dnsPolicy="Default"), SETTINGS, host)
    assert (few, said) == (host, ())

    servers = [f"192.0.2.{number}" for number in range(1, 5)]
    many = {"nameservers": servers, "searches": [f"{number}.example" for number in range(40)]}
    config, said = bounded_dns_config(pod_of(dnsPolicy="None", dnsConfig=many), SETTINGS, host)
    assert (config.servers, len(config.searches)) == (tuple(servers[:3]), 32)
    assert said == (
        "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: "
        "192.0.2.1 192.0.2.2 192.0.2.3",
        "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: "
        + " ".join(config.searches),
    )
    long = {"searches": ["a" * 254, *(f"{number}{'b' * 200}" for number in range(12))]}
    config, said = bounded_dns_config(pod_of(dnsPolicy="None", dnsConfig=long), SETTINGS, host)
    assert len(config.searches) == 10 and len(" ".join(config.searches)) <= 2048 and len(said) == 1


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
