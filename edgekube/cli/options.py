"""From flags, EDGEKUBE_* variables and the config file to Settings: one table, three spellings.

Enters: what was typed, the environment, the text of the config file.
Leaves: Settings, or OptionError that names the source, the key and what is allowed.
Holds: a flag beats a variable, a variable beats the file; an unknown key is an error wherever it stands.
Next: cli.server.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, ip_address
from pathlib import Path
from typing import Any, Final

from edgekube.settings import CONFIG_FILE, Settings

PREFIX: Final = "EDGEKUBE_"


class OptionError(Exception):
    """A setting that cannot be used; the text says where it came from and what would be right."""


@dataclass(frozen=True, slots=True)
class Option:
    """One setting: ``--node-name``, ``node-name:`` in the file, ``EDGEKUBE_NODE_NAME``; ``field`` in Settings."""

    name: str
    field: str
    parse: Callable[[str], Any]
    help: str
    metavar: str = "TEXT"
    is_flag: bool = False
    multiple: bool = False

    @property
    def variable(self) -> str:
        return PREFIX + self.name.replace("-", "_").upper()


def _directory(text: str) -> Path:
    path = Path(text)
    if not path.is_absolute():
        raise ValueError("give an absolute path")
    return path


def _port(text: str) -> int:
    port = int(text) if text.isdecimal() else 0
    if not 1 <= port <= 65535:
        raise ValueError("give a port from 1 to 65535")
    return port


def _network(text: str) -> str:
    network = IPv4Network(text)
    if network.prefixlen > 24:
        raise ValueError("give a network of at least a /24, for example 10.42.0.0/16")
    return str(network)


def _address(text: str) -> str:
    return str(ip_address(text))


def _ipv4(text: str) -> str:
    return str(IPv4Address(text))


_LABELS: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*")


def _dns_name(text: str) -> str:
    if len(text) > 253 or not _LABELS.fullmatch(text):
        raise ValueError("give lower-case letters, digits, '-' and '.', for example pi-7")
    return text


def _text(text: str) -> str:
    return text


#: What --disable knows.
PARTS: Final = frozenset({"proxy", "dns", "scheduler", "controllers", "manifests"})


def _part(text: str) -> str:
    if text not in PARTS:
        raise ValueError(f"the parts are {', '.join(sorted(PARTS))}")
    return text


def _log_format(text: str) -> str:
    if text not in ("text", "json"):
        raise ValueError("the formats are text and json")
    return text


def _truth(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError("give true or false")


def _cgroup(text: str) -> str:
    if not text.startswith("/") or text.endswith("/") or ".." in text:
        raise ValueError("give a path such as /kubepods")
    return text


OPTIONS: Final = (
    Option("data-dir", "data_dir", _directory, "Where state, certificates, images and volumes are kept.", "DIR"),
    Option("run-dir", "run_dir", _directory, "Where sockets and pid files are kept until the next boot.", "DIR"),
    Option("node-name", "node_name", _dns_name, "This node's name (default: the host name).", "NAME"),
    Option("node-ip", "node_ip", _address, "This node's address (default: that of the default route).", "IP"),
    Option("https-port", "https_port", _port, "The port of the API.", "PORT"),
    Option("agent-port", "agent_port", _port, "The port of the node's agent.", "PORT"),
    Option("cluster-cidr", "cluster_cidr", _network, "Pod addresses.", "CIDR"),
    Option("service-cidr", "service_cidr", _network, "Service addresses.", "CIDR"),
    Option("cluster-dns", "cluster_dns", _ipv4, "The address of the cluster's DNS, in the service range.", "IP"),
    Option("cluster-domain", "cluster_domain", _dns_name, "The DNS domain of the cluster.", "DOMAIN"),
    Option("containerd-address", "containerd_address", _text, "Use this containerd socket instead of an own instance.", "SOCKET"),
    Option("no-agent", "agent", _truth, "Run the control plane only: no pods on this machine.", is_flag=True),
    Option("disable", "disable", _part, "Leave a part out (repeatable).", "NAME", multiple=True),
    Option("cgroup-parent", "cgroup_parent", _cgroup, "The cgroup that pods live under.", "PATH"),
    Option("log-format", "log_format", _log_format, "How log lines look.", "text|json"),
)
_BY_NAME: Final = {option.name: option for option in OPTIONS}


def resolve(flags: Mapping[str, Any], environment: Mapping[str, str], config: Path | None = None) -> Settings:
    """Settings from all three sources. ``flags``: option name to what was typed, without what was not.

    ``config`` None: the default file, which may be absent. Raises OptionError.
    """
    values: dict[str, Any] = {}
    for name, value in _read_config(config).items():
        values[name] = _parse(_BY_NAME[name], value, f"{config or CONFIG_FILE}: {name}")
    for option in OPTIONS:
        if option.variable in environment:
            text = environment[option.variable]
            value = [part.strip() for part in text.split(",") if part.strip()] if option.multiple else text
            values[option.name] = _parse(option, value, option.variable)
    for name, value in flags.items():
        values[name] = _parse(_BY_NAME[name], value, f"--{name}")
    if "no-agent" in values:
        values["no-agent"] = not values["no-agent"]
    settings = Settings(**{"node_name": default_node_name(), **{_BY_NAME[name].field: value for name, value in values.items()}})
    _check_ranges(settings)
    return settings


def default_node_name() -> str:
    """The host name as a node name: lower case, short, without what DNS does not take."""
    name = re.sub(r"[^-a-z0-9]", "-", socket.gethostname().split(".")[0].lower()).strip("-")
    return name[:63] or "node"


def _parse(option: Option, value: Any, source: str) -> Any:
    try:
        if option.multiple:
            parts = value if isinstance(value, list | tuple) else [value]
            return frozenset(option.parse(str(part)) for part in parts)
        if isinstance(value, list | dict) or value is None:
            raise ValueError("give a single value")
        return option.parse(str(value))
    except ValueError as error:
        raise OptionError(f"{source}: {value!r} cannot be used: {error}") from None


def _read_config(path: Path | None) -> dict[str, Any]:
    try:
        text = (path or CONFIG_FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        if path is None:
            return {}
        raise OptionError(f"{path}: no such file: give --config the path of a YAML file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"{path or CONFIG_FILE} cannot be read: {error}") from None
    import yaml

    try:
        loaded = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise OptionError(f"{path or CONFIG_FILE} is not YAML: {' '.join(str(error).split())}") from None
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise OptionError(f"{path or CONFIG_FILE}: expected lines of the form 'node-name: pi-7'")
    for key in loaded:
        if key not in _BY_NAME:
            known = ", ".join(sorted(_BY_NAME))
            raise OptionError(f"{path or CONFIG_FILE}: unknown key {key!r}; the keys are {known}")
    return loaded


def _check_ranges(settings: Settings) -> None:
    pods, services = IPv4Network(settings.cluster_cidr), IPv4Network(settings.service_cidr)
    if pods.overlaps(services):
        raise OptionError(f"--cluster-cidr {pods} and --service-cidr {services} overlap: give two separate networks")
    if IPv4Address(settings.cluster_dns) not in services:
        raise OptionError(f"--cluster-dns {settings.cluster_dns} is not in --service-cidr {services}")
    if settings.cluster_dns == settings.kubernetes_service_ip:
        raise OptionError(f"--cluster-dns {settings.cluster_dns} is the address of the 'kubernetes' Service: give another")
    if settings.https_port == settings.agent_port:
        raise OptionError("--https-port and --agent-port are the same: give two ports")
