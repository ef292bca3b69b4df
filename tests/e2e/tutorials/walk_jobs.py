"""The pages about Jobs and CronJobs, command by command; a directory of a claim stands for the message queues.

Source: kubernetes.io/docs: concepts/workloads/controllers/job, tasks/job (cron jobs, work queues, indexed, pod failure policy),
tutorials/configuration/pod-sidecar-containers.
"""

from __future__ import annotations

from tests.e2e.namespace import BUSYBOX, Namespace
from tests.lab.cluster import until


def job(name: str, script: str, spec: str = "", pod: str = "", container: str = "") -> str:
    return f"""
apiVersion: batch/v1
kind: Job
metadata: {{name: {name}}}
spec:
  {spec or "backoffLimit: 4"}
  template:
    spec:
      terminationGracePeriodSeconds: 0
      restartPolicy: Never
      {pod or "volumes: []"}
      containers:
      - name: main
        image: "{BUSYBOX}"
        command: [sh, -c, {script!r}]
        {container or "env: []"}
"""


def condition(ns: Namespace, name: str, type_: str) -> tuple[str, str]:
    """(reason, message)."""
    for each in ns.get("job", name)["status"].get("conditions", ()):
        if each["type"] == type_ and each["status"] == "True":
            return each.get("reason", ""), each.get("message", "")
    return "", ""


def test_a_job_from_begin_to_end(ns: Namespace) -> None:
    ns.apply(job("pi", "echo 3.14159"))
    ns.wait("condition=complete", "job/pi", seconds=240)
    described = ns.kubectl("describe", "job", "pi")
    for text in (
        "Pods Statuses:    0 Active (0 Ready) / 1 Succeeded / 0 Failed",
        "Completions:      1",
        "Normal  Completed",
        "SuccessfulCreate",
    ):
        assert text in described, described
    pods = ns.kubectl("get", "pods", "--selector=batch.kubernetes.io/job-name=pi", "--output=jsonpath={.items[*].metadata.name}")
    assert pods.startswith("pi-")
    assert ns.kubectl("logs", "jobs/pi") == "3.14159\n"
    row = ns.kubectl("get", "job", "pi", "--no-headers").split()
    assert row[:3] == ["pi", "Complete", "1/1"]
    ns.kubectl("delete", "job/pi")
    until(lambda: ns.get("pods")["items"] == [], seconds=240)

    ns.apply(job("myjob", "sleep 600", "suspend: true"))
    assert condition(ns, "myjob", "Suspended")[0] in ("", "JobSuspended")
    ns.kubectl("patch", "job/myjob", "--type=strategic", "--patch", '{"spec":{"suspend":false}}')
    until(lambda: ns.field("job/myjob", ".status.active") == "1", seconds=240)
    ns.kubectl("patch", "job/myjob", "--type=strategic", "--patch", '{"spec":{"suspend":true}}')
    ns.wait("condition=Suspended", "job/myjob", seconds=240)
    until(lambda: ns.get("pods")["items"] == [], seconds=240)
    assert {"Suspended", "Resumed"} <= {reason for reason, _ in ns.events_of("myjob")}


