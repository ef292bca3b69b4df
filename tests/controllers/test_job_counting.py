"""A Job counts each pod exactly once, wherever a plan is cut off, and a plan that was carried out leaves nothing to do."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.api import times
from edgekube.api.jobstate import is_finished
from edgekube.api.kinds import POD
from edgekube.api.objects import Object, uid_of
from edgekube.controllers.job.facts import is_tracked, valid_index_of
from tests.controllers.jobs import Bench, job

SHAPES: list[dict[str, object]] = [
    {"completions": 3, "parallelism": 2},
    {"completions": None, "parallelism": 3},
    {"completions": 4, "parallelism": 3, "completionMode": "Indexed"},
    {"completions": 3, "parallelism": 3, "completionMode": "Indexed", "backoffLimitPerIndex": 1},
    {"completions": 4, "parallelism": 2, "backoffLimit": 1},
    {"completions": 3, "parallelism": 2, "podReplacementPolicy": "Failed"},
]
STEPS = st.one_of(
    st.tuples(st.just("end"), st.integers(0, 9), st.sampled_from([0, 0, 1])),
    st.tuples(st.just("delete"), st.integers(0, 9)),
    st.tuples(st.just("crash"), st.integers(0, 8)),
    st.tuples(st.just("plan")),
    st.tuples(st.just("wait")),
    st.tuples(st.just("sweep")),
)


class Counted:
    """What a careful observer would have counted."""

    def __init__(self, shape: dict[str, object]) -> None:
        self.bench = Bench(job(**{"backoffLimit": 2**31 - 1, **shape}))
        self.failed: set[str] = set()
        self.succeeded: set[str] = set()
        self.indexes: set[int] = set()
        self.before = (0, 0)

    def end(self, pod: Object, code: int) -> None:
        self.bench.end(pod, code)
        if not is_tracked(pod):
            return  # given up before it ended
        index = valid_index_of(self.bench.job, pod)
        if code:
            self.failed.add(uid_of(pod))
        else:
            self.succeeded.add(uid_of(pod))
            if index is not None:
                self.indexes.add(index)

    def delete(self, pod: Object) -> None:
        pod["spec"]["nodeName"] = "n1"
        deleted = {"deletionTimestamp": times.rfc3339(self.bench.world.now), "deletionGracePeriodSeconds": 30}
        pod["metadata"] |= deleted
        self.bench.world.put(POD, pod)
        if is_tracked(pod) and self.bench.job["spec"]["podReplacementPolicy"] == "TerminatingOrFailed":
            self.failed.add(uid_of(pod))

    def crash(self, calls: int) -> None:
        planned = self.bench.world.plan(self.bench.controller, "default", "work")
        self.bench.world.carry_out(planned[:calls])
        self.bench.restart()

    def never_too_many(self) -> None:
        status = self.bench.status
        uncounted = status.get("uncountedTerminatedPods") or {}
        succeeded, failed = int(status.get("succeeded") or 0), int(status.get("failed") or 0)
        most = len(self.indexes) if self.bench.job["spec"]["completionMode"] == "Indexed" else len(self.succeeded)
        assert succeeded + len(uncounted.get("succeeded") or ()) <= most
        if not (status.get("conditions") or ()):  # what is given up at the end counts as failed, too
            assert failed + len(uncounted.get("failed") or ()) <= len(self.failed)
        assert succeeded >= self.before[0] and failed >= self.before[1]
        self.before = (succeeded, failed)

    def all_counted(self) -> None:
        status = self.bench.status
        assert status["uncountedTerminatedPods"] == {}
        if is_finished(self.bench.job):
            return  # what ends after that is nobody's
        indexed = self.bench.job["spec"]["completionMode"] == "Indexed"
        assert int(status.get("succeeded") or 0) == (len(self.indexes) if indexed else len(self.succeeded))
        if status.get("conditions"):
            return  # what is given up at the end counts as failed, too
        held = {uid_of(pod) for pod in self.bench.pods() if is_tracked(pod) and pod["status"]["phase"] == "Failed"}
        assert int(status.get("failed") or 0) == len(self.failed - held)


@settings(max_examples=120, deadline=None)
@given(shape=st.sampled_from(SHAPES), steps=st.lists(STEPS, max_size=40))
def test_counting_is_exact_wherever_it_is_cut_off(shape: dict[str, object], steps: list[tuple[object, ...]]) -> None:
    counted = Counted(shape)
    for name, *arguments in steps:
        active = counted.bench.active()
        if name == "end" and active:
            place, code = arguments
            assert isinstance(place, int) and isinstance(code, int)
            counted.end(active[place % len(active)], code)
        elif name == "delete" and active:
            [place] = arguments
            assert isinstance(place, int)
            counted.delete(active[place % len(active)])
        elif name == "crash":
            [calls] = arguments
            assert isinstance(calls, int)
            counted.crash(calls)
        elif name == "plan":
            counted.bench.step()
        elif name == "wait":
            counted.bench.world.now += 700
        elif name == "sweep":
            counted.bench.sweep()
        counted.never_too_many()
    counted.bench.restart()
    counted.bench.settle()
    counted.all_counted()


@settings(max_examples=40, deadline=None)
@given(shape=st.sampled_from(SHAPES), codes=st.lists(st.sampled_from([0, 1]), max_size=12))
def test_a_plan_that_was_carried_out_leaves_nothing_to_do(shape: dict[str, object], codes: list[int]) -> None:
    bench = Bench(job(**{"backoffLimit": 2**31 - 1, **shape}))
    bench.settle()
    for code in codes:
        if bench.active():
            bench.end(bench.active()[0], code)
        bench.world.now += 700
        bench.settle(steps=5)
        bench.sweep()
        bench.settle(steps=5)
        assert not bench.step()
