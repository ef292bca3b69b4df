"""/etc/hosts and resolv.conf of a pod.

Enters: the pod, its addresses, the node's settings, the host's own files.
Leaves: file contents and DnsConfig.
Holds: pure but for ``read_resolv_conf``. Bounds are those of resolv.conf(5) as Kubernetes applies them.
Source: Kubernetes documentation, "DNS for Services and Pods", "Adding entries to Pod /etc/hosts".
Next: agent.sandbox, agent.container_config.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgekube.agent.podspec import host_network
from edgekube.api.objects import Object, name_of, namespace_of, spec_of
from edgekube.containerd.model import DnsConfig
from edgekube.settings import Settings

#: kubelet's MaxDNSNameservers, MaxDNSSearchPaths, MaxDNSSearchListChars.
NAMESERVERS_MAX = 3
SEARCHES_MAX = 32
SEARCH_CHARACTERS_MAX = 2048
DOMAIN_CHARACTERS_MAX = 253

_HOSTS_HEAD = """# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
"""


def parse_resolv_conf(text: str) -> DnsConfig:
    servers: list[str] = []
    searches: list[str] = []
    options: list[str] = []
    for line in text.splitlines():
        words = line.split("#", 1)[0].split(";", 1)[0].split()
        if len(words) < 2:
            continue
        if words[0] == "nameserver":
            servers.append(words[1])
        elif words[0] in ("search", "domain"):
            # With and without its last dot a domain is one.
            searches = [word.removesuffix(".") for word in words[1:] if word != "."]
        elif words[0] == "options":
            options.extend(words[1:])
    return DnsConfig(tuple(servers), tuple(searches), tuple(options))


def read_resolv_conf(path: Path = Path("/etc/resolv.conf")) -> DnsConfig:
    """The host's; systemd-resolved's stub address would mean the pod itself, so its real list is read then."""
    try:
        config = parse_resolv_conf(path.read_text())
    except OSError:
        return DnsConfig()
    real = Path("/run/systemd/resolve/resolv.conf")
    if config.servers == ("127.0.0.53",) and real.exists():
        return parse_resolv_conf(real.read_text())
    return config


def _bounded(config: DnsConfig) -> tuple[DnsConfig, tuple[str, ...]]:
    """And what was left out, in the kubelet's words."""
    said: list[str] = []
    servers = tuple(dict.fromkeys(config.servers))
    if len(servers) > NAMESERVERS_MAX:
        servers = servers[:NAMESERVERS_MAX]
        said.append(
            "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: "
            + " ".join(servers)
        )
    wanted = list(dict.fromkeys(config.searches))
    # Some resolvers abort on a longer name.
    searches = [domain for domain in wanted[:SEARCHES_MAX] if len(domain) <= DOMAIN_CHARACTERS_MAX]
    while len(" ".join(searches)) > SEARCH_CHARACTERS_MAX:
        searches.pop()
    if searches != wanted:
        said.append(
            "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: "
            + " ".join(searches)
        )
    return DnsConfig(servers, tuple(searches), config.options), tuple(said)


def _with_options(base: Sequence[str], extra: Sequence[Object]) -> tuple[str, ...]:
    options = {option.partition(":")[0]: option for option in base}
    for option in extra:
        name, value = option.get("name") or "", option.get("value")
        options[name] = name if value in (None, "") else f"{name}:{value}"
    return tuple(options.values())


def dns_config(pod: Object, settings: Settings, host: DnsConfig | None = None) -> DnsConfig:
    """By dnsPolicy, then what dnsConfig adds. ``host`` is read from the host when not given."""
    return bounded_dns_config(pod, settings, host)[0]


def bounded_dns_config(pod: Object, settings: Settings, host: DnsConfig | None = None) -> tuple[DnsConfig, tuple[str, ...]]:
    """The same, and what did not fit into it."""
    spec = spec_of(pod)
    policy = spec.get("dnsPolicy") or "ClusterFirst"
    if policy == "ClusterFirst" and host_network(pod):
        policy = "Default"
    if policy == "None":
        base = DnsConfig()
    elif policy == "Default":
        base = host if host is not None else read_resolv_conf()
    else:
        inherited = host if host is not None else read_resolv_conf()
        domain = settings.cluster_domain
        searches = (f"{namespace_of(pod)}.svc.{domain}", f"svc.{domain}", domain, *inherited.searches)
        base = DnsConfig((settings.cluster_dns,), searches, ("ndots:5",))
    extra = spec.get("dnsConfig") or {}
    return _bounded(
        DnsConfig(
            (*base.servers, *(extra.get("nameservers") or [])),
            (*base.searches, *(extra.get("searches") or [])),
            _with_options(base.options, extra.get("options") or []),
        )
    )


def fully_qualified(pod: Object, hostname: str, settings: Settings) -> str:
    """``web-0.web.default.svc.cluster.local``, or "" without spec.subdomain."""
    subdomain = spec_of(pod).get("subdomain")
    if not subdomain or spec_of(pod).get("hostnameOverride"):
        return ""
    return f"{hostname}.{subdomain}.{namespace_of(pod)}.svc.{settings.cluster_domain}"


def hosts_file(pod: Object, addresses: Sequence[str], hostname: str, settings: Settings, host_file: str = "") -> str:
    """``host_file`` is the node's own, the base for a pod on the host's network."""
    if host_network(pod):
        text = "# Kubernetes-managed hosts file (host network).\n" + host_file
    else:
        text = _HOSTS_HEAD
        qualified = fully_qualified(pod, hostname, settings)
        names = f"{qualified}\t{hostname}" if qualified else (hostname or name_of(pod))
        text += "".join(f"{address}\t{names}\n" for address in addresses)
    aliases = spec_of(pod).get("hostAliases") or []
    if aliases:
        if not text.endswith("\n"):
            text += "\n"
        text += "\n# Entries added by HostAliases.\n"
        text += "".join(f"{alias['ip']}\t" + "\t".join(alias.get("hostnames") or []) + "\n" for alias in aliases)
    return text
