"""What /logs/?query=… asks of a node's logs.

Enters: the query.
Leaves: a NodeLogQuery, or StatusError Invalid with everything that is wrong; the arguments of journalctl.
Holds: pure; a name that reaches journalctl is a service's name and nothing else.
Source: kubernetes.io, "System Logs" (log query); k8s.io/kubernetes pkg/kubelet/kubelet_server_journal.go.
Next: agent.node_logs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from edgekube.api import errors, times
from edgekube.api.errors import Cause
from edgekube.limits import NODE_LOG_SERVICES_MAX, NODE_LOG_TAIL_LINES_MAX

_SERVICE: Final = re.compile(r"[a-zA-Z0-9_.\\:@-]{1,256}")
#: Whoever asks for the kubelet of a node wants this program.
_ALIASES: Final = {"kubelet": "edgekube", "kube-proxy": "edgekube"}


class NodeLogQuery(Struct, frozen=True):
    services: tuple[str, ...] = ()
    file: str = ""
    since: float | None = None
    until: float | None = None
    tail_lines: int | None = None
    boot: int | None = None
    pattern: str = ""

    @property
    def has_options(self) -> bool:
        return any(each is not None for each in (self.since, self.until, self.tail_lines, self.boot)) or bool(self.pattern)


def parse(query: Mapping[str, Sequence[str]]) -> NodeLogQuery | None:
    """None: nothing is asked, the files are to be browsed."""
    causes: list[Cause] = []
    asked = [each for each in query.get("query", ()) if each.strip()]
    files = [each for each in asked if "/" in each or "\\" in each]
    services = [_ALIASES.get(each, each) for each in asked if each not in files]
    since, until = (_time(query, name, causes) for name in ("sinceTime", "untilTime"))
    boot, lines = (_number(query, name, causes) for name in ("boot", "tailLines"))
    found = NodeLogQuery(tuple(services), next(iter(files), ""), since, until, lines, boot, _first(query, "pattern"))
    if not asked and not found.has_options and not causes and "query" not in query:
        return None
    if not asked:
        causes.append(Cause("FieldValueRequired", "Required value: cannot be empty with options", "query"))
    if files and services:
        causes.append(_invalid("query", ", ".join(asked), "cannot specify a file and service"))
    if len(files) > 1:
        causes.append(_invalid("query", ", ".join(files), "cannot specify more than one file"))
    if files and found.has_options:
        causes.append(_invalid("query", files[0], "cannot specify file with options"))
    causes += [
        _invalid("query", name, "input contains unsupported characters") for name in services if not _SERVICE.fullmatch(name)
    ]
    if len(services) > NODE_LOG_SERVICES_MAX:
        causes.append(
            Cause("FieldValueTooMany", f"Too many: {len(services)}: must have at most {NODE_LOG_SERVICES_MAX} items", "query")
        )
    if since is not None and until is not None and since > until:
        causes.append(_invalid("untilTime", _first(query, "untilTime"), "must be after `sinceTime`"))
    if boot is not None and boot > 0:
        causes.append(_invalid("boot", boot, "must be less than 1"))
    if lines is not None and not 0 <= lines <= NODE_LOG_TAIL_LINES_MAX:
        causes.append(_invalid("tailLines", lines, f"must be between 0 and {NODE_LOG_TAIL_LINES_MAX}, inclusive"))
    if causes:
        raise errors.invalid("", "NodeLogQuery", "", causes)
    return found


def journal_arguments(query: NodeLogQuery) -> list[str]:
    arguments = ["--utc", "--no-pager", "--output=short-precise"]
    arguments += [f"--unit={service}" for service in query.services]
    if query.since is not None:
        arguments.append(f"--since={_journal_time(query.since)}")
    if query.until is not None:
        arguments.append(f"--until={_journal_time(query.until)}")
    if query.pattern:
        arguments += [f"--grep={query.pattern}", "--case-sensitive=false"]
    if query.boot is not None:
        arguments.append(f"--boot={query.boot}")
    if query.tail_lines is not None:
        arguments.append(f"--lines={query.tail_lines}")
    return arguments


def _journal_time(seconds: float) -> str:
    return times.rfc3339(seconds).replace("T", " ").removesuffix("Z")


def _first(query: Mapping[str, Sequence[str]], name: str) -> str:
    return next(iter(query.get(name, ())), "")


def _time(query: Mapping[str, Sequence[str]], name: str, causes: list[Cause]) -> float | None:
    text = _first(query, name)
    if not text:
        return None
    try:
        return times.parse(text)
    except (ValueError, OverflowError):
        causes.append(_invalid(name, text, "invalid time format"))
        return None


def _number(query: Mapping[str, Sequence[str]], name: str, causes: list[Cause]) -> int | None:
    text = _first(query, name)
    if not text:
        return None
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        causes.append(_invalid(name, text, "must be a whole number"))
        return None
    return int(text)


def _invalid(field: str, value: object, why: str) -> Cause:
    shown = f'"{value}"' if isinstance(value, str) else value
    return Cause("FieldValueInvalid", f"Invalid value: {shown}: {why}", field)
