"""How long webhooks take and how often they refuse or fail, in the names that dashboards ask kube-apiserver for.

Enters: one call of a webhook and how it ended.
Leaves: families of registry.metrics; none before the first call.
Holds: a webhook's name is a label: who may write configurations may make series, within the bound of metrics.
Source: kubernetes.io, "Kubernetes Metrics Reference" (apiserver_admission_webhook_*).
Next: metrics.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Final

from edgekube.admission.request import AdmissionRequest
from edgekube.admission.webhook_review import Refused
from edgekube.admission.webhooks import Hook
from edgekube.registry.state import Registry

ADMIT: Final = "admit"
VALIDATING: Final = "validating"
_SECONDS: Final = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 25.0)


class CallingFailed(Exception):
    """The webhook was not asked, or gave no verdict: not the same as a refusal. ``code`` is what it counts under."""

    def __init__(self, why: str, code: int = 503) -> None:
        super().__init__(why)
        self.code = code


def count_exclusion(registry: Registry, request: AdmissionRequest, hook: Hook, plugin: str) -> None:
    registry.metrics.counter(
        "apiserver_admission_match_condition_exclusions_total",
        "Requests that a webhook was not asked about because of its match conditions.",
        "name", "kind", "type", "operation",
    ).add((hook.name, "webhook", plugin, request.operation))  # fmt: skip


class Counted:
    """``with Counted(...)``: one call, however it ends."""

    def __init__(self, registry: Registry, request: AdmissionRequest, hook: Hook, plugin: str) -> None:
        self._metrics = registry.metrics
        self._operation = request.operation
        self._hook = hook
        self._plugin = plugin
        self._started_at = 0.0

    def __enter__(self) -> None:
        self._started_at = time.perf_counter()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if error is not None and not isinstance(error, Exception):
            return  # cancelled: the client left
        code, rejected, error_type = 200, False, ""
        if isinstance(error, CallingFailed):
            code, rejected, error_type = error.code, not self._hook.fails_open, "calling_webhook_error"
            if not rejected:
                self._fail_open()
        elif isinstance(error, Refused):
            code, rejected, error_type = error.code, True, "no_error"
        elif error is not None:
            code, rejected, error_type = 0, True, "apiserver_internal_error"
        self._count(code, rejected, error_type)

    def _count(self, code: int, rejected: bool, error_type: str) -> None:
        name, told = self._hook.name, str(rejected).lower()
        self._metrics.histogram(
            "apiserver_admission_webhook_admission_duration_seconds",
            "Seconds that a webhook took, by its name, what it was asked about and whether the request was refused.",
            "name", "type", "operation", "rejected", buckets=_SECONDS,
        ).observe((name, self._plugin, self._operation, told), time.perf_counter() - self._started_at)  # fmt: skip
        self._metrics.counter(
            "apiserver_admission_webhook_request_total",
            "Calls of a webhook, by the code that it answered with and whether the request was refused.",
            "name", "type", "operation", "code", "rejected",
        ).add((name, self._plugin, self._operation, str(code), told))  # fmt: skip
        if rejected:
            self._metrics.counter(
                "apiserver_admission_webhook_rejection_count",
                "Requests refused because of a webhook: it said so, or could not be asked.",
                "name", "type", "operation", "error_type", "rejection_code",
            ).add((name, self._plugin, self._operation, error_type, str(code)))  # fmt: skip

    def _fail_open(self) -> None:
        self._metrics.counter(
            "apiserver_admission_webhook_fail_open_count",
            "Requests let through though a webhook could not be asked.",
            "name", "type",
        ).add((self._hook.name, self._plugin))  # fmt: skip
