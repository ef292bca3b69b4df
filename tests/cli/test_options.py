"""Settings come from flags, variables and a file; what is wrong is said with its source."""

from pathlib import Path

import pytest

from edgekube.cli.option import OptionError
from edgekube.cli.options import OPTIONS, resolve
from edgekube.node_rules import NodeRules
from edgekube.settings import Settings


def config(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return path


def test_without_anything_the_documented_defaults_hold(tmp_path: Path) -> None:
    settings = resolve({}, {}, config(tmp_path, ""))
    assert settings == Settings(node_name=settings.node_name)
    assert settings.kubernetes_service_ip == "10.43.0.1"


def test_a_flag_beats_a_variable_and_a_variable_beats_the_file(tmp_path: Path) -> None:
    path = config(tmp_path, "node-name: file\nhttps-port: 1001\nagent-port: 2001\n")
    settings = resolve({"node-name": "flag"}, {"EDGEKUBE_NODE_NAME": "variable", "EDGEKUBE_HTTPS_PORT": "1002"}, path)
    assert (settings.node_name, settings.https_port, settings.agent_port) == ("flag", 1002, 2001)


def test_every_option_names_a_field_of_settings() -> None:
    fields = {*Settings.__dataclass_fields__, *(f"node.{name}" for name in NodeRules.__struct_fields__)}
    assert {option.field for option in OPTIONS} <= fields
    assert len({option.variable for option in OPTIONS}) == len(OPTIONS)


def test_no_agent_and_disable_read_the_same_from_all_sources(tmp_path: Path) -> None:
    path = config(tmp_path, "no-agent: true\ndisable: [dns, proxy]\n")
    for settings in (
        resolve({}, {}, path),
        resolve({}, {"EDGEKUBE_NO_AGENT": "yes", "EDGEKUBE_DISABLE": "dns, proxy"}),
        resolve({"no-agent": True, "disable": ("dns", "proxy")}, {}),
    ):
        assert not settings.agent and settings.disable == {"dns", "proxy"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("node-nmae: x", "unknown key 'node-nmae'; the keys are agent-port, "),
        ("https-port: high", "https-port: 'high' cannot be used: give a port from 1 to 65535"),
        ("https-port: [1]", "give a single value"),
        ("node-monitor-grace-seconds: 5", "give seconds from 15 to 3600: a node is heard every 10 s"),
        ("- a\n- b", "expected lines of the form"),
        ("a: [", "is not YAML"),
        ("data-dir: here", "give an absolute path"),
        ("cluster-cidr: 10.42.0.0/28", "at least a /24"),
        ("cluster-cidr: 10.42.0.1/16", "has host bits set"),
        ("cluster-cidr: fd42::/48", "give an IPv4 network, or an IPv4 and an IPv6 one: 10.42.0.0/16,fd42::/48"),
        ("cluster-cidr: '10.42.0.0/16,10.44.0.0/16'", "give an IPv4 network, or an IPv4 and an IPv6 one"),
        ("cluster-cidr: '10.42.0.0/16,fd42::/64'", "give an IPv6 network from /32 to /60"),
        ("service-cidr: '10.43.0.0/16,fd43::/48'", "give an IPv6 network from /64 to /120"),
        ("cluster-cidr: '10.42.0.0/16,fd42::/48'", "must both have an IPv6 network, or none"),
        ("cluster-cidr: '10.42.0.0/16,fd42::/48'\nservice-cidr: '10.43.0.0/16,fd42::/112'", "overlap: give two separate"),
        ("node-ip: 2001:db8::7", "give an IPv4 address, or an IPv4 and an IPv6 one"),
        ("node-ip: '192.0.2.7,fe80::1'", "give an IPv4 address, or an IPv4 and an IPv6 one"),
        ("service-cidr: 10.42.128.0/17\ncluster-dns: 10.42.128.10", "overlap: give two separate networks"),
        ("cluster-dns: 192.0.2.1", "is not in --service-cidr"),
        ("cluster-dns: 10.43.0.1", "is the address of the 'kubernetes' Service"),
        ("agent-port: 6443", "are the same"),
        ("load-balancer-pool: 192.0.2.9-192.0.2.1", "neither a range such as 192.0.2.200-192.0.2.220 nor a network"),
        ("disable: [everything]", "the parts are clock, controllers, dns"),
        ("node-name: Pi_7", "lower-case letters"),
        ("log-format: xml", "the formats are text and json"),
    ],
)
def test_a_bad_file_is_named_with_what_would_be_right(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(OptionError) as caught:
        resolve({}, {}, config(tmp_path, text))
    assert complaint in str(caught.value)


def test_a_named_file_must_be_there_and_readable(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no such file"):
        resolve({}, {}, tmp_path / "none.yaml")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(OptionError, match="cannot be read"):
        resolve({}, {}, tmp_path / "binary")


def test_a_bad_variable_is_named() -> None:
    with pytest.raises(OptionError, match="EDGEKUBE_AGENT_PORT: '0' cannot be used"):
        resolve({}, {"EDGEKUBE_AGENT_PORT": "0"})


def test_servers_keep_their_order_and_are_written_out(tmp_path: Path) -> None:
    found = resolve({"server": ["10.0.0.2", "https://[fd00::1]:7443", "https://pi-1"]}, {}, config(tmp_path, ""))
    assert found.server == ("https://10.0.0.2:6443", "https://[fd00::1]:7443", "https://pi-1:6443")
    for wrong in ("http://10.0.0.2", "https://10.0.0.2/path", "https://"):
        with pytest.raises(OptionError, match="6443"):
            resolve({"server": [wrong]}, {}, config(tmp_path, ""))


def test_a_token_is_not_shown_with_the_settings(tmp_path: Path) -> None:
    assert "s3cr3t" not in repr(resolve({"token": "EK1::s3cr3t"}, {}, config(tmp_path, "")))


def test_two_stacks_are_two_networks_each_and_the_dns_has_an_address_in_both(tmp_path: Path) -> None:
    text = "cluster-cidr: '10.42.0.0/16, fd42::/48'\nservice-cidr: 10.43.0.0/16,fd43::/112\nnode-ip: 192.0.2.7,2001:db8::7\n"
    settings = resolve({}, {}, config(tmp_path, text))
    assert [str(network) for network in settings.cluster_networks] == ["10.42.0.0/16", "fd42::/48"]
    assert [str(network) for network in settings.service_networks] == ["10.43.0.0/16", "fd43::/112"]
    assert settings.cluster_dns_addresses == ("10.43.0.10", "fd43::a")
    assert settings.node_ips == ("192.0.2.7", "2001:db8::7") and settings.kubernetes_service_ip == "10.43.0.1"
    single = resolve({}, {}, config(tmp_path, "{}"))
    assert len(single.cluster_networks) == 1 and single.cluster_dns_addresses == ("10.43.0.10",) and single.node_ips == ()


def test_a_node_name_fits_into_a_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    longest = "p" * 52
    assert resolve({"node-name": longest}, {}, config(tmp_path, "")).node_name == longest
    with pytest.raises(OptionError, match="at most 52 characters"):
        resolve({"node-name": longest + "p"}, {}, config(tmp_path, ""))
    monkeypatch.setattr("socket.gethostname", lambda: "p" * 51 + "-" + "q" * 11)
    named_after_the_host = resolve({}, {}, config(tmp_path, ""))
    assert named_after_the_host.node_name == "p" * 51 and not named_after_the_host.node_name_given


def test_a_nodes_rules_are_maps_in_the_file_and_pairs_elsewhere(tmp_path: Path) -> None:
    path = config(
        tmp_path,
        "eviction-hard: {memory.available: 5%, pid.available: 200}\nsystem-reserved: {cpu: 100m}\n"
        "enforce-node-allocatable: [none]\nregister-with-taints: ['edge=yes:NoSchedule']\n"
        "shutdown-grace-period-by-pod-priority: {100: 1m30s, 0: 5s}\n",
    )
    rules = resolve({}, {"EDGEKUBE_EVICTION_SOFT": "nodefs.available<20%"} | GRACE, path).node
    assert rules.eviction_hard == (("memory.available", "5%"), ("pid.available", "200"))
    assert rules.eviction_soft == (("nodefs.available", "20%"),)
    assert rules.system_reserved == (("cpu", "100m"),)
    assert rules.enforce_allocatable == frozenset()
    assert rules.taints == (("edge", "yes", "NoSchedule"),)
    assert rules.shutdown_grace_by_priority == ((0, 5.0), (100, 90.0))


GRACE = {"EDGEKUBE_EVICTION_SOFT_GRACE_PERIOD": "nodefs.available=2m"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("cpu-manager-policy: static", "only none is there: processors are shared"),
        ("topology-manager-policy: best-effort", "only none is there"),
        ("eviction-hard: {memory: 1Gi}", "unsupported eviction signal memory"),
        ("eviction-hard: {memory.available: -1}", "must be positive"),
        ("eviction-hard: {memory.available: 101%}", "must be <= 100%"),
        ("eviction-soft: {memory.available: 1Gi}", "grace period must be specified for the soft eviction threshold"),
        ("eviction-soft-grace-period: {memory.available: 5}", "give a time such as 90s"),
        ("eviction-minimum-reclaim: {memory.available: 0%}", "must be positive"),
        ("image-gc-low-threshold: 90", "must not be above --image-gc-high-threshold"),
        ("system-reserved: {gpu: 1}", "gpu cannot be reserved"),
        ("shutdown-grace-period: 5s", "cannot be longer"),
        ("enforce-node-allocatable: [system-reserved]", "needs --system-reserved-cgroup"),
        ("register-with-taints: [edge]", "give KEY=VALUE:EFFECT"),
        ("node-labels: {a/b/c: d}", "is not a label"),
        ("image-pull-credentials-verification-policy: Sometimes", "the policies are NeverVerify"),
        ("max-parallel-image-pulls: 0", "give a number from 1 to 32"),
        ("max-pods: many", "give a number from 1 to 1000"),
    ],
)
def test_rules_of_a_node_that_cannot_be(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(OptionError, match=complaint.replace("(", "\\(")):
        resolve({}, {}, config(tmp_path, text))
