"""What the node's resolver did, in the names that dashboards for CoreDNS ask for.

Enters: counts from network.dns.server and network.dns.forwarder.
Leaves: Prometheus text.
Holds: cheap to count; a fixed number of series, whatever clients send.
Source: prometheus.io, text exposition format; coredns.io, plugins metrics, cache and forward.
Next: network.dns.metrics_server.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from edgekube.network.dns.cache import ReplyCache

#: CoreDNS' buckets, without the longest.
_BUCKETS_SECONDS: Final = (0.00025, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048)
_CODES: Final = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
_TYPES: Final = {1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV"}


class Histogram:
    def __init__(self) -> None:
        self._counts = [0] * (len(_BUCKETS_SECONDS) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(_BUCKETS_SECONDS, seconds)] += 1
        self._sum += seconds

    def lines(self, name: str, help_: str) -> list[str]:
        lines = [f"# HELP {name} {help_}", f"# TYPE {name} histogram"]
        total = 0
        for bound, count in zip(_BUCKETS_SECONDS, self._counts, strict=False):
            total += count
            lines.append(f'{name}_bucket{{le="{bound}"}} {total}')
        total += self._counts[-1]
        return [*lines, f'{name}_bucket{{le="+Inf"}} {total}', f"{name}_sum {self._sum:.6f}", f"{name}_count {total}"]


class DnsMetrics:
    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()  # (udp or tcp, type)
        self.responses: Counter[int] = Counter()  # code
        self.dropped = 0
        self.forwards = 0
        self.forwards_failed = 0
        self.forwards_refused = 0
        self.forward_seconds = Histogram()
        self.cache: ReplyCache | None = None

    def count(self, transport: str, type_: int, reply: bytes) -> None:
        self.requests[transport, type_ if type_ in _TYPES else 0] += 1
        if len(reply) > 3:
            self.responses[reply[3] & 0x0F] += 1

    def text(self) -> str:
        requests: Counter[tuple[str, str]] = Counter()
        for (transport, number), count in self.requests.items():
            requests[transport, _TYPES.get(number, "other")] += count
        responses: Counter[str] = Counter()
        for code, count in self.responses.items():
            responses[_CODES.get(code, "other")] += count
        lines = _counter("coredns_dns_requests_total", "Questions by transport and type.")
        lines += [
            f'coredns_dns_requests_total{{proto="{proto}",type="{kind}"}} {n}' for (proto, kind), n in sorted(requests.items())
        ]
        lines += _counter("coredns_dns_responses_total", "Answers by code.")
        lines += [f'coredns_dns_responses_total{{rcode="{code}"}} {n}' for code, n in sorted(responses.items())]
        cache = self.cache
        for name, help_, value in (
            ("coredns_cache_hits_total", "Forwarded questions answered from memory.", cache.hits if cache else 0),
            ("coredns_cache_misses_total", "Forwarded questions not answered from memory.", cache.misses if cache else 0),
            (
                "coredns_cache_served_stale_total",
                "Answers out of date, for want of others.",
                cache.stale if cache else 0,
            ),
            ("coredns_forward_requests_total", "Questions asked of other servers.", self.forwards),
            ("coredns_forward_failures_total", "Questions that no server answered.", self.forwards_failed),
            ("coredns_forward_max_concurrent_rejects_total", "Questions refused: too many under way.", self.forwards_refused),
            ("edgekube_dns_dropped_total", "Packets dropped: too many questions under way.", self.dropped),
        ):
            lines += [*_counter(name, help_), f"{name} {value}"]
        lines += ["# HELP coredns_cache_entries Replies remembered.", "# TYPE coredns_cache_entries gauge"]
        lines.append(f"coredns_cache_entries {len(cache) if cache else 0}")
        lines += self.forward_seconds.lines("coredns_forward_request_duration_seconds", "How long other servers took.")
        return "\n".join([*lines, ""])


def _counter(name: str, help_: str) -> list[str]:
    return [f"# HELP {name} {help_}", f"# TYPE {name} counter"]
