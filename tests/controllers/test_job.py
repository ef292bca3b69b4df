"""A Job runs pods until enough have succeeded, waits after failures, and ends as its policies say."""

from __future__ import annotations

from edgekube.api.calls import Call, Create
from edgekube.api.errors import StatusError, forbidden
from edgekube.api.kinds import JOB, POD
from edgekube.api.objects import annotations_of, controller_of, labels_of, name_of
from edgekube.controllers.job.facts import INDEX_FAILURES, TRACKING
from edgekube.controllers.job.orphans import ORPHAN_CONTROLLER
from tests.controllers.jobs import Bench, job

INDEXED = {"completionMode": "Indexed"}
COMPLETE = ("Complete", "True", "CompletionsReached")


def test_one_pod_succeeds_and_the_job_is_complete() -> None:
    bench = Bench(job())
    bench.settle()
    [pod] = bench.pods()
    assert pod["metadata"]["finalizers"] == [TRACKING]
    assert (controller_of(pod) or {}).get("kind") == "Job"
    assert bench.status["active"] == 1
    assert bench.status["startTime"]
    bench.run(pod)
    bench.settle()
    assert (bench.status["ready"], bench.status["terminating"]) == (1, 0)
    bench.end(pod)
    bench.settle()
    assert bench.conditions() == [("SuccessCriteriaMet", "True", "CompletionsReached"), COMPLETE]
    assert (bench.status["succeeded"], bench.status.get("active"), bench.status["ready"]) == (1, None, 0)
    assert bench.status["completionTime"] == bench.status["conditions"][-1]["lastTransitionTime"]
    assert bench.status["uncountedTerminatedPods"] == {}
    assert "finalizers" not in bench.pods()[0]["metadata"]
    assert bench.world.events == [f"SuccessfulCreate: Created pod: {name_of(pod)}", "Completed: Job completed"]


def test_parallelism_is_kept_and_no_more_than_is_missing_is_started() -> None:
    bench = Bench(job(completions=5, parallelism=3))
    bench.settle()
    for expected in (3, 3, 3, 2, 1, 0):
        assert len(bench.active()) == expected
        if expected:
            bench.end(bench.active()[0])
            bench.settle()
    assert bench.status["succeeded"] == 5
    assert COMPLETE in bench.conditions()
    assert len(bench.pods()) == 5


def test_a_work_queue_ends_with_its_last_pod_after_the_first_success() -> None:
    bench = Bench(job(completions=None, parallelism=3))
    bench.settle()
    first, second, third = bench.active()
    bench.end(first)
    bench.settle()
    assert len(bench.active()) == 2, "nobody is added after a success"
    bench.end(second, code=1)
    bench.settle()
    bench.end(third)
    bench.settle()
    assert COMPLETE in bench.conditions()
    assert (bench.status["succeeded"], bench.status["failed"]) == (2, 1)


def test_failures_are_replaced_after_pauses_that_double_and_the_limit_ends_the_job() -> None:
    bench = Bench(job(backoffLimit=3))
    bench.settle()
    for pause in (10, 20, 40):
        bench.end(bench.active()[0], code=1)
        bench.settle()
        assert bench.active() == []
        assert bench.world.later == pause
        bench.world.now += pause - 1
        bench.settle()
        assert bench.active() == []
        bench.world.now += 2
        bench.settle()
        assert len(bench.active()) == 1
    bench.end(bench.active()[0], code=1)
    bench.settle()
    assert bench.conditions() == [
        ("FailureTarget", "True", "BackoffLimitExceeded"),
        ("Failed", "True", "BackoffLimitExceeded"),
    ]
    assert bench.status["failed"] == 4
    assert bench.world.events[-1] == "BackoffLimitExceeded: Job has reached the specified backoff limit"


def test_a_pause_outlives_a_restart_of_ours() -> None:
    bench = Bench(job())
    bench.settle()
    bench.end(bench.active()[0], code=1)
    bench.settle()
    bench.restart()
    bench.world.now += 5
    bench.settle()
    assert (bench.active(), bench.world.later) == ([], 5)


def test_every_index_gets_its_pod() -> None:
    bench = Bench(job(completions=4, parallelism=2, **INDEXED))
    bench.settle()
    assert bench.indexes() == ["0", "1"]
    pod = bench.of_index(1)
    assert pod["spec"]["hostname"] == "work-1"
    assert name_of(pod).startswith("work-1-")
    [variable] = pod["spec"]["containers"][0]["env"]
    assert variable["name"] == "JOB_COMPLETION_INDEX"
    bench.end(pod)
    bench.settle()
    assert bench.indexes() == ["0", "2"]
    assert bench.status["completedIndexes"] == "1"
    bench.end(bench.of_index(2))
    bench.settle()
    bench.end(bench.of_index(3))
    bench.settle()
    assert bench.status["completedIndexes"] == "1-3"
    bench.end(bench.of_index(0))
    bench.settle()
    assert (bench.status["completedIndexes"], bench.status["succeeded"]) == ("0-3", 4)
    assert COMPLETE in bench.conditions()


