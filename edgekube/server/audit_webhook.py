"""The audit log at somebody else's: events are posted together to a collector.

Enters: events, as they are for server.audit_file.
Leaves: requests with an audit.k8s.io/v1 EventList each.
Holds: no request of a client waits for it. A collector that is away, or says that it has too much, is asked again with growing
pauses; then the events are left out and counted. What waits at a stop is sent, if the collector takes it soon.
Bound: limits.AUDIT_WAITING_BYTES_MAX in memory, limits.AUDIT_WEBHOOK_EVENTS_MAX in one request.
Source: kubernetes.io, "Auditing", webhook backend; k8s.io/apiserver plugin/pkg/audit (batch mode).
Next: client.kubeconfig says where the collector is.
"""

from __future__ import annotations

import logging

import trio

from edgekube import limits
from edgekube.client.kubeconfig import Collector, KubeconfigError
from edgekube.server.audit_waiting import AuditWaiting
from edgekube.wire.client import http_client

log = logging.getLogger("edgekube.audit")


class AuditWebhook(AuditWaiting):
    def __init__(self, collector: Collector) -> None:
        super().__init__(due_events=limits.AUDIT_WEBHOOK_EVENTS_MAX)
        self._collector = collector
        #: Taken, and not known to have arrived.
        self._sending: list[bytes] = []
        self._failing = False

    async def run(self) -> None:
        """Until it is cancelled; then what waits is sent once."""
        try:
            while True:
                await self.until_due()
                while events := self.take(limits.AUDIT_WEBHOOK_EVENTS_MAX):
                    await self._deliver(events)
                    self._sending = []
        finally:
            lost = self.lost
            with trio.move_on_after(limits.AUDIT_WEBHOOK_SECONDS, shield=True):
                while events := self._sending or self.take(limits.AUDIT_WEBHOOK_EVENTS_MAX):
                    self._sending = events
                    why, _ = await self._send(events)
                    self.lost += len(events) if why else 0
                    self._sending = []
            self.lost += len(self._sending) + len(self.take())
            self._sending = []
            if self.lost > lost:
                log.error("the audit collector did not take what was left at the stop events=%d", self.lost - lost)

    async def _deliver(self, events: list[bytes]) -> None:
        self._sending = events
        pause = limits.AUDIT_WEBHOOK_RETRY_SECONDS
        for attempt in range(limits.AUDIT_WEBHOOK_ATTEMPTS_MAX):
            if attempt:
                await trio.sleep(pause)
                pause *= 1.5
            why, again = await self._send(events)
            if not why:
                self._failing = False
                return
            if not self._failing:
                log.error("the audit collector does not take events url=%s: %s", self._collector.url.geturl(), why)
            self._failing = True
            if not again:
                break
        self.lost += len(events)

    async def _send(self, events: list[bytes]) -> tuple[str, bool]:
        """Why they did not arrive ("": they did), and whether asking again may help."""
        url, token = self._collector.url, self._collector.token
        body = b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":[%s]}' % b",".join(events)
        headers = {"content-type": "application/json", "accept": "application/json"}
        try:
            with trio.fail_after(limits.AUDIT_WEBHOOK_SECONDS):
                # Both read files, and a context parses every authority.
                if token is not None:
                    headers["authorization"] = f"Bearer {await trio.to_thread.run_sync(token)}"
                make = self._collector.context
                context = await trio.to_thread.run_sync(make) if make is not None else None
                port = url.port or (443 if context is not None else 80)
                async with http_client(url.hostname or "", port, context=context) as client:
                    target = f"{url.path or '/'}{'?' if url.query else ''}{url.query}"
                    async with client.request("POST", target, headers, body) as answer:
                        await answer.read(limits.AUDIT_WEBHOOK_ANSWER_BYTES_MAX)
                        status = answer.status
        except trio.TooSlowError:
            return "no answer in time", True
        except KubeconfigError as error:
            return str(error), True
        except trio.Cancelled:
            raise
        except Exception as error:  # whatever a connection to a stranger can end with
            return f"{type(error).__name__}: {error}", True
        return ("", False) if 200 <= status < 300 else (f"answered {status}", status == 429 or status >= 500)
