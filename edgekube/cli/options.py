"""From flags, EDGEKUBE_* variables and the config file to Settings: one table, three spellings.

Enters: what was typed, the environment, the text of the config file.
Leaves: Settings, or OptionError that names the source, the key and what is allowed.
Holds: a flag beats a variable, a variable beats the file; an unknown key is an error wherever it stands.
Next: cli.server.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from edgekube import limits
from edgekube.api import board_devices
from edgekube.api.address_pools import parse_pool
from edgekube.cli.node_options import NODE_OPTIONS, check_rules
from edgekube.cli.option import Option, OptionError
from edgekube.node_rules import NodeRules
from edgekube.settings import CONFIG_FILE, Settings


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


def _node_grace(text: str) -> int:
    seconds = int(text) if text.isdecimal() else 0
    if not limits.NODE_MONITOR_GRACE_SECONDS_MIN <= seconds <= limits.NODE_MONITOR_GRACE_SECONDS_MAX:
        low, high = limits.NODE_MONITOR_GRACE_SECONDS_MIN, limits.NODE_MONITOR_GRACE_SECONDS_MAX
        raise ValueError(f"give seconds from {low} to {high}: a node is heard every {limits.LEASE_RENEW_SECONDS:.0f} s")
    return seconds


def _pod_networks(text: str) -> str:
    return _networks(text, "10.42.0.0/16,fd42::/48", ipv6_prefix_min=32, ipv6_prefix_max=60)


def _service_networks(text: str) -> str:
    return _networks(text, "10.43.0.0/16,fd43::/112", ipv6_prefix_min=64, ipv6_prefix_max=120)


def _networks(text: str, example: str, *, ipv6_prefix_min: int, ipv6_prefix_max: int) -> str:
    """ "v4", or "v4,v6" for two stacks."""
    first, *others = [part.strip() for part in text.split(",")]
    if ":" in first or len(others) > 1 or any(":" not in other for other in others):
        raise ValueError(f"give an IPv4 network, or an IPv4 and an IPv6 one: {example}")
    ipv4 = IPv4Network(first)
    if ipv4.prefixlen > 24:
        raise ValueError(f"give a network of at least a /24, for example {example.partition(',')[0]}")
    ipv6 = [IPv6Network(other) for other in others]
    if any(not ipv6_prefix_min <= network.prefixlen <= ipv6_prefix_max for network in ipv6):
        raise ValueError(f"give an IPv6 network from /{ipv6_prefix_min} to /{ipv6_prefix_max}, for example {example}")
    return ",".join(str(network) for network in (ipv4, *ipv6))


def _addresses(text: str) -> str:
    """ "v4", or "v4,v6"."""
    first, *others = [ip_address(part.strip()) for part in text.split(",")]
    if first.version != 4 or len(others) > 1 or any(other.version != 6 or other.is_link_local for other in others):
        raise ValueError("give an IPv4 address, or an IPv4 and an IPv6 one: 192.0.2.7,2001:db8::7")
    return ",".join(str(address) for address in (first, *others))


def _ipv4(text: str) -> str:
    return str(IPv4Address(text))


_LABELS: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*")


def _dns_name(text: str) -> str:
    if len(text) > 253 or not _LABELS.fullmatch(text):
        raise ValueError("give lower-case letters, digits, '-' and '.', for example pi-7")
    return text


def _sysctls(pattern: str) -> str:
    from edgekube.agent.sysctls import check_pattern  # only where the option is given

    return check_pattern(pattern)


def _kubelet_dir(text: str) -> str:
    if text != "-" and not text.startswith("/"):
        raise ValueError("give an absolute path, or - for none")
    return text


def _node_name(text: str) -> str:
    if len(text) > limits.NODE_NAME_CHARACTERS_MAX:
        raise ValueError(f"give at most {limits.NODE_NAME_CHARACTERS_MAX} characters: certificates have no room for more")
    return _dns_name(text)


def _text(text: str) -> str:
    return text


#: What --disable knows.
PARTS: Final = frozenset(
    {
        "clock",
        "proxy",
        "dns",
        "scheduler",
        "controllers",
        "loadbalancer",
        "manifests",
        "mdns",
        "policies",
        "local-path",
        "metrics",
    }
)


def _part(text: str) -> str:
    if text not in PARTS:
        raise ValueError(f"the parts are {', '.join(sorted(PARTS))}")
    return text


def _pool(text: str) -> str:
    parse_pool(text)
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


def _swap(text: str) -> str:
    if text not in ("NoSwap", "LimitedSwap"):
        raise ValueError("give NoSwap or LimitedSwap")
    return text


def _server(text: str) -> str:
    url = urlsplit(text if "://" in text else f"https://{text}")
    if url.scheme != "https" or not url.hostname or url.path.strip("/") or url.query or url.username:
        raise ValueError("give the server as https://HOST:6443")
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    return f"https://{host}:{url.port or 6443}"


def _absolute_file(text: str) -> Path:
    path = Path(text)
    if not path.is_absolute():
        raise ValueError("give the absolute path of a file")
    return path


def _audit_log(text: str) -> str:
    return text if text == "-" else str(_absolute_file(text))


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > 1_000_000:
        raise ValueError("give a number, 0 for no bound")
    return int(text)


def _issuer(text: str) -> str:
    url = urlsplit(text)
    if url.scheme != "https" or not url.hostname or url.query or url.fragment:
        raise ValueError("give an https URL without query and fragment")
    return text


def _claim(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise ValueError("give KEY=VALUE")
    return key, value


#: Asymmetric ones only: a key that the provider publishes must not be one that signs.
SIGNING_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512")


def _algorithm(text: str) -> str:
    if text not in SIGNING_ALGORITHMS:
        raise ValueError(f"the algorithms are {', '.join(SIGNING_ALGORITHMS)}")
    return text


#: Named as upstream names them.
_OIDC: Final = (
    Option(
        "authentication-config",
        "authentication_config",
        _absolute_file,
        "Let in users of the identity providers in this file.",
        "FILE",
    ),
    Option("oidc-issuer-url", "oidc_issuer_url", _issuer, "Let in users of this OpenID Connect provider.", "URL"),
    Option("oidc-client-id", "oidc_client_id", _text, "The audience that its tokens must have.", "ID"),
    Option("oidc-username-claim", "oidc_username_claim", _text, "The claim that names the user (default: sub).", "CLAIM"),
    Option("oidc-username-prefix", "oidc_username_prefix", _text, "What is put before names; - for nothing.", "TEXT"),
    Option("oidc-groups-claim", "oidc_groups_claim", _text, "The claim that names the user's groups.", "CLAIM"),
    Option("oidc-groups-prefix", "oidc_groups_prefix", _text, "What is put before groups.", "TEXT"),
    Option(
        "oidc-required-claim",
        "oidc_required_claims",
        _claim,
        "A claim that tokens must have (repeatable).",
        "KEY=VALUE",
        multiple=True,
        collect=tuple,
    ),
    Option("oidc-ca-file", "oidc_ca_file", _absolute_file, "Who vouches for the provider (default: as the machine).", "FILE"),
    Option(
        "oidc-signing-algs",
        "oidc_signing_algs",
        _algorithm,
        "How tokens may be signed (repeatable; default: RS256).",
        "NAME",
        multiple=True,
        collect=tuple,
    ),
)

OPTIONS: Final = (
    Option("data-dir", "data_dir", _directory, "Where state, certificates, images and volumes are kept.", "DIR"),
    Option("run-dir", "run_dir", _directory, "Where sockets and pid files are kept until the next boot.", "DIR"),
    Option("node-name", "node_name", _node_name, "This node's name (default: the host name).", "NAME"),
    Option("node-ip", "node_ip", _addresses, "This node's address, or two: v4,v6 (default: that of the default route).", "IP"),
    Option("https-port", "https_port", _port, "The port of the API.", "PORT"),
    Option("agent-port", "agent_port", _port, "The port of the node's agent.", "PORT"),
    Option("cluster-cidr", "cluster_cidr", _pod_networks, "Pod addresses; v4,v6 for two stacks.", "CIDR"),
    Option("service-cidr", "service_cidr", _service_networks, "Service addresses; v4,v6 for two stacks.", "CIDR"),
    Option("cluster-dns", "cluster_dns", _ipv4, "The address of the cluster's DNS, in the service range.", "IP"),
    Option("cluster-domain", "cluster_domain", _dns_name, "The DNS domain of the cluster.", "DOMAIN"),
    Option("containerd-address", "containerd_address", _text, "Use this containerd socket instead of an own instance.", "SOCKET"),
    Option("no-agent", "agent", _truth, "Run the control plane only: no pods on this machine.", is_flag=True),
    Option("disable", "disable", _part, "Leave a part out (repeatable).", "NAME", multiple=True),
    Option("local-path-dir", "local_path_dir", _directory, "Where this node makes volumes of class local-path.", "DIR"),
    Option("kubelet-dir", "kubelet_dir", _kubelet_dir, "Where CSI drivers look for the node; - for nowhere.", "DIR"),
    Option("pod-logs-dir", "pod_logs", _directory, "Where logs of containers are written.", "DIR"),
    *NODE_OPTIONS,
    Option("cgroup-parent", "cgroup_parent", _cgroup, "The cgroup that pods live under.", "PATH"),
    Option(
        "allowed-unsafe-sysctls",
        "allowed_unsafe_sysctls",
        _sysctls,
        "Sysctls beyond the safe ones that pods of this node may set (repeatable).",
        "PATTERN",
        multiple=True,
        collect=tuple,
    ),
    Option(
        "device",
        "devices",
        board_devices.parse,
        "A device of this board that pods may ask for (repeatable).",
        "RESOURCE=PATH",
        multiple=True,
        collect=tuple,
        parse_mapping=board_devices.from_mapping,
    ),
    Option("memory-swap", "memory_swap", _swap, "Whether pods may use swap.", "NoSwap|LimitedSwap"),
    Option("pod-pids-limit", "pod_pids_limit", _count, "How many processes one pod may have; 0 for no bound.", "NUMBER"),
    Option(
        "node-monitor-grace-seconds",
        "node_monitor_grace_seconds",
        _node_grace,
        "How long a node may be silent before its pods are moved.",
        "SECONDS",
    ),
    Option(
        "load-balancer-pool",
        "load_balancer_pool",
        _pool,
        "Addresses for Services of type LoadBalancer (default: the nodes' own).",
        "RANGES",
    ),
    Option("log-format", "log_format", _log_format, "How log lines look.", "text|json"),
    Option("log-requests", "log_requests", _truth, "A line in the log for each request to the API.", is_flag=True),
    *_OIDC,
    Option(
        "scheduler-config", "scheduler_config", _absolute_file, "Profiles of the scheduler (default: upstream's one).", "FILE"
    ),
    Option(
        "audit-policy-file", "audit_policy_file", _absolute_file, "What the audit log tells of (default: there is none).", "FILE"
    ),
    Option(
        "audit-webhook-config-file",
        "audit_webhook_config_file",
        _absolute_file,
        "Post audit events to the collector that this kubeconfig names.",
        "FILE",
    ),
    Option("audit-log-path", "audit_log_path", _audit_log, "The audit log's file; - for standard output.", "FILE"),
    Option("audit-log-maxsize", "audit_log_maxsize", _count, "A file of the audit log has at most so much.", "MEGABYTES"),
    Option("audit-log-maxbackup", "audit_log_maxbackup", _count, "So many old files of the audit log are kept.", "NUMBER"),
    Option("audit-log-maxage", "audit_log_maxage", _count, "Old files of the audit log are kept so long.", "DAYS"),
    Option(
        "server",
        "server",
        _server,
        "The server to join (repeatable; default: found by mDNS).",
        "URL",
        multiple=True,
        collect=tuple,
    ),
    Option("token", "token", _text, "Join with this token (better: --token-file).", "TOKEN"),
    Option("token-file", "token_file", _absolute_file, "Join with the token in this file.", "FILE"),
    Option("cluster", "cluster", _text, "Join no cluster but this: its id, name, or CA fingerprint's beginning.", "CLUSTER"),
    Option("hardware-serial", "hardware_serial", _text, "The board's serial number (default: what it says).", "SERIAL"),
)
#: What only an agent takes.
AGENT_ONLY: Final = frozenset({"server", "token", "token-file", "cluster", "hardware-serial"})
#: What an agent is told by its cluster, or has no use for.
SERVER_ONLY: Final = frozenset({option.name for option in _OIDC}) | frozenset({
    "https-port", "cluster-cidr", "service-cidr", "cluster-dns", "cluster-domain", "no-agent", "log-requests",
    "scheduler-config", "audit-policy-file", "audit-webhook-config-file", "audit-log-path", "audit-log-maxsize",
    "audit-log-maxbackup", "audit-log-maxage",
})  # fmt: skip
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
    chosen = {_BY_NAME[name].field: value for name, value in values.items()}
    rules = {field.removeprefix("node."): chosen.pop(field) for field in list(chosen) if field.startswith("node.")}
    settings = Settings(
        **{"node_name": default_node_name(), "node_name_given": "node_name" in chosen, "node": NodeRules(**rules), **chosen}
    )
    try:
        check_rules(settings.node)
    except ValueError as error:
        raise OptionError(str(error)) from None
    _check_ranges(settings)
    return settings


def default_node_name() -> str:
    """The host name as a node name: lower case, short, without what DNS does not take."""
    name = re.sub(r"[^-a-z0-9]", "-", socket.gethostname().split(".")[0].lower()).strip("-")
    return name[: limits.NODE_NAME_CHARACTERS_MAX].strip("-") or "node"


def _parse(option: Option, value: Any, source: str) -> Any:
    try:
        if option.multiple:
            parts = value if isinstance(value, list | tuple) else [value]
            mapped = option.parse_mapping
            return option.collect(
                mapped(part) if mapped is not None and isinstance(part, dict) else option.parse(str(part)) for part in parts
            )
        if option.mapping and isinstance(value, dict):
            value = ",".join(f"{key}={part}" for key, part in value.items())
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
    if len(settings.cluster_networks) != len(settings.service_networks):
        raise OptionError(
            f"--cluster-cidr {settings.cluster_cidr} and --service-cidr {settings.service_cidr} "
            "must both have an IPv6 network, or none"
        )
    for pods, services in zip(settings.cluster_networks, settings.service_networks, strict=True):
        if pods.overlaps(services):
            raise OptionError(f"--cluster-cidr {pods} and --service-cidr {services} overlap: give two separate networks")
    if IPv4Address(settings.cluster_dns) not in settings.service_networks[0]:
        raise OptionError(f"--cluster-dns {settings.cluster_dns} is not in --service-cidr {settings.service_networks[0]}")
    if settings.cluster_dns == settings.kubernetes_service_ip:
        raise OptionError(f"--cluster-dns {settings.cluster_dns} is the address of the 'kubernetes' Service: give another")
    if settings.audit_webhook_config_file is not None and settings.audit_policy_file is None:
        raise OptionError("--audit-webhook-config-file needs --audit-policy-file: it says what is told")
    if settings.authentication_config is not None and settings.oidc_issuer_url:
        raise OptionError("--authentication-config and --oidc-issuer-url exclude each other: put the provider into the file")
    if bool(settings.oidc_issuer_url) != bool(settings.oidc_client_id):
        raise OptionError("--oidc-issuer-url and --oidc-client-id need each other: give both or none")
    names = [device.resource for device in settings.devices]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise OptionError(f"--device names {twice} twice: give one device several paths instead")
    if settings.https_port == settings.agent_port:
        raise OptionError("--https-port and --agent-port are the same: give two ports")