def test_an_index_fails_for_itself() -> None:
    bench = Bench(job(completions=2, parallelism=2, backoffLimitPerIndex=1, backoffLimit=2**31 - 1, **INDEXED))
    bench.settle()
    bench.end(bench.of_index(0), code=1)
    bench.settle()
    assert bench.indexes() == ["1"]
    failed = next(pod for pod in bench.pods() if pod["status"]["phase"] == "Failed")
    assert failed["metadata"]["finalizers"] == [TRACKING], "it waits for the pod that takes its count over"
    bench.world.now += 11
    bench.settle()
    assert annotations_of(bench.of_index(0))[INDEX_FAILURES] == "1"
    assert bench.status["failed"] == 1
    bench.end(bench.of_index(0), code=1)
    bench.settle()
    assert (bench.status["failedIndexes"], bench.indexes()) == ("0", ["1"])
    bench.end(bench.of_index(1))
    bench.settle()
    assert bench.conditions()[-1] == ("Failed", "True", "FailedIndexes")
    assert (bench.status["completedIndexes"], bench.status["succeeded"], bench.status["failed"]) == ("1", 1, 2)


def test_too_many_failed_indexes_end_the_job() -> None:
    spec = {"backoffLimitPerIndex": 0, "maxFailedIndexes": 0, "backoffLimit": 2**31 - 1, **INDEXED}
    bench = Bench(job(completions=3, parallelism=2, **spec))
    bench.settle()
    bench.end(bench.of_index(1), code=1)
    bench.settle()
    bench.sweep()
    bench.settle()
    assert bench.conditions()[-1] == ("Failed", "True", "MaxFailedIndexesExceeded")
    assert bench.status["failedIndexes"] == "1"


def test_a_failure_policy_ignores_counts_and_ends() -> None:
    codes = {"containerName": "c", "operator": "In", "values": [42]}
    disrupted = {"type": "DisruptionTarget", "status": "True"}
    rules = [
        {"action": "Ignore", "onPodConditions": [disrupted]},
        {"action": "FailJob", "onExitCodes": codes},
    ]
    bench = Bench(job(backoffLimit=0, podFailurePolicy={"rules": rules}))
    bench.settle()
    bench.end(bench.active()[0], code=137, conditions=[disrupted])
    bench.settle()
    assert bench.status.get("failed") is None
    bench.world.now += 11
    bench.settle()
    [pod] = bench.active()
    bench.end(pod, code=42)
    bench.settle()
    condition = bench.status["conditions"][-1]
    assert (condition["type"], condition["reason"]) == ("Failed", "PodFailurePolicy")
    assert condition["message"] == (
        f"Container c for pod default/{name_of(pod)} failed with exit code 42 matching FailJob rule at index 1"
    )


def test_a_success_policy_is_enough() -> None:
    policy = {"rules": [{"succeededIndexes": "1-2", "succeededCount": 1}]}
    bench = Bench(job(completions=3, parallelism=3, successPolicy=policy, **INDEXED))
    bench.settle()
    bench.end(bench.of_index(2))
    bench.settle()
    assert bench.conditions() == [("SuccessCriteriaMet", "True", "SuccessPolicy")]
    assert bench.status["conditions"][0]["message"] == "Matched rules at index 0"
    assert bench.active() == []
    bench.sweep()
    bench.settle()
    assert bench.conditions()[-1] == ("Complete", "True", "SuccessPolicy")
    assert (bench.status.get("failed"), bench.status["succeeded"]) == (None, 1)


def test_suspending_takes_the_pods_away_and_resuming_starts_the_clock_anew() -> None:
    bench = Bench(job(suspend=True, activeDeadlineSeconds=60))
    bench.settle()
    assert (bench.pods(), bench.status.get("startTime")) == ([], None)
    assert bench.conditions() == [("Suspended", "True", "JobSuspended")]

    def suspend(value: bool) -> None:
        obj = bench.job
        obj["spec"]["suspend"] = value
        bench.world.put(JOB, obj)
        bench.settle()

    bench.world.now += 100
    suspend(False)
    assert bench.conditions() == [("Suspended", "False", "JobResumed")]
    assert bench.world.later == 60
    bench.run(bench.active()[0])
    suspend(True)
    assert bench.active() == []
    assert bench.status.get("failed") is None, "who is suspended has not failed"
    assert bench.status.get("startTime") is None
    assert [each.split(":")[0] for each in bench.world.events if "uspended" in each or "esumed" in each] == [
        "Suspended", "Resumed", "Suspended",
    ]  # fmt: skip


