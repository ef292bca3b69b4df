"""What a client asked of the API server, in the names that client-go counts under.

Enters: each request's method, the code of its answer, and how long its head took.
Leaves: families rest_client_*, for whoever shows them (a node, on its /metrics).
Holds: a request without an answer has the code "<error>". The host is the name that the server's certificate must have: addresses
change.
Source: k8s.io/component-base metrics/prometheus/restclient.
Next: agent.statistics.
"""

from __future__ import annotations

from typing import Final

from edgekube.metrics import Counter, Family, Histogram

FAILED: Final = "<error>"
_SECONDS: Final = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)


class ClientFigures:
    def __init__(self, host: str) -> None:
        self._host = host
        self.requests = Counter(
            "rest_client_requests_total",
            "Number of HTTP requests, partitioned by status code, method, and host.",
            ("code", "method", "host"),
        )
        self.seconds = Histogram(
            "rest_client_request_duration_seconds",
            "Request latency in seconds. Broken down by verb, and host.",
            ("verb", "host"),
            _SECONDS,
        )

    @property
    def families(self) -> tuple[Family, ...]:
        return self.requests, self.seconds

    def asked(self, method: str, code: str, seconds: float) -> None:
        self.requests.add((code, method, self._host))
        self.seconds.observe((method, self._host), seconds)
