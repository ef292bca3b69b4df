"""Settings come from flags, variables and a file; what is wrong is said with its source."""

from pathlib import Path

import pytest

from edgekube.cli.options import OPTIONS, OptionError, resolve
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
    assert {option.field for option in OPTIONS} <= set(Settings.__dataclass_fields__)
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
        ("- a\n- b", "expected lines of the form"),
        ("a: [", "is not YAML"),
        ("data-dir: here", "give an absolute path"),
        ("cluster-cidr: 10.42.0.0/28", "at least a /24"),
        ("cluster-cidr: 10.42.0.1/16", "has host bits set"),
        ("service-cidr: 10.42.128.0/17\ncluster-dns: 10.42.128.10", "overlap: give two separate networks"),
        ("cluster-dns: 192.0.2.1", "is not in --service-cidr"),
        ("cluster-dns: 10.43.0.1", "is the address of the 'kubernetes' Service"),
        ("agent-port: 6443", "are the same"),
        ("disable: [everything]", "the parts are controllers, dns"),
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