def test_a_deadline_ends_the_job() -> None:
    bench = Bench(job(activeDeadlineSeconds=30))
    bench.settle()
    bench.run(bench.active()[0])
    bench.settle()
    assert bench.world.later == 30
    bench.world.now += 30
    bench.settle()
    assert bench.conditions() == [("FailureTarget", "True", "DeadlineExceeded")], "a pod is still on its way out"
    assert bench.status["terminating"] == 1
    bench.sweep()
    bench.settle()
    assert bench.conditions()[-1] == ("Failed", "True", "DeadlineExceeded")
    assert bench.status["failed"] == 1


def test_a_deadline_does_not_wait_for_a_time_that_only_a_wrong_clock_had_reached() -> None:
    bench = Bench(job(activeDeadlineSeconds=30))
    bench.settle()
    bench.world.now -= 86400 * 365
    bench.world.started -= 86400 * 365
    bench.settle()
    assert bench.world.later == 30
    bench.world.now += 30
    bench.settle()
    assert bench.conditions()[0] == ("FailureTarget", "True", "DeadlineExceeded")


def test_what_goes_is_replaced_at_once_or_once_it_is_gone() -> None:
    for policy, expected in (("TerminatingOrFailed", 1), ("Failed", 0)):
        bench = Bench(job(podReplacementPolicy=policy))
        bench.settle()
        pod = bench.active()[0]
        bench.run(pod)
        pod["metadata"] |= {"deletionTimestamp": "2027-01-15T08:00:00Z", "deletionGracePeriodSeconds": 30}
        bench.world.put(POD, pod)
        bench.world.now += 60
        bench.settle()
        assert (policy, len(bench.active())) == (policy, expected)
        assert bench.status["terminating"] == 1


def test_a_smaller_parallelism_takes_pods_away_that_do_not_count() -> None:
    bench = Bench(job(completions=4, parallelism=3))
    bench.settle()
    for pod in bench.active():
        bench.run(pod)
    obj = bench.job
    obj["spec"]["parallelism"] = 1
    bench.world.put(JOB, obj)
    bench.settle()
    bench.sweep()
    bench.settle()
    assert (len(bench.active()), bench.status["active"], bench.status.get("failed")) == (1, 1, None)


def test_a_quota_is_told_of_and_does_not_hold_up_counting() -> None:
    bench = Bench(job(completions=2, parallelism=1))
    bench.settle()
    bench.end(bench.active()[0])

    def refuse(call: Call) -> StatusError | None:
        return forbidden("", "pods", "work-", "exceeded quota: tight") if isinstance(call, Create) else None

    bench.world.refuse = refuse
    bench.step()
    bench.step()
    assert bench.world.events[-1] == 'FailedCreate: Error creating: pods "work-" is forbidden: exceeded quota: tight'
    assert bench.status["succeeded"] == 1
    bench.world.refuse = lambda _: None
    bench.settle()
    assert len(bench.active()) == 1


def test_a_job_that_somebody_else_manages_is_left_alone() -> None:
    bench = Bench(job(managedBy="example.com/queue"))
    assert bench.world.plan(bench.controller, "default", "work") == []


def test_an_orphan_is_adopted_with_the_finalizer_and_released_without() -> None:
    bench = Bench(job())
    labels = {"batch.kubernetes.io/controller-uid": "u"}
    bench.world.put(
        POD, {"metadata": {"name": "stray", "namespace": "default", "labels": labels}, "spec": {}, "status": {"phase": "Running"}}
    )
    bench.settle()
    [pod] = bench.pods()
    assert (controller_of(pod) is not None, pod["metadata"]["finalizers"]) == (True, [TRACKING])
    pod["metadata"]["labels"] = {"mine": "now"}
    bench.world.put(POD, pod)
    bench.settle()
    stray = bench.world.get(POD, "default", "stray") or {}
    assert (controller_of(stray), stray["metadata"].get("finalizers")) == (None, None)
    assert len(bench.active()) == 2, "another takes its place"


def test_pods_of_a_job_that_is_gone_are_let_go() -> None:
    bench = Bench(job())
    bench.settle()
    [pod] = bench.pods()
    assert bench.world.plan(ORPHAN_CONTROLLER, "default", name_of(pod)) == []
    bench.world.gone(JOB, "default", "work")
    bench.world.step(ORPHAN_CONTROLLER, "default", name_of(pod))
    assert "finalizers" not in bench.pods()[0]["metadata"]
    assert labels_of(bench.pods()[0])["job-name"] == "work"