QUEUE = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: queue}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
"""
MOUNTED = "volumes: [{name: queue, persistentVolumeClaim: {claimName: queue}}]"


def test_work_queues_and_indexes(ns: Namespace) -> None:
    ns.apply(QUEUE)
    volume = "volumeMounts: [{name: queue, mountPath: /queue}]"
    fruits = "apple banana cherry date fig grape lemon melon"
    fill = f"mkdir -p /queue/done; for fruit in {fruits}; do echo $fruit > /queue/$fruit; done"
    ns.apply(job("fill", fill, pod=MOUNTED, container=volume))
    ns.wait("condition=complete", "job/fill", seconds=240)
    # Coarse: each pod takes one item; as many completions as there are items.
    taken = "[ -f $item ] && mv $item /queue/done/ 2>/dev/null"
    coarse = f'for item in /queue/*; do {taken} && echo "Received $item" && exit 0; done; exit 1'
    ns.apply(job("job-wq-1", coarse, "completions: 4\n  parallelism: 2", MOUNTED, volume))
    ns.wait("condition=complete", "job/job-wq-1", seconds=240)
    assert ns.kubectl("logs", "-l", "job-name=job-wq-1").count("Received") == 4
    # Fine: pods take items until none is left; the first one that ends well says that the work is done.
    fine = 'for item in /queue/*; do [ -f $item ] && mv $item /queue/done/ 2>/dev/null && echo "Working on $item"; done; exit 0'
    ns.apply(job("job-wq-2", fine, "parallelism: 2", MOUNTED, volume))
    ns.wait("condition=complete", "job/job-wq-2", seconds=240)
    assert ns.kubectl("logs", "-l", "job-name=job-wq-2", "--tail=-1").count("Working on") == 4
    assert "Parallelism:      2\nCompletions:      <unset>" in ns.kubectl("describe", "job", "job-wq-2")

    ns.apply(
        job("indexed-job", 'echo "item $JOB_COMPLETION_INDEX"', "completions: 5\n  parallelism: 3\n  completionMode: Indexed")
    )
    ns.wait("condition=complete", "job/indexed-job", seconds=240)
    assert "Completed Indexes:  0-4" in ns.kubectl("describe", "jobs/indexed-job")
    third = "batch.kubernetes.io/job-completion-index=3,job-name=indexed-job"
    assert ns.kubectl("logs", "-l", third) == "item 3\n"


def test_policies_of_failure_and_success(ns: Namespace) -> None:
    rule = """backoffLimit: 6
  podFailurePolicy:
    rules:
    - action: %s
      onExitCodes: {containerName: main, operator: In, values: [42]}"""
    ns.apply(job("failjob", "exit 42", rule % "FailJob"))
    ns.wait("condition=Failed", "job/failjob", seconds=240)
    reason, message = condition(ns, "failjob", "Failed")
    assert reason == "PodFailurePolicy"
    assert message.startswith(f"Container main for pod {ns.name}/failjob-")
    assert message.endswith(" failed with exit code 42 matching FailJob rule at index 0")
    assert ns.field("job/failjob", ".status.failed") == "1"

    per_index = (
        "completions: 4\n  parallelism: 2\n  completionMode: Indexed\n  backoffLimitPerIndex: 1\n  maxFailedIndexes: 3\n  "
        + (rule % "FailIndex").replace("backoffLimit: 6\n  ", "")
    )
    ns.apply(job("failindex", "[ $JOB_COMPLETION_INDEX = 1 ] && exit 42; exit 0", per_index))
    ns.wait("condition=Failed", "job/failindex", seconds=240)
    assert condition(ns, "failindex", "Failed") == ("FailedIndexes", "Job has failed indexes")
    assert ns.field("job/failindex", ".status.failedIndexes") == "1"
    assert ns.field("job/failindex", ".status.completedIndexes") == "0,2,3"

    success = """completions: 5
  parallelism: 5
  completionMode: Indexed
  successPolicy:
    rules: [{succeededIndexes: "0,2-3", succeededCount: 1}]"""
    ns.apply(job("success", "[ $JOB_COMPLETION_INDEX = 2 ] && exit 0; sleep 600", success))
    ns.wait("condition=complete", "job/success", seconds=240)
    assert condition(ns, "success", "SuccessCriteriaMet") == ("SuccessPolicy", "Matched rules at index 0")

    ns.apply(job("deadline", "sleep 600", "activeDeadlineSeconds: 1\n  ttlSecondsAfterFinished: 1"))
    ns.kubectl("wait", "--for=delete", "job/deadline", "--timeout=300s", timeout_seconds=310)
    assert "DeadlineExceeded" in [reason for reason, _ in ns.events_of("deadline")]


HELLO = f"""
apiVersion: batch/v1
kind: CronJob
metadata: {{name: hello}}
spec:
  schedule: "* * * * *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: OnFailure
          containers:
          - name: hello
            image: "{BUSYBOX}"
            command: [/bin/sh, -c, "date; echo Hello from the Kubernetes cluster"]
"""


def test_running_automated_tasks_with_a_cron_job(ns: Namespace) -> None:
    ns.apply(HELLO)
    row = ns.kubectl("get", "cronjob", "hello", "--no-headers")
    assert row.split()[:6] == ["hello", "*", "*", "*", "*", "*"]
    assert " <none> " in row and " False " in row
    assert ns.kubectl("create", "job", "--from=cronjob/hello", "by-hand") == "job.batch/by-hand created\n"
    ns.wait("condition=complete", "job/by-hand", seconds=240)
    until(lambda: ns.field("cronjob/hello", ".status.lastSuccessfulTime"), seconds=240)
    made = next(each for each in ns.field("job", ".items[*].metadata.name").split() if each != "by-hand")
    assert ns.kubectl("logs", f"job/{made}").endswith("Hello from the Kubernetes cluster\n")
    assert "SuccessfulCreate" in [reason for reason, _ in ns.events_of("hello")]
    ns.kubectl("delete", "cronjob", "hello")
    until(lambda: ns.field("job", ".items[*].metadata.name") in ("", "by-hand"), seconds=240)


SIDECAR = f"""
apiVersion: batch/v1
kind: Job
metadata: {{name: myjob}}
spec:
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 1
      volumes: [{{name: data, emptyDir: {{}}}}]
      initContainers:
      - name: logshipper
        image: "{BUSYBOX}"
        restartPolicy: Always
        command: [sh, -c, "tail -F /opt/logs.txt"]
        volumeMounts: [{{name: data, mountPath: /opt}}]
      containers:
      - name: myjob
        image: "{BUSYBOX}"
        command: [sh, -c, "echo logging > /opt/logs.txt; sleep 1"]
        volumeMounts: [{{name: data, mountPath: /opt}}]
"""


def test_a_sidecar_does_not_keep_a_job_from_ending(ns: Namespace) -> None:
    ns.apply(SIDECAR)
    ns.wait("condition=complete", "job/myjob", seconds=240)
    assert "\nlogging\n" in "\n" + ns.kubectl("logs", "-l", "job-name=myjob", "-c", "logshipper", "--tail=-1")
    pod = ns.get("pod", "-l", "job-name=myjob")["items"][0]
    assert pod["status"]["phase"] == "Succeeded"
    (sidecar,) = pod["status"]["initContainerStatuses"]
    assert "terminated" in sidecar["state"]
