"""One line for a request: what was asked, by whom, how it ended and how long it took.

Enters: Accounts of requests that have ended.
Leaves: lines of the log (text, or fields of a JSON line): each request when that is wished, slow ones always.
Holds: no header, no body, no token. Of a query only parameters are shown that the API defines and that carry no data of people;
what a proxy passes on, and the words of an exec, are left out.
Bound: slow requests by wire.refusals.Allowance; texts by limits.REFUSAL_TEXT_BYTES_MAX.
Next: logging.
"""

from __future__ import annotations

import logging
from typing import Final

from edgekube import limits
from edgekube.server.accounting import Account
from edgekube.wire.refusals import Allowance

log = logging.getLogger("edgekube.requests")

#: Parameters whose values may be shown; of others only the name is.
_SHOWN: Final = frozenset({
    "allowWatchBookmarks", "container", "continue", "dryRun", "fieldManager", "fieldSelector", "fieldValidation", "follow",
    "force", "gracePeriodSeconds", "includeObject", "labelSelector", "limit", "limitBytes", "orphanDependents", "ports",
    "pretty", "previous", "propagationPolicy", "resourceVersion", "resourceVersionMatch", "sendInitialEvents", "sinceSeconds",
    "sinceTime", "stderr", "stdin", "stdout", "tailLines", "timeout", "timeoutSeconds", "timestamps", "tty", "watch",
})  # fmt: skip
_AGENT_CHARACTERS_MAX: Final = 80


def shown_query(query: dict[str, list[str]]) -> str:
    """The query without what may be a secret."""
    parts = []
    for name, values in query.items():
        if name in _SHOWN:
            parts += [f"{name}={value}" for value in values]
        else:
            parts.append(f"{name}=…")
    return "&".join(parts)[: limits.REFUSAL_TEXT_BYTES_MAX]


def fields_of(account: Account) -> dict[str, object]:
    request, route, user = account.request, account.route, account.user
    fields: dict[str, object] = {
        "method": request.method,
        "path": request.path[: limits.REFUSAL_TEXT_BYTES_MAX],
        "code": account.code,
        "ms": round(account.seconds * 1000, 1),
        "bytes": account.bytes_sent,
        "peer": request.peer,
    }
    if route is not None and route.query and route.subresource != "proxy":
        fields["query"] = shown_query(route.query)
    if account.kind is not None and route is not None:
        fields["verb"] = route.verb
        fields["resource"] = account.kind.group_resource
    if user is not None:
        fields["user"] = user.name
    if account.impersonator is not None:
        fields["impersonator"] = account.impersonator.name
    agent = request.headers.get("user-agent", "")
    if agent:
        fields["agent"] = agent[:_AGENT_CHARACTERS_MAX]
    if account.audit_id:
        fields["audit_id"] = account.audit_id
    return fields


def _line(what: str, fields: dict[str, object]) -> str:
    return " ".join(
        [what, *(f"{name}={value!r}" if isinstance(value, str) else f"{name}={value}" for name, value in fields.items())]
    )


class RequestLog:
    def __init__(self, *, every: bool) -> None:
        """``every``: each request has its line, not only slow ones."""
        self.every = every
        self._slow = Allowance()

    def ended(self, account: Account) -> None:
        if not account.lasts and account.seconds >= limits.REQUEST_SLOW_SECONDS:
            unsaid = self._slow.take()
            if unsaid is not None:
                self._tell(logging.WARNING, "slow request", {**fields_of(account), "unsaid": unsaid})
                return
        if self.every or log.isEnabledFor(logging.DEBUG):
            self._tell(logging.INFO if self.every else logging.DEBUG, "request", fields_of(account))

    def _tell(self, level: int, what: str, fields: dict[str, object]) -> None:
        log.log(level, "%s", _line(what, fields), extra={"said": {"message": what, **fields}})
