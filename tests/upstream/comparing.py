"""What differs between two answers to one question, without what may differ.

Enters: two Answers.
Leaves: lines that say where they differ, "" none. Pure.
"""

from __future__ import annotations

import re
from typing import Any, Final

from tests.upstream import documents
from tests.upstream.asking import Answer

#: Chosen by each server for itself.
_CHOSEN: Final = {
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "time",
    "clusterIP",
    "clusterIPs",
    "selfLink",
    "nodePort",
    "healthCheckNodePort",
}
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z|<unknown>|\b\d+s\b")
_DRAWN: Final = re.compile(r"(kube-api-access-)[a-z0-9]{5}")
#: An object in a message, whose keys stand in the order in which they were met.
_SHOWN: Final = re.compile(r'"\{(?:\\.|[^"\\])*\}"|map\[.*\]')
_UID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def plain(value: Any) -> Any:
    """An answer's body without what each server chooses."""
    if isinstance(value, dict):
        return {key: _plain_field(key, each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, str):
        return _DRAWN.sub(r"\1…", _TIME.sub("…", _UID.sub("…", _SHOWN.sub("{…}", value))))
    return value


def _plain_field(key: str, value: Any) -> Any:
    if key in _CHOSEN and value:
        if isinstance(value, str | int):
            return "…"
        if isinstance(value, list):
            return ["…" for _ in value]
    if key == "managedFields" and isinstance(value, list):  # sorted by time, which is each server's own
        return sorted(plain(value), key=_manager)
    return plain(value)


def _manager(entry: Any) -> str:
    names = ("operation", "manager", "apiVersion", "subresource")
    return repr([entry.get(name, "") for name in names]) if isinstance(entry, dict) else repr(entry)


def differences(theirs: Answer, ours: Answer) -> list[str]:
    """One line each: where, what upstream says, what we say."""
    found = []
    if theirs.status != ours.status:
        return [f"status: {theirs.status} | {ours.status} | {_said(theirs)} | {_said(ours)}"]
    their_body, our_body = plain(theirs.json), plain(ours.json)
    if documents.is_document(their_body) and documents.is_document(our_body):
        their_body, our_body = documents.bare(their_body), documents.bare(our_body)
    if isinstance(their_body, dict) and "columnDefinitions" in their_body and isinstance(our_body, dict):
        for column in [*(their_body["columnDefinitions"] or ()), *(our_body.get("columnDefinitions") or ())]:
            column.pop("description", None)
    if theirs.status >= 400 and isinstance(their_body, dict) and isinstance(our_body, dict):
        found += _of_statuses(their_body, our_body)
    else:
        found += _of_values("", their_body, our_body)
    for header in ("warning", "retry-after"):
        if theirs.headers.get(header) != ours.headers.get(header):
            found.append(f"header {header}: {theirs.headers.get(header)} | {ours.headers.get(header)}")
    return found


def _said(answer: Answer) -> str:
    body = answer.json
    return str(plain(body.get("message", "") if isinstance(body, dict) else body))[:600]


def _of_statuses(theirs: dict[str, Any], ours: dict[str, Any]) -> list[str]:
    found = []
    their_causes, our_causes = (_causes(each) for each in (theirs, ours))
    found += [f"cause missing: {cause}" for cause in sorted(set(their_causes) - set(our_causes))]
    found += [f"cause too many: {cause}" for cause in sorted(set(our_causes) - set(their_causes))]
    if not found:
        found += _of_values("", _without_causes(theirs), _without_causes(ours))
    return found


def _causes(status: dict[str, Any]) -> list[str]:
    causes = (status.get("details") or {}).get("causes") or []
    return [f"{each.get('field')}: {each.get('reason')}: {each.get('message')}" for each in causes]


def _without_causes(status: dict[str, Any]) -> dict[str, Any]:
    details = dict(status.get("details") or {})
    causes = details.pop("causes", None)
    # One message names all causes, in the order of their being found.
    message = "…" if causes and len({str(cause) for cause in causes}) > 1 else status.get("message")
    return {**status, "details": details, "message": message}


def _of_values(where: str, theirs: Any, ours: Any) -> list[str]:
    if isinstance(theirs, dict) and isinstance(ours, dict):
        found = []
        for key in [*theirs, *(key for key in ours if key not in theirs)]:
            below = f"{where}.{key}" if where else key
            if key not in ours:
                found.append(f"{below}: {_short(theirs[key])} | -")
            elif key not in theirs:
                found.append(f"{below}: - | {_short(ours[key])}")
            else:
                found += _of_values(below, theirs[key], ours[key])
        return found
    if isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        return [line for n, pair in enumerate(zip(theirs, ours, strict=True)) for line in _of_values(f"{where}[{n}]", *pair)]
    return [] if theirs == ours and type(theirs) is type(ours) else [f"{where}: {_short(theirs)} | {_short(ours)}"]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 300 else text[:300] + "…"
