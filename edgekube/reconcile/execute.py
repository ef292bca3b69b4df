"""Carry out a plan: calls become verbs, in order.

Enters: the calls of one plan.
Leaves: an Outcome: what was written (so that the view can catch up with it), and why it stopped early.
Holds: nothing after a failed call is carried out; runs of creations start 1, 2, 4, … at a time, so that a quota refuses one
request and not five hundred; deleting what is gone is success.
Bound: limits.CALLS_IN_FLIGHT_MAX.
Next: api.verbs.Verbs; reconcile.engine plans again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import groupby
from typing import TypeAlias, TypeVar

import trio
from msgspec import Struct, field

from edgekube import limits
from edgekube.api.calls import Call, Create, Delete, Later, Patch, Record, Report, Require, RequireGone, RequireNone, Update
from edgekube.api.errors import StatusError, conflict
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object, is_deleting, name_of, uid_of
from edgekube.api.verbs import Verbs

#: Called at once with what should become an Event; must not block.
RecordEvent: TypeAlias = Callable[[Record], None]


class Outcome(Struct):
    later_seconds: float | None = None
    failure: StatusError | None = None
    #: Per kind the highest revision written.
    revisions: dict[Kind, int] = field(default_factory=dict)
    deletions: list[Delete] = field(default_factory=list)

    def wrote(self, kind: Kind, answer: Object) -> None:
        revision = (answer.get("metadata") or {}).get("resourceVersion")
        if revision and answer.get("kind") in (None, kind.kind):
            self.revisions[kind] = max(int(revision), self.revisions.get(kind, 0))


async def execute(verbs: Verbs, calls: Sequence[Call], record: RecordEvent) -> Outcome:
    outcome = Outcome()
    for run in _runs(calls):
        first = run[0]
        if isinstance(first, Create):
            await _create_all(verbs, [call for call in run if isinstance(call, Create)], record, outcome)
        elif isinstance(first, Delete):
            await _delete_all(verbs, [call for call in run if isinstance(call, Delete)], record, outcome)
        else:
            await _one(verbs, first, record, outcome)
        if outcome.failure is not None:
            break
    return outcome


async def _after_failure(
    verbs: Verbs, call: Create | Delete | Patch, error: StatusError, record: RecordEvent, outcome: Outcome
) -> None:
    """The first failure decides what is done instead of the rest; a failure of that adds nothing."""
    if outcome.failure is not None:
        return
    outcome.failure = error
    for remedy in call.on_failure(error) if call.on_failure is not None else ():
        await _one(verbs, remedy, record, outcome)


def _runs(calls: Sequence[Call]) -> Iterator[list[Call]]:
    """Neighbouring creations, and neighbouring deletions, of one kind belong together; everything else stands alone."""

    def group(numbered: tuple[int, Call]) -> tuple[object, ...]:
        number, call = numbered
        return (type(call), call.kind) if isinstance(call, Create | Delete) else (number,)

    for _, run in groupby(enumerate(calls), key=group):
        yield [call for _, call in run]


async def _one(verbs: Verbs, call: Call, record: RecordEvent, outcome: Outcome) -> None:
    try:
        if isinstance(call, Update):
            outcome.wrote(call.kind, await verbs.update(call.kind, call.object, subresource=call.subresource))
        elif isinstance(call, Patch):
            answer = await verbs.patch(
                call.kind, call.namespace, call.name, call.patch, patch_type=call.patch_type, subresource=call.subresource
            )
            outcome.wrote(call.kind, answer)
        elif isinstance(call, Record):
            record(call)
        elif isinstance(call, Later):
            sooner = outcome.later_seconds is None or call.delay_seconds < outcome.later_seconds
            outcome.later_seconds = call.delay_seconds if sooner else outcome.later_seconds
        elif isinstance(call, Require):
            found = await verbs.get(call.kind, call.namespace, call.name)
            if uid_of(found) != call.uid or is_deleting(found):
                raise conflict(call.kind.group, call.kind.plural, call.name, "the object is gone, or on its way out")
        elif isinstance(call, RequireGone):
            await _require_gone(verbs, call)
        elif isinstance(call, RequireNone):
            await _require_none(verbs, call)
        else:
            raise TypeError(f"{type(call).__name__} belongs to a run")
    except StatusError as error:
        if isinstance(call, Patch):
            _report_failure(call.report, call.name, error, record)
            await _after_failure(verbs, call, error, record, outcome)
        outcome.failure = outcome.failure or error
        return
    if isinstance(call, Patch):
        _report_success(call.report, call.name, record)


async def _require_gone(verbs: Verbs, call: RequireGone) -> None:
    try:
        found = await verbs.get(call.kind, call.namespace, call.name)
    except StatusError as error:
        if error.reason != "NotFound":
            raise
        return
    if not call.uid or uid_of(found) == call.uid:
        raise conflict(call.kind.group, call.kind.plural, call.name, "the object is there")


async def _require_none(verbs: Verbs, call: RequireNone) -> None:
    for found in (await verbs.list(call.kind, call.namespace)).objects():
        if call.holds(found):
            raise conflict(call.kind.group, call.kind.plural, name_of(found), "the object is there")


async def _create_all(verbs: Verbs, creations: list[Create], record: RecordEvent, outcome: Outcome) -> None:
    async def create(call: Create) -> None:
        try:
            answer = await verbs.create(call.kind, call.namespace, call.object, subresource=call.subresource, name=call.name)
        except StatusError as error:
            _report_failure(call.report, name_of(call.object), error, record)
            await _after_failure(verbs, call, error, record, outcome)
        else:
            outcome.wrote(call.kind, answer)
            _report_success(call.report, name_of(answer), record)

    batch = 1
    while creations and outcome.failure is None:
        await _together(create, creations[:batch])
        creations = creations[batch:]
        batch = min(batch * 2, limits.CALLS_IN_FLIGHT_MAX)


async def _delete_all(verbs: Verbs, deletions: list[Delete], record: RecordEvent, outcome: Outcome) -> None:
    async def delete(call: Delete) -> None:
        try:
            await verbs.delete(call.kind, call.namespace, call.name, call.options)
        except StatusError as error:
            if error.reason == "NotFound":
                return
            _report_failure(call.report, call.name, error, record)
            await _after_failure(verbs, call, error, record, outcome)
        else:
            outcome.deletions.append(call)
            _report_success(call.report, call.name, record)

    while deletions and outcome.failure is None:
        await _together(delete, deletions[: limits.CALLS_IN_FLIGHT_MAX])
        deletions = deletions[limits.CALLS_IN_FLIGHT_MAX :]


_C = TypeVar("_C", Create, Delete)


async def _together(do: Callable[[_C], Awaitable[None]], calls: Sequence[_C]) -> None:
    if len(calls) == 1:
        await do(calls[0])
        return
    async with trio.open_nursery() as nursery:
        for call in calls:
            nursery.start_soon(do, call)


def _report_success(report: Report | None, name: str, record: RecordEvent) -> None:
    if report is not None and report.success_reason:
        record(Record(report.about, "Normal", report.success_reason, report.success_message.replace("{name}", name)))


def _report_failure(report: Report | None, name: str, error: StatusError, record: RecordEvent) -> None:
    if report is not None and report.failure_reason:
        message = report.failure_message.replace("{name}", name).replace("{error}", error.message)
        record(Record(report.about, "Warning", report.failure_reason, message))
